"""Refuse texts, choices and values of files that cannot be used, before anything reads them. Knows no task."""

import re
from collections.abc import Iterable

from pydantic import ValidationError

from phi2demo.data.cleaning import clean
from phi2demo.errors import InputError, SettingsError, listed, quoted, shortened

MAX_CHARACTERS = 1_000_000
"""A text longer than this is refused before anything reads it: a million characters are about 350 pages."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def first_problem(error: ValidationError) -> str:
    """Describe the first field that pydantic refuses, as `test_sets[0].figures[1].scores.finetuned.low is 'x'`."""
    problem = error.errors(include_url=False, include_context=False)[0]
    is_key = problem["loc"][-1:] == ("[key]",)
    parts = [
        f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in problem["loc"] if part != "[key]"
    ]
    name = "".join(parts).removeprefix(".")
    if is_key or problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"the field {name} is unknown"
    if problem["type"] == "missing":
        return f"the field {name} is missing"
    if problem["type"] == "too_long":
        return f"{name} has too many entries"
    return f"{name or 'the content'} is {quoted(problem['input'])} ({problem['msg'].lower()})"


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """SettingsError where `value` is none of `choices`, whatever its type."""
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise SettingsError(f"{name} is {quoted(value)}; give one of {listed(known)}.")


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
