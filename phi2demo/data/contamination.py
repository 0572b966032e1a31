"""Find the items of a test set that stand in the files that a model is trained and chosen on. Knows no model.

The person's text is looked up, and a reference translation or summary; case and punctuation do not count. A text stands
in files where they hold at least 70 % of its runs of eight words, as Chowdhery et al., "PaLM: Scaling Language Modeling
with Pathways" (2022), tell contaminated examples from clean ones; a text of fewer words where they hold it as a whole.

The folder is what a model may have seen, not what it saw; the same in other words is not found.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from phi2demo.data.corpus import FILE_NAME, TEXT_FIELDS, split_of
from phi2demo.data.rows import Row, read_rows
from phi2demo.data.test_sets import TestSet, text_of

ContaminationLabel = Literal["in training", "in validation", "in neither"]
CONTAMINATION_LABELS: tuple[ContaminationLabel, ...] = get_args(ContaminationLabel)
"""Where an item stands, in the files of the folder that it is from."""
IN_TRAINING, IN_VALIDATION, IN_NEITHER = CONTAMINATION_LABELS

GRAM = 8
"""Words of a run that is looked up; shorter runs are not found."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_END = 0
"""Between two texts, and a word that no text has: no run goes on there."""
_WORD = re.compile(r"\w+")


class Grams:
    """Runs of GRAM words as numbers: equal for the same words, and by chance for others.

    A polynomial over random 64-bit numbers, one for each word: two runs of which one is looked up share theirs by chance
    about once in 10^11 look-ups among 10^8.
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        """`numbers` of words, from 1 on; a word that has none ends a run."""
        self._numbers = numbers
        self._values = np.random.default_rng(0).integers(2**64, size=len(numbers) + 1, dtype=np.uint64)

    def number(self, words: Iterable[str]) -> list[int]:
        """The numbers of words, one each."""
        return [self._numbers.get(word, _END) for word in words]

    def keys(self, words: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """The number of each run that is within one text, and its place among `words`."""
        size = max(0, len(words) - GRAM + 1)
        keys, whole = np.zeros(size, dtype=np.uint64), np.ones(size, dtype=bool)
        for place in range(GRAM if size else 0):
            words_at_place = words[place : place + size]
            whole &= words_at_place != _END
            keys *= _FACTOR
            keys += self._values[words_at_place]
        places = np.flatnonzero(whole).astype(np.uint32)
        return keys[places], places


def words_of(text: str) -> list[str]:
    """Lower-case words of letters, digits and underscores."""
    return _WORD.findall(text.casefold())


@dataclass(frozen=True)
class Run:
    """A run of words of a text that stands in the indexed ones."""

    words: int
    """0 where there is none of at least GRAM."""
    start: int = 0
    """Characters of the text."""
    end: int = 0


@dataclass(frozen=True)
class Overlap:
    """What of one text stands in the indexed ones."""

    lengths: tuple[int, ...]
    """Of each word, how long the longest run is that ends there; 0 below GRAM."""
    spans: tuple[tuple[int, int], ...]
    """Where the words stand in the text."""

    @property
    def longest(self) -> Run:
        """The first of the longest runs."""
        words = max(self.lengths, default=0)
        if not words:
            return Run(0)
        last = self.lengths.index(words)
        return Run(words, self.spans[last - words + 1][0], self.spans[last][1])

    def runs(self, size: int) -> tuple[int, int]:
        """How many runs of exactly `size` words are among the indexed texts, and how many there are."""
        return sum(length >= size for length in self.lengths), max(0, len(self.lengths) - size + 1)


class TextIndex:
    """Texts to look runs of words up in.

    The runs are one sorted array with their places beside it: 12 bytes a word, and while it is built about 40; 300 MB of
    text are some 55 million words.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        numbers: defaultdict[str, int] = defaultdict(count(_END + 1).__next__)
        numbers_of_words = array("I", [_END])
        for text in texts:
            numbers_of_words.extend(map(numbers.__getitem__, words_of(text)))
            numbers_of_words.append(_END)
        words = np.frombuffer(numbers_of_words, dtype=np.uint32)
        self._grams = Grams(dict(numbers))
        keys, places = self._grams.keys(words)
        order = np.argsort(keys, kind="stable")
        self._sorted, self._places = keys[order], places[order]
        self.words = int(np.count_nonzero(words))
        """Of all texts together."""

    def look_up(self, text: str) -> Overlap:
        """The runs of `text` that are among the indexed texts, each within one of them."""
        matches = list(_WORD.finditer(text))
        words = np.array(self._grams.number(match[0].casefold() for match in matches), dtype=np.uint32)
        lengths = [0] * len(words)
        keys, starts = self._grams.keys(words)
        lows, highs = np.searchsorted(self._sorted, keys, "left"), np.searchsorted(self._sorted, keys, "right")
        before: dict[int, int] = {}
        last = -1
        for start, low, high in zip(starts.tolist(), lows, highs, strict=True):
            if start != last + 1:
                before = {}
            before = {place: before.get(place - 1, GRAM - 1) + 1 for place in self._places[low:high].tolist()}
            lengths[start + GRAM - 1] = max(before.values(), default=0)
            last = start
        return Overlap(tuple(lengths), tuple(match.span() for match in matches))


