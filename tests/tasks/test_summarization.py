import pytest

from phi2demo.data.documents import count_words
from phi2demo.engine.engine import GenerationOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.summarization import SENTENCES, Summarization, SummaryOptions
from phi2demo.tasks.task import PromptLimit
from tests.tasks.beams import BeamEngine, candidate
from tests.tasks.scripted import ScriptedEngine

BUDGET = PromptLimit(lambda text: len(text.split()), 200, 60)
SENTENCE = "Here are some five words. "


@pytest.mark.parametrize(("words", "parts"), [(50, 1), (150, 1), (300, 2), (20_000, 106)])
def test_parts_are_as_few_as_fit(words: int, parts: int) -> None:
    pieces = Summarization().pieces(SENTENCE * (words // 5), SummaryOptions("short"), BUDGET)
    assert len(pieces.texts) == pytest.approx(parts, rel=0.1)
    assert sum(map(count_words, pieces.texts)) == words
    assert pieces.later == 0 if parts == 1 else pieces.later > 0


@pytest.mark.parametrize("length", SENTENCES)
def test_by_parts_there_are_as_many_parts_as_sentences_are_wanted(length: str) -> None:
    options = SummaryOptions(length, by_parts=True)
    assert len(Summarization().pieces(SENTENCE * 100, options, BUDGET).texts) == max(3, SENTENCES[length])
    assert len(Summarization().pieces(SENTENCE * 4, options, BUDGET).texts) == 1


def test_the_next_pass_is_shorter_or_none() -> None:
    task = Summarization()
    outputs = [SENTENCE * 4] * 40
    pieces = task.next_pieces(outputs, SummaryOptions(), BUDGET)
    assert pieces is not None
    assert len(pieces.texts) < 40
    assert task.next_pieces(["One."], SummaryOptions(), BUDGET) is None
    assert task.next_pieces(["", " "], SummaryOptions(), BUDGET) is None
    assert task.next_pieces([SENTENCE * 30] * 4, SummaryOptions(), BUDGET) is None
    assert task.next_pieces(["One."] * 6, SummaryOptions("medium", by_parts=True), BUDGET) is None


def test_facts() -> None:
    facts = Summarization().facts
    assert facts("one two three four", "one two") == ("4 words in, 2 words out", "compression 2.0 to 1")
    assert facts("one two", "") == ("2 words in, no words out",)
    assert facts("word " * 1234, "x")[0] == "1,234 words in, 1 words out"


@pytest.mark.parametrize(
    ("summary", "lacks"),
    [
        ("The bridge in Bern was built in 1903.", "1903"),
        ("Nice old bridge. Large too.", ""),  # capitals of sentences are no names
        ('He said: "Old it is." And: “Built well.”', ""),
        ("It is old.\nNice, too.", ""),
        ("A bridge by Anna Keller, near BERN.", "Anna, Keller"),
        ("It has 1,200 stones and 3.5 arches.", "3.5"),
    ],
)
def test_names_and_numbers_that_the_text_lacks_are_said(summary: str, lacks: str) -> None:
    text = "The old bridge of Bern has 1,200 stones; it was built in 1905."
    notes = Summarization().notes(text, summary, SummaryOptions())
    assert notes == ((f"Names and numbers of the summary that the text lacks: {lacks}.",) if lacks else ())


@pytest.mark.parametrize(
    ("options", "output", "kept"),
    [
        (SummaryOptions("sentence"), " A bridge in Bern. It is old.\nAnd long.", " A bridge in Bern."),
        (SummaryOptions("medium", by_parts=True), "\n One.\nTwo.", "\n One."),
        (SummaryOptions("sentence"), " About 3.5 metres, e.g. in Bern", " About 3.5 metres, e.g. in Bern"),
        (SummaryOptions("short"), " One. Two. Three.", " One. Two. Three."),
        (SummaryOptions("sentence"), " \n", " \n"),
    ],
)
def test_of_a_summary_in_one_sentence_the_first_is_kept(options: SummaryOptions, output: str, kept: str) -> None:
    assert Summarization().kept(output, options) == kept


TEXT = "The Elda rises near Sorn and flows for 214 kilometres to the sea."


def chosen(*endings: str, length: str = "sentence") -> Result:
    engine = BeamEngine({TEXT: [candidate(ending, tokens=len(ending)) for ending in endings]})
    request = Request("summarization", TEXT, SummaryOptions(length), GenerationOptions(num_beams=len(endings)), seed=1)
    ((result),) = Assistant(engine).answer(check(request))
    return result


@pytest.mark.parametrize(
    ("endings", "taken"),
    [
        (("It is 300 kilometres long.", "It flows to the sea.", "It rises near Sorn."), "It flows to the sea."),
        (("It is 300 kilometres long.", "Near Bonn it meets the Rhine.", "It is 9 km."), "It is 300 kilometres long."),
        (("It rises near Sorn.", "It flows to the sea."), "It rises near Sorn."),
    ],
    ids=["the likeliest that makes none up", "none is without", "all are without"],
)
def test_of_what_beams_end_with_that_is_taken_which_makes_up_the_fewest(endings: tuple[str, ...], taken: str) -> None:
    assert chosen(*endings).text == taken


def test_what_is_not_kept_does_not_count() -> None:
    run_on = "It flows to the sea. The Rhine has 1,230 kilometres."
    assert chosen(run_on, "It rises near Sorn.").text == "It flows to the sea."
    assert chosen(run_on, "It rises near Sorn.", length="short").text == "It rises near Sorn."


@pytest.mark.parametrize("space", ["", " ", "\n"])
def test_a_summary_that_was_cut_says_so_whatever_space_it_ends_with(space: str) -> None:
    engine = ScriptedEngine(lambda _: f" The river flows to{space}", stop_reason="length")
    (result,) = Assistant(engine).answer(
        check(Request("summarization", TEXT, SummaryOptions(), GenerationOptions(), seed=1))
    )
    assert (result.text, result.receipt.stop_reason) == ("The river flows to", "length")
