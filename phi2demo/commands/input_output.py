"""Reading input texts and writing answers, in files or through pipes. Knows nothing of tasks."""

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
"""The shell may have redirected the second to a file, which must then not be replaced by a new one."""


def read_text(source: str) -> str:
    """Read a whole file, or standard input. InputError where it cannot be read or is not UTF-8 text."""
    try:
        raw = sys.stdin.buffer.read() if source == PIPE else Path(source).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{_name(source)} is not UTF-8 text (byte {error.start:,}); save it as UTF-8.") from error


def read_lines(source: str) -> list[str]:
    """Read the lines of a file without their line breaks; a line break at the very end starts no further line."""
    lines = read_text(source).replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


@contextmanager
def open_output(target: str | None) -> Iterator[TextIO]:
    """Open the output for answers: standard output, a pipe or device, or a file that appears only when it is complete.

    A link stays, and its target is written. If the command is interrupted, the part that was written stays beside the
    file as FILE.partial.
    """
    if target is None or target in STANDARD_OUTPUT:
        yield sys.stdout
        return
    try:
        with _open(Path(target)) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}); check the path.") from error


def _open(path: Path) -> AbstractContextManager[TextIO]:
    """Open a pipe or a device directly, since replacing it with a file would delete it; replace any other file."""
    if path.exists() and not path.is_file():
        return path.open("w", encoding="utf-8", newline="\n")
    return _open_partial(Path(os.path.realpath(path)))


@contextmanager
def _open_partial(path: Path) -> Iterator[TextIO]:
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
    """Replace each run of line breaks, and the white space around it, by one space."""
    return " ".join(filter(None, (line.strip() for line in text.splitlines())))


def _name(source: str) -> str:
    return "Standard input" if source == PIPE else source