SHARE = 0.7
"""Of its runs, from which on a text stands in files."""
_LABEL_OF_SPLIT: Mapping[str, ContaminationLabel] = {"train": IN_TRAINING, "validation": IN_VALIDATION}
"""Of the splits that are read."""
_REFERENCES = ("translation", "summarization")
"""Kinds whose references are texts too: an answer or a label recurs without being remembered."""
_AT_ONCE = 2_000_000
"""Words of a file that are compared at once, for the memory it takes."""

_Part = tuple[str, str]
"""Name of a file below the folder, and the split that is meant of it."""


@dataclass(frozen=True)
class ItemLabels:
    """Where the items of one test set stand."""

    labels: tuple[ContaminationLabel, ...]
    """Of each item; training counts before validation."""
    files: Mapping[str, int]
    """How many items each file holds by itself, most first; without those that hold none."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: how many items stand where."""
        return {name: self.labels.count(name) for name in CONTAMINATION_LABELS} | {"files": dict(self.files)}


class Contamination:
    """Looks the items of test sets up in the training and validation files below a folder."""

    def __init__(self, folder: Path, test_sets: Sequence[TestSet]) -> None:
        """Reads every such file once; DataError for one that cannot be read."""
        self._sought = _Sought({text for test_set in test_sets for texts in _texts(test_set) for text in texts})
        self._held: dict[_Part, _Held] = {}
        for path in sorted(folder.rglob("*.jsonl*")):
            match = FILE_NAME.fullmatch(path.name)
            if match and match["split"] != "test":
                self._read(path, path.relative_to(folder).as_posix(), match["split"])

    def of(self, test_set: TestSet) -> ItemLabels | None:
        """Return where the items of a test set stand, its own file left out; None where there is no other file."""
        parts = {part: held for part, held in self._held.items() if part != (test_set.file.name, test_set.file.split)}
        if not parts:
            return None
        items = _texts(test_set)
        items_by_label = {
            label: self._sought.stand(
                items, [held for (_, split), held in parts.items() if _LABEL_OF_SPLIT[split] == label]
            )
            for label in (IN_TRAINING, IN_VALIDATION)
        }
        labels = tuple(
            IN_TRAINING if trained else IN_VALIDATION if chosen else IN_NEITHER
            for trained, chosen in zip(items_by_label[IN_TRAINING], items_by_label[IN_VALIDATION], strict=True)
        )
        counts = {part: sum(self._sought.stand(items, [held])) for part, held in parts.items()}
        files: dict[str, int] = {}
        for (name, _), held_count in sorted(counts.items(), key=lambda pair: -pair[1]):
            if held_count:
                files[name] = files.get(name, 0) + held_count
        return ItemLabels(labels, files)

    def _read(self, path: Path, name: str, split: str | None) -> None:
        """A file without a split in its name is read as `training.corpus` splits it."""
        for _, row in read_rows(path):
            own_split = split or split_of(row)
            if own_split in _LABEL_OF_SPLIT:
                part = self._held.setdefault((name, own_split), _Held(self._sought))
                for text in _texts_of_row(row):
                    part.read(words_of(text))
        for own_split in _LABEL_OF_SPLIT:
            if (name, own_split) in self._held:
                self._held[name, own_split].compare()


class _Sought:
    """The texts that are looked up, and their runs, each once."""

    def __init__(self, texts: Iterable[str]) -> None:
        words = {text: text.split() for text in texts}
        numbers = {word: number for number, word in enumerate(dict.fromkeys(chain(*words.values())), start=1)}
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


def _texts(test_set: TestSet) -> list[list[str]]:
    """What is looked up of each item, as words between single spaces."""
    texts_of_items = []
    for item in test_set.items:
        references = item.references if test_set.kind in _REFERENCES else ()
        texts = (" ".join(words_of(text)) for text in (text_of(item.row, test_set.kind), *references))
        texts_of_items.append([words for words in texts if words])
    return texts_of_items


def _texts_of_row(row: Row) -> Iterator[str]:
    """Of a file that may be of any kind; `references` hold more of them."""
    references = row.get("references")
    for value in (*(row.get(name) for name in TEXT_FIELDS), *(references if isinstance(references, list) else ())):
        if isinstance(value, str):
            yield value
