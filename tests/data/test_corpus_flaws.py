from typing import Any

import pytest

from phi2demo.data.corpus import KINDS, Flaw, flaw_of

PAIR = {"source": "Hello.", "target": "Ciao.", "source_lang": "en", "target_lang": "it"}


@pytest.mark.parametrize(
    ("kind", "row", "flaw"),
    [
        ("translation", PAIR, None),
        ("sentiment", {"text": "Good.", "label": 1}, None),
        ("question_answering", {"context": "A.", "question": "B?", "answers": []}, None),
        ("sentiment", {"text": "Good."}, Flaw("incomplete", "a row of sentiment needs label too")),
        ("prose", {"text": 5}, Flaw("malformed", "text is 5; give a text")),
        ("prose", {"text": ""}, Flaw("empty", "text is empty")),
        ("sentiment", {"text": "Good.", "label": "positive"}, Flaw("malformed", "label is 'positive'; give 0 or 1")),
        (
            "question_answering",
            {"context": "A.", "question": "B?", "answers": ["Tom" * 30]},
            Flaw("malformed", f"""answers is ['{("Tom" * 30)[:58]}…; give a list of objects as {{"text": "..."}}"""),
        ),
        (
            "translation",
            PAIR | {"source_lang": "xx"},
            Flaw("unknown language", "source_lang is 'xx'; use one of en, de, fr, es, it, pt, nl"),
        ),
        (
            "translation",
            PAIR | {"target_lang": "en"},
            Flaw("one language", "source_lang and target_lang are both 'en'; a pair needs two"),
        ),
    ],
)
def test_flaw_of(kind: str, row: dict[str, Any], flaw: Flaw | None) -> None:
    assert flaw_of(row, kind, KINDS[kind]) == flaw
