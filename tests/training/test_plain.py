from typing import Any

import pytest

from phi2demo.training.corpus import Source
from phi2demo.training.plain import PLAIN_FORMS, plain_texts

FORMS: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "translation",
        {"source": "Hello.", "target": "Hallo.", "source_lang": "en", "target_lang": "de"},
        ["English: Hello.\nGerman: Hallo.", "German: Hallo.\nEnglish: Hello."],
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


def test_no_plain_form_holds_the_template() -> None:
    assert {kind for kind, _, _ in FORMS} == set(PLAIN_FORMS)
    assert not any("Instruct:" in document for _, _, documents in FORMS for document in documents)
