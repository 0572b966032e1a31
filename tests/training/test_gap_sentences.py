"""Summaries taken out of prose."""

from phi2demo.training.corpus import Source
from phi2demo.training.gap_sentences import MAX_CHARACTERS, PREFIX, gap_sentences, take_out

SENTENCES = (
    "The old mill stood by the river. ",
    "Children played there after school. ",
    "The old mill by the river was where the children played. ",
    "It rained often in spring.",
)


def test_the_sentence_that_shares_most_words_is_taken_out() -> None:
    row = take_out("".join(SENTENCES))
    assert row == {"document": "".join(SENTENCES[:2] + SENTENCES[3:]), "summary": SENTENCES[2].strip()}


def test_a_short_text_gives_none() -> None:
    assert take_out("".join(SENTENCES[:3])) is None


def test_sentences_of_a_few_words_give_none() -> None:
    assert take_out("One two. Three four. One two three. Four.") is None


def test_a_long_text_is_cut_at_a_sentence_end() -> None:
    row = take_out("".join(SENTENCES) + " " + "Then they walked along the river again. " * 200)
    assert row is not None
    assert len(row["document"]) <= MAX_CHARACTERS
    assert row["document"].endswith(".")


def test_every_split_of_the_prose_is_used() -> None:
    texts = tuple({"text": "".join(SENTENCES) + ending} for ending in (" It was cold.", " It was warm."))
    made = gap_sentences(Source("tales", "prose", {"train": texts, "validation": texts[:1], "test": ()}))
    assert (made.name, made.kind) == (f"{PREFIX}tales", "summarization")
    assert [len(made.rows[split]) for split in ("train", "validation", "test")] == [2, 1, 0]
    assert made.rows["train"][0]["document"].endswith("It was cold.")
