"""Answers on disk, a JSON line each, written as they come: what was answered before a kill is not asked again.

The first line says what was asked (a hash of all prompts and options); each further line is one example of a batch.
A batch counts once all of its lines are there: a torn end is cut off and its batch asked again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.forms import Answer


@dataclass(frozen=True)
class Output:
    """One answered example."""

    index: int
    """Of its item."""
    output: str
    seconds: float
    """Its share of the batch's."""
    details: dict[str, Any]


class OutputFile:
    """The answers of one form to the items of one measure."""

    def __init__(self, path: Path, *, asked: str, batches: Sequence[Sequence[int]]) -> None:
        """Open or begin the file; `batches` are the indexes of the items that are computed together.

        Raises SettingsError where the file holds answers to something else, DataError where it is damaged.
        """
        self._path, self._batches = path, batches
        self._outputs: dict[int, Output] = {}
        header = json.dumps({"asked": asked})
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []  # a last line without end is torn
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{header}\n", encoding="utf-8")
            return
        if lines[0].decode(errors="replace") != header:
            raise SettingsError(
                f"{path} holds answers to other questions, of another model or with other options. Give another "
                "--output, or remove it."
            )
        found = [self._read(line, number) for number, line in enumerate(lines[1:], 2)]
        whole = 0
        for batch in batches:
            if [output.index for output in found[whole : whole + len(batch)]] != list(batch):
                break
            whole += len(batch)
        self._outputs = {output.index: output for output in found[:whole]}
        size = sum(len(line) + 1 for line in lines[: whole + 1])
        with path.open("r+b") as file:
            file.truncate(size)

    @property
    def missing(self) -> Sequence[Sequence[int]]:
        """The batches that are still to be answered, in order."""
        return [batch for batch in self._batches if batch[0] not in self._outputs]

    @property
    def outputs(self) -> list[Output]:
        """All answers, in the order of the items."""
        return [self._outputs[index] for index in sorted(self._outputs)]

    def add(self, batch: Sequence[int], answers: Sequence[Answer], seconds: float) -> None:
        """Write the answers to one batch, the next of those missing."""
        share = round(seconds / len(batch), 6)
        lines = []
        for index, answer in zip(batch, answers, strict=True):
            self._outputs[index] = Output(index, answer.output, share, answer.details)
            lines.append(
                json.dumps(
                    {"index": index, "output": answer.output, "seconds": share, **answer.details}, ensure_ascii=False
                )
            )
        with self._path.open("ab") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    def _read(self, line: bytes, number: int) -> Output:
        try:
            value = json.loads(line)
            index, output, seconds = int(value.pop("index")), str(value.pop("output")), float(value.pop("seconds"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{self._path}, line {number}: no answer ({error!r}). Remove the file to ask again."
            ) from error
        return Output(index, output, seconds, value)


def digest(value: Any) -> str:
    """A hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
