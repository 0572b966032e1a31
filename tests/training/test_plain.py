from itertools import permutations
from typing import Any

import pytest

from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.tasks import TASKS
from phi2demo.tasks.languages import LANGUAGES
from phi2demo.tasks.translation import TranslationOptions
from phi2demo.training.corpus import Source
from phi2demo.training.plain import PLAIN_FORMS, plain_texts

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
