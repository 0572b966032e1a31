"""Sampled generations for a card: prompts from a file, a seed for each, and what the model made of them, unpicked."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from phi2demo.engine.engine import Engine, Use
from phi2demo.errors import DataError
from phi2demo.settings import ASSETS
from phi2demo.tasks.declaration import Declaration
from phi2demo.tasks.run import answer_all
from phi2demo.tasks.task import Request
from phi2demo.training.rows import read_rows

PROMPTS = ASSETS / "examples" / "card_prompts.jsonl"
"""Twenty, written for the cards."""

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """A prompt and what the model went on with."""

    prompt: str
    seed: int
    text: str
    use: str = ""
    """finetuned or base; empty where it is not told."""

    def to_json(self) -> str:
        """A line of what `read_samples` reads."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Failure:
    """An answer that went wrong."""

    input: str
    output: str
    reference: str
    note: str = ""
    """What went wrong, in words."""


def make_samples(engine: Engine, prompts: Sequence[str], declaration: Declaration) -> Iterator[Sample]:
    """Go on with each prompt by the options that the generation tab starts with; the seeds are 0, 1, 2, ...

    Finetuned model and bare base alike are asked as the app asks them.
    """
    chosen = declaration.generation("generation")
    use: Use = "base" if engine.info.adapter is None else "finetuned"
    options = declaration.default_options("generation")
    requests = [Request("generation", text, options, chosen, (use,), seed) for seed, text in enumerate(prompts)]
    for request, (result,) in zip(requests, answer_all(engine, requests), strict=True):
        yield Sample(request.text, request.seed or 0, result.text, use)


def read_prompts(path: Path = PROMPTS) -> list[str]:
    """The prompts of a JSON-lines file, in its order; DataError where it is none."""
    return _read(path, lambda row: str(row["prompt"]))


def read_samples(path: Path) -> list[Sample]:
    """As `make_samples` gives them; DataError for a line that is no sample."""
    return _read(path, lambda row: Sample(row["prompt"], int(row["seed"]), row["text"], str(row.get("use", ""))))


def read_failures(path: Path) -> list[Failure]:
    """Lines with input, output, reference and a note; DataError for a line that is none."""
    return _read(path, lambda row: Failure(row["input"], row["output"], row["reference"], row.get("note", "")))


def _read(path: Path, make: Callable[[dict[str, Any]], T]) -> list[T]:
    found = []
    for number, row in read_rows(path):
        try:
            found.append(make(row))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, line {number}: {error!r}. Mend or remove it.") from error
    if not found:
        raise DataError(f"{path} holds no lines. Add some.")
    return found
