"""Read a text in capitals, or one without any, as sentences are written. Knows nothing of torch or of the page.

A small model has seen few words in capitals: their tokens are others, and it makes nothing of them. Every text has as many
characters afterwards as before, so that a place in one is the same place in the other.
"""

import re

LONE_LETTERS = 5
"""A single word in capitals is made small only if it has so many letters: OK, TV and NATO are written like this."""

_BETWEEN = re.compile(r"((?<=[.!?…])\s+|\n)")
_WORD = re.compile(r"[^\W\d_]+")
_FIRST_LETTER = re.compile(r"^(\W*)([^\W\d_])")
_LONE_I = re.compile(r"\bi\b")


def without_capitals(text: str, *, language: str = "en") -> str:
    """`text` with its sentences in capitals in small letters but for the first, and for the English "I"."""
    return "".join(_small(part, language) if _in_capitals(part) else part for part in _BETWEEN.split(text))


def with_beginnings(text: str, *, language: str = "en") -> str:
    """`text`, where it has no capital at all, with one at the beginning of every sentence, and the English "I"."""
    if text != text.lower():
        return text
    return "".join(_begun(part, language) for part in _BETWEEN.split(text))


def _in_capitals(sentence: str) -> bool:
    """Whether it is, of several words or one that is no abbreviation: a U.S. before a space looks like a sentence."""
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
