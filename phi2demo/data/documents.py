"""Cut texts at sentence ends and put them together again. Sentence ends are found by sentencex."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sentencex import segment

WINDOW = 4000
"""Characters looked at together: sentencex takes time by the square of them for writing without spaces, and nothing
longer is one sentence."""

_PLAIN_LINE = re.compile(r"[^\n]*\n?")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Layout:
    """A text as sentences and what stands between them: `glue[0] + sentence[0] + glue[1] + ... + glue[-1]`."""

    sentences: tuple[str, ...]
    glue: tuple[str, ...]
    """One more than sentences: white space, line breaks, and lines without a letter, kept as they are."""

    def join(self, outputs: Sequence[str]) -> str:
        """The same layout around other sentences; where there are fewer, up to there."""
        pieces = [self.glue[0]]
        for output, after in zip(outputs, self.glue[1:], strict=False):
            pieces += [" ".join(output.split()), after]
        text = "".join(pieces)
        return text if len(outputs) == len(self.sentences) else text.rstrip()


def split_sentences(text: str, *, language: str = "en") -> list[str]:
    """Sentences with the white space after them: joined, they are `text`. A line break always ends a sentence."""
    sentences: list[str] = []
    for line in _PLAIN_LINE.findall(text):
        if line.strip():
            sentences += _sentences_of_line(line, language)
        elif line:
            sentences.append(line)
    return sentences


def lay_out(text: str, *, language: str = "en", fits: Callable[[str], bool]) -> Layout:
    """The layout of `text` with sentences that fit; a longer one is cut between words."""
    sentences: list[str] = []
    glue = [""]
    for sentence in split_sentences(text, language=language):
        for piece in _cut(sentence, fits):
            core = piece.strip()
            if not any(character.isalpha() for character in core):
                glue[-1] += piece
                continue
            start = piece.index(core)
            glue[-1] += piece[:start]
            sentences.append(core)
            glue.append(piece[start + len(core) :])
    return Layout(tuple(sentences), tuple(glue))


def pack(text: str, *, language: str = "en", count: Callable[[str], int], limit: int) -> list[str]:
    """Consecutive sentences in as few parts of at most `limit` tokens as that takes; a longer sentence is cut.

    Every sentence is counted once, and every part once more: the sum of its sentences is only an estimate.
    """
    tokens: dict[str, int] = {}

    def fits(piece: str) -> bool:
        tokens[piece] = count(piece)
        return tokens[piece] <= limit

    parts: list[str] = []
    current: list[str] = []
    used = 0
    for sentence in split_sentences(text, language=language):
        tokens.clear()
        for piece in _cut(sentence, fits):
            size = tokens.get(piece, 1)
            if current and used + size > limit:
                parts += _parts(current, count, limit)
                current, used = [], 0
            current.append(piece)
            used += size
    return parts + _parts(current, count, limit)


def balance(text: str, *, parts: int, min_words: int) -> list[str]:
    """At most `parts` runs of consecutive sentences of about the same length, none planned under `min_words`."""
    sentences = [s for s in split_sentences(text) if s.strip()]
    words = [len(sentence.split()) for sentence in sentences]
    count = max(1, min(parts, len(sentences), sum(words) // max(1, min_words)))
    share = sum(words) / count
    groups: list[str] = [""]
    seen = 0.0
    for sentence, length in zip(sentences, words, strict=True):
        if groups[-1] and seen + length / 2 > share * len(groups) and len(groups) < count:
            groups.append("")
        groups[-1] += sentence
        seen += length
    return [group.strip() for group in groups if group.strip()]


def count_words(text: str) -> int:
    """Words as white space parts them."""
    return len(text.split())


def _sentences_of_line(line: str, language: str) -> Iterator[str]:
    """The sentences of a line, found window by window; the last of a window may be cut off, so it opens the next."""
    start = 0
    while len(line) - start > WINDOW:
        *whole, rest = segment(language, line[start : start + WINDOW])
        if not whole:
            whole = [_halves(rest, place=len(rest))[0]]
        yield from whole
        start += sum(map(len, whole))
    yield from segment(language, line[start:])


def _parts(pieces: Sequence[str], count: Callable[[str], int], limit: int) -> list[str]:
    """`pieces` as one part, or as two where together they take more tokens than their sum said."""
    part = "".join(pieces).strip()
    if not part:
        return []
    if count(part) <= limit:
        return [part]
    if len(pieces) == 1:  # fits with its outer white space only
        return [piece.strip() for piece in _cut(part, lambda piece: count(piece.strip()) <= limit)]
    middle = len(pieces) // 2
    return _parts(pieces[:middle], count, limit) + _parts(pieces[middle:], count, limit)


def _cut(sentence: str, fits: Callable[[str], bool]) -> list[str]:
    """The sentence, or halves of halves of it where it does not fit, cut at white space where there is some."""
    if len(sentence) < 2 or fits(sentence):
        return [sentence]
    first, second = _halves(sentence, place=len(sentence) // 2)
    return _cut(first, fits) + _cut(second, fits)


def _halves(text: str, *, place: int) -> tuple[str, str]:
    """Two parts of `text`, parted at the end of the white space nearest to `place`; exactly there if there is none."""
    ends = [match.end() for match in _SPACE.finditer(text) if 0 < match.end() < len(text)]
    if ends:
        place = min(ends, key=lambda end: abs(end - place))
    return text[:place], text[place:]
