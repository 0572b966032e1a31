"""Why a row of a data set cannot be used, in words. Knows no files."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from phi2demo.tasks.languages import LANGUAGES


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a row."""

    reason: str
    """What it is counted as."""
    why: str
    """The field and its value, and what it should be."""


def flaw_of(row: Mapping[str, Any], kind: str, fields: Set[str]) -> Flaw | None:
    """The first flaw of a row of `kind`, which needs `fields`; None where it can be used."""
    if missing := sorted(fields - row.keys()):
        return Flaw("incomplete", f"a row of {kind} needs {', '.join(missing)} too")
    if why := malformed(row, kind, fields):
        return Flaw("malformed", why)
    if empty := sorted(name for name in fields if row[name] == ""):
        return Flaw("empty", f"{empty[0]} is empty")
    for name in ("source_lang", "target_lang") if kind == "translation" else ():
        if row[name] not in LANGUAGES:
            return Flaw("unknown language", f"{name} is {row[name]!r}; use one of {', '.join(LANGUAGES)}")
    if kind == "translation" and row["source_lang"] == row["target_lang"]:
        return Flaw("one language", f"source_lang and target_lang are both {row['source_lang']!r}; a pair needs two")
    return None


def malformed(row: Mapping[str, Any], kind: str, fields: Set[str]) -> str | None:
    """Which field of a complete row is not what its kind needs: texts are strings, a label is 0 or 1, answers objects."""
    if kind == "sentiment" and row["label"] not in (0, 1):
        return f"label is {_shown(row['label'])}; give 0 or 1"
    if kind == "question_answering" and not _are_answers(row["answers"]):
        return f'answers is {_shown(row["answers"])}; give a list of objects as {{"text": "..."}}'
    texts = sorted(fields - {"label", "answers"})
    return next(
        (f"{name} is {_shown(row[name])}; give a text" for name in texts if not isinstance(row[name], str)), None
    )


def _are_answers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(a, dict) and isinstance(a.get("text"), str) for a in value)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
