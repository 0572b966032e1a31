"""Texts in and answers out: one item a line, in files or through pipes. Knows nothing of tasks."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from phi2demo.errors import InputError

PIPE = "-"
"""Stands for standard input or output."""
STANDARD_OUTPUT = (PIPE, "/dev/stdout")
"""The second leads to a file where the shell says so, which another then must not replace."""


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
    """Where answers are written: a file that is there only when it is whole, a pipe or a device, or standard output.

    Of a link what it leads to is written. If the work is broken off, what was written of a file stays beside it as
    FILE.partial.
    """
    if target is None or target in STANDARD_OUTPUT:
        yield sys.stdout
        return
    try:
        with _opened(Path(target)) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}); check the path.") from error


def _opened(path: Path) -> AbstractContextManager[TextIO]:
    """What is no file is written as it stands: a name put in its place would do away with it."""
    if path.exists() and not path.is_file():
        return path.open("w", encoding="utf-8", newline="\n")
    return _replacing(Path(os.path.realpath(path)))


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        partial.replace(path)
    except BaseException:
        if partial.is_file() and not partial.stat().st_size:
            partial.unlink()
        raise


def one_line(text: str) -> str:
    """`text` with each run of line breaks, and the white space around it, made one space."""
    return " ".join(filter(None, (line.strip() for line in text.splitlines())))


def _name(source: str) -> str:
    return "Standard input" if source == PIPE else source
