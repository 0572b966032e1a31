from phi2demo.engine.engine import Completion, GenerationOptions, StopReason
from phi2demo.tasks.strand import Round, Strand
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.task import Pieces, Request

REQUEST = Request("summarization", "A b.", SummaryOptions(), GenerationOptions())


def summaries(*outputs: str, of: int, reason: StopReason = "end") -> Round:
    """The round over `of` pieces of which some are answered, the last for `reason`."""
    pieces = Pieces(tuple("ab"[:of]), " ".join)
    reasons: list[StopReason] = ["end"] * (len(outputs) - 1) + [reason]
    completions = [Completion(text, (1,), 1, each) for text, each in zip(outputs, reasons, strict=False)]
    return Round(pieces, list(outputs), completions)


def test_a_round_is_complete_once_every_piece_was_answered_to_its_end() -> None:
    assert summaries("one", "two", of=2).complete
    assert not summaries("one", of=2).complete
    assert not summaries("one", "two", of=2, reason="stopped").complete
    assert summaries("one", "two", of=2, reason="length").complete


def test_a_merge_is_shown_once_it_says_something_and_counts_once_it_is_whole() -> None:
    strand = Strand(REQUEST, REQUEST, "finetuned", [summaries("one", "two", of=2), summaries(of=1)])
    assert (strand.text, strand.final.text) == ("one two", "one two")
    strand.current.partial = ["bo"]
    assert (strand.text, strand.final.text) == ("bo", "one two")
    strand.rounds[-1] = summaries("both", of=1, reason="time")
    assert (strand.text, strand.final.text) == ("both", "one two")
    strand.rounds[-1] = summaries("both", of=1)
    assert strand.final.text == "both"
