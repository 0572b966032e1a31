from itertools import permutations
from typing import Any

import pytest

from phi2demo.data.corpus import Source
from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.tasks import TASKS
from phi2demo.tasks.templates import PLAIN
from phi2demo.tasks.translation import TranslationOptions
from phi2demo.training.pretraining_texts import (
    DEFAULT_WEIGHT,
    DOCUMENT_MAKERS,
    GAP_SENTENCES,
    MAX_CHARACTERS,
    data_set_weight,
    gap_sentences,
    plain_documents,
    take_out_summary,
)


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
def test_data_set_weight(name: str, overrides: dict[str, float], weight: float) -> None:
    assert data_set_weight(name, overrides) == weight


DOCUMENTS: list[tuple[str, dict[str, Any], list[str]]] = [
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


@pytest.mark.parametrize(("kind", "row", "documents"), DOCUMENTS)
def test_plain_documents(kind: str, row: dict[str, Any], documents: list[str]) -> None:
    source = Source("name", kind, {"train": (row,), "validation": (), "test": ()})
    assert list(plain_documents(source, "train")) == documents
    assert list(plain_documents(source, "test")) == []


@pytest.mark.parametrize(("source", "target"), [*permutations(LANGUAGES, 2)])
def test_the_plain_prompt_of_a_translation_is_that_of_pretraining(source: str, target: str) -> None:
    row = {"source": "One.", "target": "Two.", "source_lang": source, "target_lang": target}
    (document, _) = plain_documents(
        Source("name", "translation", {"train": (row,), "validation": (), "test": ()}), "train"
    )
    task, options = TASKS["translation"], TranslationOptions(source, target)
    assert document == f"{task.prompt('One.', options, PLAIN).removeprefix(END_OF_TEXT)} Two."


def test_no_plain_document_holds_the_template() -> None:
    assert {kind for kind, _, _ in DOCUMENTS} == set(DOCUMENT_MAKERS)
    assert not any("Instruct:" in document for _, _, documents in DOCUMENTS for document in documents)


SENTENCES = (
    "The old mill stood by the river. ",
    "Children played there after school. ",
    "The old mill by the river was where the children played. ",
    "It rained often in spring.",
)


def test_the_sentence_that_shares_most_words_is_the_summary() -> None:
    row = take_out_summary("".join(SENTENCES))
    assert row == {"document": "".join(SENTENCES[:2] + SENTENCES[3:]), "summary": SENTENCES[2].strip()}


def test_a_short_text_gives_no_summary() -> None:
    assert take_out_summary("".join(SENTENCES[:3])) is None


def test_sentences_of_a_few_words_give_no_summary() -> None:
    assert take_out_summary("One two. Three four. One two three. Four.") is None


def test_a_long_text_is_cut_at_a_sentence_end() -> None:
    row = take_out_summary("".join(SENTENCES) + " " + "Then they walked along the river again. " * 200)
    assert row is not None
    assert len(row["document"]) <= MAX_CHARACTERS
    assert row["document"].endswith(".")


def test_every_split_of_the_prose_is_used() -> None:
    texts = tuple({"text": "".join(SENTENCES) + ending} for ending in (" It was cold.", " It was warm."))
    made = gap_sentences(Source("tales", "prose", {"train": texts, "validation": texts[:1], "test": ()}))
    assert (made.name, made.kind) == (f"{GAP_SENTENCES}tales", "summarization")
    assert [len(made.rows[split]) for split in ("train", "validation", "test")] == [2, 1, 0]
    assert made.rows["train"][0]["document"].endswith("It was cold.")
