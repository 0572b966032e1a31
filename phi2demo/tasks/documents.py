"""Cut texts at sentence ends and put them together again. Sentence ends are found by sentencex."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sentencex import segment

_PLAIN_LINE = re.compile(r"[^\n]*\n?")


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
        sentences += segment(language, line) if line.strip() else [line] if line else []
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

    Token counts of sentences add up to at least the count of the part, so a part never exceeds the limit.
    """
    parts: list[str] = []
    current, used = "", 0
    for sentence in split_sentences(text, language=language):
        for piece in _cut(sentence, lambda candidate: count(candidate) <= limit):
            tokens = count(piece)
            if current and used + tokens > limit:
                parts.append(current)
                current, used = "", 0
            current += piece
            used += tokens
    parts.append(current)
    return [part.strip() for part in parts if part.strip()]


def balance(text: str, *, parts: int, min_words: int) -> list[str]:
    """At most `parts` runs of consecutive sentences of about the same length, none planned under `min_words`."""
    sentences = [s for s in split_sentences(text) if s.strip()]
    words = [len(sentence.split()) for sentence in sentences]
    wanted = max(1, min(parts, len(sentences), sum(words) // max(1, min_words)))
    share = sum(words) / wanted
    groups: list[str] = [""]
    seen = 0.0
    for sentence, length in zip(sentences, words, strict=True):
        if groups[-1] and seen + length / 2 > share * len(groups) and len(groups) < wanted:
            groups.append("")
        groups[-1] += sentence
        seen += length
    return [group.strip() for group in groups]


def count_words(text: str) -> int:
    """Words as white space parts them."""
    return len(text.split())


def _cut(sentence: str, fits: Callable[[str], bool]) -> list[str]:
    """The sentence, or halves of halves of it where it does not fit, cut at white space where there is some."""
    if len(sentence) < 2 or fits(sentence):
        return [sentence]
    middle = len(sentence) // 2
    spaces = [match.end() for match in re.finditer(r"\s+", sentence) if 0 < match.end() < len(sentence)]
    at = min(spaces, key=lambda end: abs(end - middle)) if spaces else middle
    return _cut(sentence[:at], fits) + _cut(sentence[at:], fits)
