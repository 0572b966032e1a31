"""Clean a text, in the same way for training and for asking, and tell where each part of the cleaned text came from.

A model that was trained on cleaned texts has hardly seen a tab, a no-break space, a soft hyphen, an accent as a character of
its own, or a letter of double width: one of them can turn its answer into nonsense, and a person cannot see why.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import regex

_LINE_BREAK = regex.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPACE_OR_INVISIBLE = regex.compile(r"(?V1)[\s\p{Default_Ignorable_Code_Point}\p{Cc}]+")
"""White space, and what has no width of its own: soft hyphens, joiners, direction marks, control characters."""
_CHARACTER = regex.compile(r"[\x20-\x7e]+(?![^\x00-\x7f])|\X")
"""A run of ASCII, or one character as a person sees it: letter with marks (Unicode's extended grapheme cluster)."""
_GRAPHEME = regex.compile(r"\p{RI}{2}[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}]*+|\X")
r"""What `\X` matches; flags come first, as `\X` takes time by the square of a run of them."""
_KINDS = ("<wide>", "<narrow>", "<font>")
"""Tags of Unicode's decompositions: full-width and half-width forms, and letters of mathematics."""
_SAME_LOOK = {
    "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st",
    "\u2010": "-", "\u2011": "-",
}  # fmt: skip
"""Ligatures and hyphens that look like what stands for them."""
_STYLED = {
    character: chr(int(parts[1], 16))
    for first, last in ((0x2100, 0x214F), (0xFF01, 0xFFEE), (0x1D400, 0x1D7FF), (0x1FBF0, 0x1FBF9))
    for character in map(chr, range(first, last + 1))
    if (parts := unicodedata.decomposition(character).split()) and parts[0] in _KINDS and len(parts) == 2
}
"""Letters, digits and signs in another width or style, by the plain one."""
_FORMS = _SAME_LOOK | _STYLED
_COMPATIBILITY = regex.compile(f"[{regex.escape(''.join(_FORMS))}]")
_VISIBLY_OTHER = regex.compile(f"[{regex.escape(''.join(_STYLED))}]")

_Replace = Callable[["regex.Match[str]"], str]


@dataclass(frozen=True)
class CleanedText:
    """A cleaned text, and which part of the text as typed each part of it stands for."""

    typed: str
    text: str
    edges: tuple[int, ...]
    """For each place between two characters of `text`, both ends included, the place in `typed`."""

    def to_cleaned(self, start: int, end: int) -> tuple[int, int]:
        """The span of `text` that a span of `typed` became; both begin and end at places that are in `edges`."""
        return bisect_left(self.edges, start), bisect_left(self.edges, end)


def clean(text: str, *, keep_layout: bool = False) -> str:
    """`text` in Unicode NFC, without invisible characters, with runs of white space as one space.

    Line breaks stay, each as one line feed; white space around a line and around the text goes. With `keep_layout` that
    at the beginning of a line stays, as in code and verse, and so do line breaks at the end. Letters of another width or
    style, ligatures and uncommon hyphens become plain ones. Cleaning a cleaned text changes nothing.
    """
    for pattern, replace in _steps(keep_layout):
        text = pattern.sub(replace, text)
    return text if unicodedata.is_normalized("NFC", text) else _CHARACTER.sub(_composed, text)


def clean_aligned(text: str, *, keep_layout: bool = False) -> CleanedText:
    """What `clean` gives, with the way back to `text`."""
    cleaned, edges = text, list(range(len(text) + 1))
    for pattern, replace in (*_steps(keep_layout), (_CHARACTER, _composed)):
        cleaned, step = _substitute(cleaned, pattern, replace)
        edges = [edges[place] for place in step]
    first = edges[0]  # what was removed at the beginning belongs to what comes after it
    return CleanedText(text, cleaned, tuple(0 if place == first else place for place in edges))


def characters(text: str) -> list[str]:
    """`text` cut into characters as a person sees them: a letter with its marks, an emoji with its modifiers, a flag.

    They are Unicode's extended grapheme clusters (UAX 29).
    """
    return _GRAPHEME.findall(text)  # type: ignore[no-any-return]


def looks_changed(text: str) -> bool:
    """Whether a person could see what cleaning changes in the characters of `text`: spaces and hidden marks are not seen."""
    return _VISIBLY_OTHER.search(text) is not None


def _steps(keep_layout: bool) -> Sequence[tuple["regex.Pattern[str]", _Replace]]:
    return (
        (_SPACE_OR_INVISIBLE, _laid_out if keep_layout else _spaced),
        (_COMPATIBILITY, lambda match: _FORMS[match[0]]),
    )


def _spaced(match: "regex.Match[str]") -> str:
    if match.start() == 0 or match.end() == len(match.string):
        return ""
    breaks = len(_LINE_BREAK.findall(match[0]))
    return "\n" * breaks or (" " if any(map(str.isspace, match[0])) else "")


def _laid_out(match: "regex.Match[str]") -> str:
    """As `_spaced`, with the spaces and tabs after the last line break of a run, and with line breaks at the end."""
    *lines, last = _LINE_BREAK.split(match[0])
    if match.start() == 0 or not lines:
        return _spaced(match)
    if match.end() == len(match.string):
        return "\n" * len(lines)
    return "\n" * len(lines) + "".join("\t" if character == "\t" else " " for character in last if character.isspace())


def _composed(match: "regex.Match[str]") -> str:
    return unicodedata.normalize("NFC", match[0])


def _substitute(text: str, pattern: "regex.Pattern[str]", replace: _Replace) -> tuple[str, list[int]]:
    """`pattern.sub(replace, text)`, and for each place in the result the place in `text`.

    A place inside of a replacement is taken for its beginning; what was removed belongs to what stands before it.
    """
    parts: list[str] = []
    edges: list[int] = [0]
    done = 0
    for match in pattern.finditer(text):
        new = replace(match)
        if new == match[0]:
            continue
        parts += [text[done : match.start()], new]
        edges += range(done + 1, match.start() + 1)
        edges += [match.start()] * (len(new) - 1)
        edges[len(edges) if new else -1 :] = [match.end()]
        done = match.end()
    edges += range(done + 1, len(text) + 1)
    return "".join((*parts, text[done:])), edges


LONE_LETTERS = 5
"""Least number of letters of a single word in capitals that is lowered: OK, TV and NATO are written in capitals."""

_BETWEEN = re.compile(r"((?<=[.!?…])\s+|\n)")
_WORD = re.compile(r"[^\W\d_]+")
_FIRST_LETTER = re.compile(r"^(\W*)([^\W\d_])")
_LONE_I = re.compile(r"\bi\b")


def without_capitals(text: str, *, language: str = "en") -> str:
    """Lower the case of sentences in capitals, except for their first letter and the English "I"; the length stays."""
    return "".join(_small(part, language) if _in_capitals(part) else part for part in _BETWEEN.split(text))


def with_beginnings(text: str, *, language: str = "en") -> str:
    """Capitalize the sentences of a text without capitals, and the English "I"; the length stays the same."""
    if text != text.lower():
        return text
    return "".join(_begun(part, language) for part in _BETWEEN.split(text))


def _in_capitals(sentence: str) -> bool:
    """Return whether several words, or one that is no abbreviation, are in capitals; "U.S." ends like a sentence."""
    if sentence != sentence.upper() or sentence == sentence.lower():
        return False
    longest = max(map(len, _WORD.findall(sentence)))
    several = sum(_WORD.search(word) is not None for word in sentence.split()) > 1
    return longest > 1 if several else longest >= LONE_LETTERS


def _small(sentence: str, language: str) -> str:
    return _begun("".join(map(_lower, sentence)), language)


def _begun(sentence: str, language: str) -> str:
    if language == "en":
        sentence = _LONE_I.sub("I", sentence)
    return _FIRST_LETTER.sub(lambda match: match[1] + _upper(match[2]), sentence)


def _lower(character: str) -> str:
    """Lower the case of a character, unless that gives two characters."""
    return character.lower() if len(character.lower()) == 1 else character


def _upper(character: str) -> str:
    return character.upper() if len(character.upper()) == 1 else character
