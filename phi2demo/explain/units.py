"""Units of a text that can be hidden: tokens, words, sentences, paragraphs; masks over them, and their values.

Joined, the units of a text are the text as typed. Knows no model and no method of attribution.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from phi2demo.data.cleaning import characters, clean
from phi2demo.data.documents import split_sentences

UnitKind = Literal["tokens", "words", "sentences", "paragraphs"]

_WORD = re.compile(r"\s*(?:[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+)")
"""A word with the white space before it; in Chinese and Japanese, which write no spaces, a single character."""
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"\n\s*")


Mask = NDArray[np.bool_]
"""(units,): true where a unit is kept, false where it is hidden."""
Masks = NDArray[np.bool_]
"""(masks, units)."""
Values = NDArray[np.float64]
ScoreMasks = Callable[[Masks], Values]
"""From masks to the values of the masked texts, (masks, columns). A column is a token of the output."""


@dataclass(frozen=True)
class Unit:
    """A part of the person's text: `text[start:end]`."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class UnitValues:
    """The values that a method of attribution gives to units."""

    values: Values
    """(units, columns)."""
    standard_error: Values | None = None
    """(units,): of the sum over columns; None where the method does not sample."""
    fit: float | None = None
    """LIME: weighted R² of the sum over columns."""

    @property
    def totals(self) -> Values:
        """(units,): the sum over columns."""
        return np.asarray(self.values.sum(1), dtype=np.float64)


def split(
    text: str,
    kind: UnitKind,
    *,
    read: str | None = None,
    edges: Sequence[int] | None = None,
    tokens: Sequence[tuple[int, int]] = (),
    language: str = "en",
) -> tuple[Unit, ...]:
    """Split `text` into units of a kind, without gaps.

    Where the model reads another text than was typed, `read` is that text, and the units are found in it; `edges` then
    holds, for each place between two of its characters, the matching place in `text`. `tokens` are the tokenizer's spans
    of `read`; only the kind "tokens" needs them.

    No unit consists of white space or invisible characters alone, unless the whole text does. No unit begins or ends
    inside a visible character: tokens that share one become one unit.
    """
    read = text if read is None else read
    match kind:
        case "tokens":
            ends: Iterable[int] = _token_ends(tokens)
        case "words":
            ends = (match.end() for match in _WORD.finditer(read))
        case "sentences":
            ends = accumulate(map(len, split_sentences(read, language=language)))
        case "paragraphs":
            breaks = _BLANK_LINE if _BLANK_LINE.search(read.strip()) else _LINE
            ends = (match.end() for match in breaks.finditer(read))
    ends_typed = ends if edges is None else (edges[end] for end in ends)
    return tuple(Unit(text[start:end], start, end) for start, end in _spans(text, ends_typed))


def _token_ends(spans: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Yield the ends of the tokens, except where the next token holds a part of the same character."""
    for index, (_, end) in enumerate(spans):
        if index + 1 == len(spans) or spans[index + 1][0] >= end:
            yield end


def _spans(text: str, ends: Iterable[int]) -> list[tuple[int, int]]:
    """Return the spans between those `ends` at which a unit may end.

    White space alone is joined to the unit after it, at the end of the text to the last unit.
    """
    spans: list[tuple[int, int]] = []
    between_characters = set(accumulate(map(len, characters(text))))
    start = previous_end = 0
    blank = True
    for end in (*ends, len(text)):
        blank = blank and not clean(text[previous_end:end])
        previous_end = end
        if end <= start or blank or end not in between_characters:
            continue
        spans.append((start, end))
        start, blank = end, True
    if start < len(text):
        first = spans.pop()[0] if spans else 0
        spans.append((first, len(text)))
    return spans
