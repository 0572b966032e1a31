"""The names of the systems, and their answers on disk: one JSON line each, written as they come.

A run that was killed therefore asks nothing twice. The first line holds a hash of all prompts and options; each further
line is one answer. A batch counts only when all of its lines are there: an incomplete end is cut off and its batch is
asked again. Of several processes the first writes the file and each other one writes a part beside it; the parts are
joined later.
"""

import glob
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from phi2demo.errors import DataError, SettingsError

SystemName = Literal["finetuned", "base_template", "base_plain"]
SYSTEMS: tuple[SystemName, ...] = ("finetuned", "base_template", "base_plain")
BASE_SYSTEMS: tuple[SystemName, ...] = ("base_template", "base_plain")
SYSTEM_TITLES: dict[SystemName, str] = {
    "finetuned": "finetuned",
    "base_template": "base, template",
    "base_plain": "base, plain",
}
SCORED = ("prose", "continuation")
"""Kinds of rows whose text is scored; nothing is generated."""


@dataclass(frozen=True)
class Answer:
    """The answer to one item."""

    output: str
    """Cleaned; empty where there is none."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON values: probabilities, new tokens, confidence, the reason where there is no answer."""


@dataclass(frozen=True)
class Output:
    """An answer as it stands in the file."""

    index: int
    """Of the item."""
    output: str
    seconds: float
    """Its share of the seconds of its batch."""
    details: dict[str, Any]


class OutputFile:
    """The answers of one system to the items of one test set."""

    def __init__(self, path: Path, *, prompts_hash: str, batches: Sequence[Sequence[int]], part: int = 0) -> None:
        """Read the answers so far; `batches` are the indexes of the items that are computed together.

        Process 0 rewrites the file at once: whole batches in their order, including those in the parts of other
        processes. Each further process leaves the file as it is and writes into its own part. Raises SettingsError where
        a file holds answers to other prompts or options, DataError where it is damaged.
        """
        self._path, self._batches = path, batches
        self._target = path.with_name(f"{path.name}.part{part}") if part else path
        self._header = json.dumps({"asked": prompts_hash})
        self._first = {batch[0]: batch for batch in batches}
        self._outputs: dict[int, Output] = {}
        parts = sorted(path.parent.glob(f"{glob.escape(path.name)}.part*"))
        for file in (path, *parts):
            self._absorb(file)
        if not part:
            self._settle()
            for file in parts:
                file.unlink()

    @property
    def missing(self) -> Sequence[Sequence[int]]:
        """The batches that are not answered yet, in order."""
        return [batch for batch in self._batches if batch[0] not in self._outputs]

    @property
    def outputs(self) -> list[Output]:
        """All answers, in the order of the items."""
        return [self._outputs[index] for index in sorted(self._outputs)]

    def add(self, batch: Sequence[int], answers: Sequence[Answer], seconds: float) -> None:
        """Write the answers to one of the missing batches."""
        share = round(seconds / len(batch), 6)
        for index, answer in zip(batch, answers, strict=True):
            self._outputs[index] = Output(index, answer.output, share, answer.details)
        if not self._target.is_file():
            self._target.write_text(f"{self._header}\n", encoding="utf-8")
        with self._target.open("ab") as file:
            file.write(self._lines(batch))

    def _absorb(self, path: Path) -> None:
        """Take over the complete batches of a file; only the last one can be incomplete."""
        lines = (
            path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
        )  # a last line without a line feed is incomplete
        if not lines:
            return
        if lines[0].decode(errors="replace") != self._header:
            raise SettingsError(
                f"{path} holds answers to other questions, of another model or with other options. Give another "
                "--output, or remove it."
            )
        outputs = [self._read(path, line, number) for number, line in enumerate(lines[1:], 2)]
        start = 0
        while start < len(outputs):
            batch = self._first.get(outputs[start].index, [])
            rows = outputs[start : start + len(batch)]
            if not batch or [output.index for output in rows] != list(batch):
                break
            for output in rows:
                self._outputs.setdefault(output.index, output)
            start += len(batch)

    def _settle(self) -> None:
        """Write the batches in their order, all at once or not at all."""
        whole = f"{self._header}\n".encode()
        whole += b"".join(self._lines(batch) for batch in self._batches if batch[0] in self._outputs)
        if self._path.is_file() and self._path.read_bytes() == whole:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        settled = self._path.with_name(f"{self._path.name}.settled")
        settled.write_bytes(whole)
        settled.replace(self._path)

    def _lines(self, batch: Sequence[int]) -> bytes:
        rows = [self._outputs[index] for index in batch]
        values = [{"index": r.index, "output": r.output, "seconds": r.seconds, **r.details} for r in rows]
        return "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values).encode()

    @staticmethod
    def _read(path: Path, line: bytes, number: int) -> Output:
        try:
            value = json.loads(line)
            index, output, seconds = int(value.pop("index")), str(value.pop("output")), float(value.pop("seconds"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}, line {number}: this is not an answer ({error!r}). Remove the file to ask again."
            ) from error
        return Output(index, output, seconds, value)


def read_outputs(path: Path) -> dict[int, str]:
    """Read the answers of a file by item index, whatever the prompts were; DataError where it holds no answers.

    Only a line feed ends a line: an answer may hold other line separators, such as U+2028.
    """
    try:
        lines = path.read_bytes().split(b"\n")[1:]
        values = [json.loads(line) for line in lines if line.strip()]
        return {int(value["index"]): str(value["output"]) for value in values}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no answers ({error!r}). Run python -m phi2demo evaluate again.") from error


def digest(value: Any) -> str:
    """Hash a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
