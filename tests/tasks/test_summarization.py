import pytest

from phi2demo.tasks.documents import count_words
from phi2demo.tasks.summarization import SENTENCES, Summarization, SummaryOptions
from phi2demo.tasks.task import Budget

BUDGET = Budget(lambda text: len(text.split()), 200, 60)
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


def test_the_next_round_is_shorter_or_none() -> None:
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
