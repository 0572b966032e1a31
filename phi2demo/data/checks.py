"""Refuse what nothing can be done with, before anything reads it: texts, choices, models. Knows no task."""

import re
from collections.abc import Iterable

from phi2demo.data.cleaning import clean
from phi2demo.errors import InputError, SettingsError

MAX_CHARACTERS = 1_000_000
"""A text longer than this is refused before anything reads it: a million characters are about 350 pages."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """SettingsError where `value` is none of `choices`, whatever its type."""
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise SettingsError(f"{name} is {value!r}; give one of {', '.join(known)}.")


def check_text(text: object, *, what: str = "text") -> str:
    """`text` as it is; InputError where it is no text, empty, too long, or holds NUL bytes."""
    if not isinstance(text, str):
        raise InputError(f"The {what} is of type {type(text).__name__}; give a string.")
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"The {what} has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read. Shorten it or split it."
        )
    if "\x00" in text:
        raise InputError(f"The {what} holds NUL bytes, so it is probably a binary file. Paste or upload plain text.")
    if _SURROGATE.search(text):
        raise InputError(f"The {what} holds characters that are not valid Unicode. Save it as UTF-8 and try again.")
    if not clean(text):
        raise InputError(f"The {what} is empty. Type or paste some words first.")
    return text
