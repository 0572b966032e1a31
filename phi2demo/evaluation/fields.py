"""A JSON object read field by field, each checked: it may be a file that somebody uploaded. Knows no report."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

MAX_TEXT = 300
"""Characters of a name."""

_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters but tabs and line breaks, and halves of surrogate pairs."""

T = TypeVar("T")


class WrongError(Exception):
    """A field is not what it should be."""


class Fields:
    """An object of JSON, or what is said to be one; `where` names it in errors."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise WrongError(f"{where} is no object")
        self._value, self.where = value, where

    def __contains__(self, name: object) -> bool:
        return name in self._value

    def text(self, name: str) -> str:
        """A name, or another short text, of characters that can be written anywhere."""
        return str(self._of(name, str, lambda found: len(found) <= MAX_TEXT and not _UNWRITABLE.search(found)))

    def count(self, name: str, *, at_most: int = 10**9) -> int:
        """A whole number from 0 on."""
        return int(self._of(name, int, lambda found: 0 <= found <= at_most))

    def flag(self, name: str) -> bool:
        """True or false."""
        return bool(self._of(name, bool))

    def number(self, name: str) -> float:
        """Whole or not, neither infinite nor NaN."""
        return float(self._of(name, (int, float), lambda found: abs(found) <= sys.float_info.max))

    def inner(self, name: str) -> "Fields":
        """An object within."""
        return Fields(self._of(name, Mapping), f"{self.where}.{name}")

    def several(self, name: str, *, at_most: int = 100) -> "list[Fields]":
        """A list of objects within."""
        found = self._of(name, list, lambda each: len(each) <= at_most)
        return [Fields(each, f"{self.where}.{name}[{at}]") for at, each in enumerate(found)]

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """What `read` gives of the field; None where it is missing or null."""
        return None if self._value.get(name) is None else read(name)

    def _of(self, name: str, kind: Any, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        found = self._value.get(name)
        right = isinstance(found, kind) and (kind is bool or not isinstance(found, bool))
        if found is None:
            raise WrongError(f"{self.where}.{name} is missing")
        if not right or not fits(found):
            shown = repr(found)
            raise WrongError(f"{self.where}.{name} is {shown[:40]}{'…' if len(shown) > 40 else ''}")
        return found
