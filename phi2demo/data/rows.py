"""Read the rows of a JSON-lines file (plain, .gz or .xz). Knows nothing of what their fields mean."""

import codecs
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from phi2demo.errors import DataError

Row = dict[str, Any]

SENTIMENT_LABELS = ("negative", "positive")
"""By the number that a row gives as its label. A further label is added here, and with it everywhere."""

MAX_LINE = 16_000_000
"""Bytes of one row."""


def read_rows(path: Path, *, max_bytes: int | None = None) -> Iterator[tuple[int, Row]]:
    """The rows of a JSON-lines file as they are, with the numbers of their lines.

    Reads no further than it is asked, and never more than MAX_LINE bytes at once. DataError, with file and line, for
    what is no row, and where more than `max_bytes` (unpacked) have been read.
    """
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
    opener = openers.get(path.suffix, open)
    number = size = 0
    try:
        with opener(path, "rb") as lines:
            while line := lines.readline(MAX_LINE + 1):
                number, size = number + 1, size + len(line)
                if max_bytes is not None and size > max_bytes:
                    raise DataError(too_large(path, max_bytes))
                if line.strip():
                    yield number, _row(line, f"{path}, line {number}")
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be read after line {number}: {error}. Check that it is whole.") from error


def too_large(path: Path, max_bytes: int) -> str:
    """What is told of a file that is larger than may be read as a whole."""
    return (
        f"{path} has more than {max_bytes // 10**6} MB, too much to measure in one run. Give --limit to read its first "
        "rows only, or a smaller file."
    )


def _row(line: bytes, where: str) -> Row:
    if len(line) > MAX_LINE:
        raise DataError(f"{where}: longer than {MAX_LINE // 10**6} MB. Put one JSON object on each line.")
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{where}: the file is UTF-16. Save it as UTF-8 (iconv -f UTF-16 -t UTF-8).")
    try:
        row = json.loads(line.rstrip(b"\r\n").decode("utf-8-sig"))
        if b"\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is JSON, and no text
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not UTF-8 ({error.reason} 0x{line[error.start]:02x} at byte {error.start + 1}). Save the file as "
            "UTF-8 (if it is Latin-1: iconv -f LATIN1 -t UTF-8)."
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg}, column {error.colno}). Correct or remove it.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be used ({error}). Correct or remove it.") from error
    if not isinstance(row, dict):
        raise DataError(f'{where}: a JSON object is needed, as {{"text": "..."}}.')
    return row


def sentiment_of(row: Row) -> str:
    """Return the label of a row of sentiment, which gives its number, or as `output` the label itself."""
    if "output" in row:
        return str(row["output"])
    return SENTIMENT_LABELS[int(row["label"])]
