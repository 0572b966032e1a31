"""Texts in and answers out: one item a line, in files or through pipes. Knows nothing of tasks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from phi2demo.errors import InputError

PIPE = "-"
"""Stands for standard input or output."""


def read_text(source: str) -> str:
    """A whole file, or standard input. InputError where it cannot be read or is no UTF-8 text."""
    try:
        raw = sys.stdin.buffer.read() if source == PIPE else Path(source).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{_name(source)} is no text in UTF-8 (byte {error.start:,}); save it as UTF-8.") from error


def read_lines(source: str) -> list[str]:
    """The lines of a file without their ends; a line break at the very end opens no further line."""
    lines = read_text(source).replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


@contextmanager
def open_output(target: str | None) -> Iterator[TextIO]:
    """Where answers are written: a file that is there only when it is whole, or standard output.

    If the work is broken off, what was written stays beside it as FILE.partial.
    """
    if target is None or target == PIPE:
        yield sys.stdout
        return
    partial = Path(f"{target}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        partial.replace(target)
    except BaseException as error:
        if partial.is_file() and not partial.stat().st_size:
            partial.unlink()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise InputError(f"{target} cannot be written ({error.strerror}); check the path.") from error
        raise


def one_line(text: str) -> str:
    """`text` with each run of line breaks, and the white space around it, made one space."""
    return " ".join(filter(None, (line.strip() for line in text.splitlines())))


def _name(source: str) -> str:
    return "Standard input" if source == PIPE else source
