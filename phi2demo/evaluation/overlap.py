"""Which runs of words of a text stand word for word in many others. Knows no model.

Words are compared in lower case without punctuation, as in the 13-gram overlap of Brown et al., "Language Models are
Few-Shot Learners" (2020), appendix C. Every run of eight words of the texts is a 64-bit number.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

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
        for at in range(GRAM if size else 0):
            own = words[at : at + size]
            whole &= own != _END
            keys *= _FACTOR
            keys += self._values[own]
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
        found = array("I", [_END])
        for text in texts:
            found.extend(map(numbers.__getitem__, words_of(text)))
            found.append(_END)
        words = np.frombuffer(found, dtype=np.uint32)
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
