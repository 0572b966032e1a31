"""Write files so that nobody ever reads half of one, and tell files apart by their hash. Knows nothing of their contents."""

import hashlib
from pathlib import Path

_FORMULA_SIGNS = ("=", "+", "-", "@")


def write_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 file, and the folders above it; until it is complete, the file that was there before stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def csv_text(text: str) -> str:
    """A text for a CSV cell, with an apostrophe before it where a spreadsheet would run it (OWASP, CSV injection)."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA_SIGNS) or text.startswith(("\t", "\r")) else text
