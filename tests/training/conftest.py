"""A small corpus of every kind of row, made from a few words."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NOUNS = ("cat", "dog", "train", "house", "child", "river", "book", "ship")
GERMAN = ("Katze", "Hund", "Zug", "Haus", "Kind", "Fluss", "Buch", "Schiff")
VERBS = ("sees", "likes", "finds", "draws", "keeps")
GERMAN_VERBS = ("sieht", "mag", "findet", "malt", "hat")
ADJECTIVES = ("old", "small", "red", "quiet", "long", "new", "tall")


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


class Words:
    """Makes sentences that do not repeat."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def _pick(self, words: Sequence[str]) -> tuple[int, str]:
        index = int(self._random.integers(len(words)))
        return index, words[index]

    def pair(self) -> tuple[str, str]:
        a, noun = self._pick(NOUNS)
        b, other = self._pick(NOUNS)
        v, verb = self._pick(VERBS)
        number = int(self._random.integers(1000))
        return (
            f"The {noun} {verb} the {other} {number} times.",
            f"{GERMAN[a]} {GERMAN_VERBS[v]} {GERMAN[b]} {number} Mal.",
        )

    def sentence(self) -> str:
        return f"{self.pair()[0][:-1]}, which is {self._pick(ADJECTIVES)[1]}."

    def text(self, sentences: int) -> str:
        return " ".join(self.sentence() for _ in range(sentences))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a data set of every kind; only the first one names its splits."""
    folder = tmp_path_factory.mktemp("corpus")
    words = Words(0)
    for split, size in (("train", 60), ("validation", 12), ("test", 6)):
        pairs = [words.pair() for _ in range(size)]
        rows = [{"source": a, "target": b, "source_lang": "en", "target_lang": "de"} for a, b in pairs]
        write_rows(folder / f"pairs.{split}.jsonl", rows)
    write_rows(folder / "tales.jsonl", ({"text": words.text(8)} for _ in range(60)))
    write_rows(folder / "leads.jsonl", ({"document": words.text(4), "summary": words.sentence()} for _ in range(40)))
    write_rows(folder / "reviews.jsonl", ({"text": words.sentence(), "label": n % 2} for n in range(40)))
    questions = ({"context": words.text(3), "question": "What?", "answers": [{"text": "the cat"}]} for _ in range(40))
    write_rows(folder / "questions.jsonl", questions)
    write_rows(folder / "levels.jsonl", ({"source": words.text(1), "target": words.sentence()} for _ in range(20)))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let sums have the same order in this process and in those it starts."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Forget the precision that accelerate keeps for a whole process; each command has its own process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
