"""Which items of a measure stand in the files that a model is trained and chosen on. Knows no model.

The person's text is looked up, and a reference translation or summary; case and punctuation do not count. A text stands
in files where they hold at least 70 % of its runs of eight words, as Chowdhery et al., "PaLM: Scaling Language Modeling
with Pathways" (2022), tell contaminated examples from clean ones; a text of fewer words where they hold it as a whole.

The folder is what a model may have seen, not what it saw; the same in other words is not found.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phi2demo.evaluation.datasets import Measure
from phi2demo.evaluation.overlap import GRAM, Grams, words_of
from phi2demo.evaluation.slices import IN_NEITHER, IN_TRAINING, IN_VALIDATION, STANDINGS, Standing, text_of
from phi2demo.training.corpus import FILE_NAME, TEXT_FIELDS, split_of
from phi2demo.training.rows import Row, read_rows

SHARE = 0.7
"""Of its runs, from which on a text stands in files."""
_STANDING_OF: Mapping[str, Standing] = {"train": IN_TRAINING, "validation": IN_VALIDATION}
"""Of the splits that are read."""
_REFERENCES = ("translation", "summarization")
"""Kinds whose references are texts too: an answer or a label recurs without being remembered."""
_AT_ONCE = 2_000_000
"""Words of a file that are compared at once, for the memory it takes."""

_Part = tuple[str, str]
"""Name of a file below the folder, and the split that is meant of it."""


@dataclass(frozen=True)
class Found:
    """Where the items of one measure stand."""

    labels: tuple[Standing, ...]
    """Of each item; training counts before validation."""
    files: Mapping[str, int]
    """How many items each file holds by itself, most first; without those that hold none."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: how many items stand where."""
        return {name: self.labels.count(name) for name in STANDINGS} | {"files": dict(self.files)}


class Contamination:
    """Looks the items of measures up in the training and validation files below a folder."""

    def __init__(self, folder: Path, measures: Sequence[Measure]) -> None:
        """Reads every such file once; DataError for one that cannot be read."""
        self._sought = _Sought({text for measure in measures for texts in _texts(measure) for text in texts})
        self._held: dict[_Part, _Held] = {}
        for path in sorted(folder.rglob("*.jsonl*")):
            match = FILE_NAME.fullmatch(path.name)
            if match and match["split"] != "test":
                self._read(path, path.relative_to(folder).as_posix(), match["split"])

    def of(self, measure: Measure) -> Found | None:
        """Of a measure that was given; the rows that it is made of do not count. None where there are no others."""
        parts = {part: held for part, held in self._held.items() if part != (measure.file.name, measure.file.split)}
        if not parts:
            return None
        items = _texts(measure)
        standing = {
            label: self._sought.stand(
                items, [held for (_, split), held in parts.items() if _STANDING_OF[split] == label]
            )
            for label in (IN_TRAINING, IN_VALIDATION)
        }
        labels = tuple(
            IN_TRAINING if trained else IN_VALIDATION if chosen else IN_NEITHER
            for trained, chosen in zip(standing[IN_TRAINING], standing[IN_VALIDATION], strict=True)
        )
        counts = {part: sum(self._sought.stand(items, [held])) for part, held in parts.items()}
        files: dict[str, int] = {}
        for (name, _), count in sorted(counts.items(), key=lambda each: -each[1]):
            if count:
                files[name] = files.get(name, 0) + count
        return Found(labels, files)

    def _read(self, path: Path, name: str, split: str | None) -> None:
        """A file without a split in its name is read as `training.corpus` splits it."""
        for _, row in read_rows(path):
            own = split or split_of(row)
            if own in _STANDING_OF:
                part = self._held.setdefault((name, own), _Held(self._sought))
                for text in _texts_of_row(row):
                    part.read(words_of(text))
        for own in _STANDING_OF:
            if (name, own) in self._held:
                self._held[name, own].compare()


class _Sought:
    """The texts that are looked up, and their runs, each once."""

    def __init__(self, texts: Iterable[str]) -> None:
        words = {text: text.split() for text in texts}
        numbers = {word: at for at, word in enumerate(dict.fromkeys(chain(*words.values())), start=1)}
        self.grams = Grams(numbers)
        long = {text: self._keys(own) for text, own in words.items() if len(own) >= GRAM}
        self.short = words.keys() - long.keys()
        self.keys = np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *long.values()]))
        self._places = {text: np.searchsorted(self.keys, own) for text, own in long.items()}

    def stand(self, items: Sequence[Iterable[str]], files: "Sequence[_Held]") -> list[bool]:
        """Of each item whether one of its texts stands in these files together."""
        there = np.zeros(len(self.keys), dtype=bool)
        for held in files:
            there |= held.keys
        whole = set[str]().union(*(held.short for held in files))
        return [any(self._stands(text, there, whole) for text in texts) for texts in items]

    def _stands(self, text: str, there: NDArray[np.bool_], whole: set[str]) -> bool:
        if text in self._places:
            return float(there[self._places[text]].mean()) >= SHARE
        return text in whole

    def _keys(self, words: Sequence[str]) -> NDArray[np.uint64]:
        return self.grams.keys(np.array(self.grams.number(words), dtype=np.uint32))[0]


class _Held:
    """What of the sought texts stands in one part."""

    def __init__(self, sought: _Sought) -> None:
        self._sought = sought
        self._words = array("I")
        self.keys = np.zeros(len(sought.keys), dtype=bool)
        self.short: set[str] = set()

    def read(self, words: Sequence[str]) -> None:
        """One text more."""
        if len(words) < GRAM:
            self.short.update({" ".join(words)} & self._sought.short)
            return
        self._words.extend(self._sought.grams.number(words))
        self._words.append(0)
        if len(self._words) > _AT_ONCE:
            self.compare()

    def compare(self) -> None:
        """Look for the sought runs in what was read since."""
        keys, _ = self._sought.grams.keys(np.frombuffer(self._words, dtype=np.uint32))
        self.keys |= np.isin(self._sought.keys, keys)
        self._words = array("I")


def _texts(measure: Measure) -> list[list[str]]:
    """What is looked up of each item, as words between single spaces."""
    found = []
    for item in measure.items:
        references = item.references if measure.kind in _REFERENCES else ()
        texts = (" ".join(words_of(text)) for text in (text_of(item.row, measure.kind), *references))
        found.append([words for words in texts if words])
    return found


def _texts_of_row(row: Row) -> Iterator[str]:
    """Of a file that may be of any kind; `references` hold more of them."""
    references = row.get("references")
    for value in (*(row.get(name) for name in TEXT_FIELDS), *(references if isinstance(references, list) else ())):
        if isinstance(value, str):
            yield value
