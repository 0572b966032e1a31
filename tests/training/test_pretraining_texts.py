"""Summaries taken out of prose."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phi2demo.data.corpus import Source
from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.errors import SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.translation import TranslationOptions
from phi2demo.training.pretraining_texts import (
    DEFAULT_WEIGHT,
    MAX_CHARACTERS,
    PLAIN_FORMS,
    PREFIX,
    Blocks,
    gap_sentences,
    plain_texts,
    take_out,
    weight_of,
    write_stream,
)
from phi2demo.training.tokenizer import train_tokenizer


def stream(start: int, size: int) -> np.ndarray:
    return np.arange(start, start + size, dtype=np.uint16)


def test_a_block_follows_from_seed_and_step() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500)}, [1, 1], seed=3)
    first = blocks.at(7, rows=4, length=16)
    assert first.shape == (4, 17)
    assert (np.diff(first) == 1).all()
    np.testing.assert_array_equal(first, Blocks(blocks.streams, blocks.weights, seed=3).at(7, rows=4, length=16))
    assert not np.array_equal(first, blocks.at(8, rows=4, length=16))
    assert not np.array_equal(first, Blocks(blocks.streams, blocks.weights, seed=4).at(7, rows=4, length=16))


def test_weights_are_respected() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500), "c": stream(2000, 500)}, [3, 1, 0], seed=0)
    drawn = np.concatenate([blocks.at(step, rows=50, length=4)[:, 0] // 1000 for step in range(40)])
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx([0.75, 0.25, 0], abs=0.03)
    assert shares[2] == 0


def test_blocks_of_one_data_set_are_the_same_every_time() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500)}, [1, 0], seed=3)
    drawn = blocks.of("b", rows=3, length=8)
    assert drawn.shape == (3, 9)
    assert (drawn >= 1000).all()
    np.testing.assert_array_equal(drawn, blocks.of("b", rows=3, length=8))


def test_a_short_stream_is_repeated() -> None:
    block = Blocks({"a": stream(0, 3)}, [1], seed=0).at(0, rows=1, length=7)
    assert block.tolist() == [[0, 1, 2, 0, 1, 2, 0, 1]]


@pytest.mark.parametrize(("streams", "weights"), [({}, []), ({"a": stream(0, 9)}, [0])])
def test_nothing_to_draw_from(streams: dict[str, np.ndarray], weights: list[float]) -> None:
    with pytest.raises(SettingsError, match="No training text has a weight above 0"):
        Blocks(streams, weights, seed=0)


@pytest.mark.parametrize(
    ("name", "overrides", "weight"),
    [
        ("tatoeba.en-de", {}, 0.16),
        ("tatoeba.en-de", {"tatoeba": 0.5}, 0.5),
        ("tatoeba.en-de", {"tatoeba.en-fr": 0.5}, 0.16),
        ("mine", {}, DEFAULT_WEIGHT),
        ("mine", {"mine": 0}, 0),
    ],
)
def test_weight_of(name: str, overrides: dict[str, float], weight: float) -> None:
    assert weight_of(name, overrides) == weight


def test_write_stream(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["one two three " * 9], vocab_size=280, context=64)
    path = tmp_path / "x.u16"
    length = write_stream(["one two", "three", "two"], tokenizer, path, seed=0)
    ids = np.fromfile(path, dtype=np.uint16)
    assert len(ids) == length
    assert sorted(tokenizer.decode(ids).split("<|endoftext|>")) == ["", "one two", "three", "two"]
    assert ids[-1] == tokenizer.eos_token_id
    again = tmp_path / "y.u16"
    write_stream(["one two", "three", "two"], tokenizer, again, seed=0)
    assert again.read_bytes() == path.read_bytes()


FORMS: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "translation",
        {"source": "Hello.", "target": "Hallo.", "source_lang": "en", "target_lang": "de"},
        ["English: Hello.\nGerman: Hallo.", "German: Hallo.\nEnglish: Hello."],
    ),
    (
        "translation",
        {"source": "Olá.", "target": "Ciao.", "source_lang": "pt", "target_lang": "it"},
        ["Portuguese: Olá.\nItalian: Ciao.", "Italian: Ciao.\nPortuguese: Olá."],
    ),
    ("summarization", {"document": "Long.", "summary": "Short."}, ["Long.\n\nIn short: Short."]),
    (
        "question_answering",
        {"context": "Tom sleeps.", "question": "Who sleeps?", "answers": [{"text": "Tom"}, {"text": "he"}]},
        ["Tom sleeps.\n\nQuestion: Who sleeps?\nAnswer: Tom"],
    ),
    ("question_answering", {"context": "Tom sleeps.", "question": "Who wakes?", "answers": []}, []),
    ("simplification", {"source": "Hard.", "target": "Easy."}, ["Original: Hard.\nIn simple words: Easy."]),
    ("sentiment", {"text": "Good.", "label": 1}, ["Review: Good.\nSentiment: positive", "A positive review: Good."]),
    ("sentiment", {"text": "Bad.", "label": 0}, ["Review: Bad.\nSentiment: negative", "A negative review: Bad."]),
    ("prose", {"text": "Once."}, ["Once."]),
]


@pytest.mark.parametrize(("kind", "row", "documents"), FORMS)
def test_plain_texts(kind: str, row: dict[str, Any], documents: list[str]) -> None:
    source = Source("name", kind, {"train": (row,), "validation": (), "test": ()})
    assert list(plain_texts(source, "train")) == documents
    assert list(plain_texts(source, "test")) == []


@pytest.mark.parametrize(("source", "target"), [*permutations(LANGUAGES, 2)])
def test_a_base_is_asked_for_a_translation_as_it_was_pretrained_on_it(source: str, target: str) -> None:
    row = {"source": "One.", "target": "Two.", "source_lang": source, "target_lang": target}
    (learned, _) = plain_texts(Source("name", "translation", {"train": (row,), "validation": (), "test": ()}), "train")
    task, options = TASKS["translation"], TranslationOptions(source, target)
    assert learned == f"{task.prompt('One.', options, 'plain').removeprefix(END_OF_TEXT)} Two."


def test_no_plain_form_holds_the_template() -> None:
    assert {kind for kind, _, _ in FORMS} == set(PLAIN_FORMS)
    assert not any("Instruct:" in document for _, _, documents in FORMS for document in documents)


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
