"""A small data folder with every kind of row."""

import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import corpus  # noqa: F401

Write = Callable[[str, Sequence[dict[str, Any]]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows to a file below `data`."""

    def rows_to(name: str, rows: Sequence[dict[str, Any]]) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if path.suffix == ".xz":
            path.write_bytes(lzma.compress(text.encode()))
        else:
            path.write_text(text, encoding="utf-8")
        return path

    return rows_to


def pair(number: int) -> dict[str, Any]:
    """A translation whose target the scripted engine's shouting gets right on every second row."""
    source = f"sentence number {number} of {number * 3}"
    target = source.upper() if number % 2 else f"Satz {number} von {number * 3} hier"
    return {"source": source, "target": target, "source_lang": "en", "target_lang": "de"}


def review(number: int) -> dict[str, Any]:
    return {"text": ("a pos pos thing " if number % 3 else "a neg neg thing ") + str(number), "label": number % 2}


def paper(number: int) -> dict[str, Any]:
    document = f"Paper {number} is about cats. It says that {number} cats sleep."
    return {"document": document, "summary": f"{number} cats sleep", "references": [f"{number} cats sleep", "cats"]}


@pytest.fixture
def data(write: Write, tmp_path: Path) -> Path:
    """Sets of each kind, with and without splits."""
    write("translation/pairs.en-de.test.jsonl.xz", [pair(number) for number in range(11)])
    write("translation/other.en-fr.train.jsonl", [pair(1) | {"target_lang": "fr"}])
    write("summarization/papers.validation.jsonl", [paper(number) for number in range(5)])
    write("sentiment/reviews.test.jsonl", [review(number) for number in range(9)])
    write("simplification/simple.test.jsonl", [{"source": "a b", "target": "a"}])
    questions = [
        {"context": f"Tom is {n}.", "question": "How old is Tom?", "answers": [{"text": str(n)}], "title": f"t{n}"}
        for n in range(30)
    ]
    write("qa/questions.jsonl", questions)
    write("prose/tales.test.jsonl", [{"text": f"Once there was a cat with {n} tails."} for n in range(4)])
    write("prose/tales.train.jsonl", [{"text": f"Once there was a dog with {n} tails."} for n in range(20)])
    return tmp_path / "data"
