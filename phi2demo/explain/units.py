"""Units of a text that can be hidden one by one: tokens, words, sentences, paragraphs. Joined, they are the text as typed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from phi2demo.data.cleaning import characters, clean
from phi2demo.data.documents import split_sentences

UnitKind = Literal["tokens", "words", "sentences", "paragraphs"]

_WORD = re.compile(r"\s*(?:[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+)")
"""Between white space; a character each in Chinese and Japanese, which write none. The white space before belongs to it."""
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"\n\s*")


@dataclass(frozen=True)
class Unit:
    """A part of the person's text: `text[start:end]`."""

    text: str
    start: int
    end: int


def split(
    text: str,
    kind: UnitKind,
    *,
    read: str | None = None,
    edges: Sequence[int] | None = None,
    tokens: Sequence[tuple[int, int]] = (),
    language: str = "en",
) -> tuple[Unit, ...]:
    """`text` as units of a kind, without gaps.

    The units are those of `read`, the text as the model reads it, where that is another one; `edges` says for each place
    between its characters which place of `text` that is. `tokens` are the tokenizer's spans of it, for that kind alone.
    No unit is only white space or invisible, unless the whole text is, and none begins or ends inside a character as a
    person sees it: tokens that share one are one unit.
    """
    read = text if read is None else read
    match kind:
        case "tokens":
            ends: Iterable[int] = _token_ends(tokens)
        case "words":
            ends = (match.end() for match in _WORD.finditer(read))
        case "sentences":
            ends = _running(map(len, split_sentences(read, language=language)))
        case "paragraphs":
            breaks = _BLANK_LINE if _BLANK_LINE.search(read.strip()) else _LINE
            ends = (match.end() for match in breaks.finditer(read))
    typed = ends if edges is None else (edges[end] for end in ends)
    return tuple(Unit(text[start:end], start, end) for start, end in _spans(text, typed))


def _token_ends(spans: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Where tokens end, but not where the next one still holds a part of the same character."""
    for at, (_, end) in enumerate(spans):
        if at + 1 == len(spans) or spans[at + 1][0] >= end:
            yield end


def _running(lengths: Iterable[int]) -> Iterator[int]:
    end = 0
    for length in lengths:
        end += length
        yield end


def _spans(text: str, ends: Iterable[int]) -> list[tuple[int, int]]:
    """Spans up to each end where one may be; white space alone goes to the unit after it, at the end to the last."""
    spans: list[tuple[int, int]] = []
    between_characters = set(_running(map(len, characters(text))))
    start = seen = 0
    blank = True
    for end in (*ends, len(text)):
        blank = blank and not clean(text[seen:end])
        seen = end
        if end <= start or blank or end not in between_characters:
            continue
        spans.append((start, end))
        start, blank = end, True
    if start < len(text):
        first = spans.pop()[0] if spans else 0
        spans.append((first, len(text)))
    return spans
