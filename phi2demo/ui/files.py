"""Uploaded files as plain text. Knows nothing of the page."""

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from phi2demo.data.checks import MAX_CHARACTERS, check_text
from phi2demo.errors import InputError

SUFFIXES = (".txt", ".md", ".pdf", ".docx")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".txt")
MAX_BYTES = 10 * 1024 * 1024
MAX_UNPACKED_BYTES = 20 * MAX_BYTES
"""A .docx is a zip archive: more than this inside is a trap, not a text."""

_MARKS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "an image or a sound",
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\x7fELF": "a program",
    b"\x1f\x8b": "a gzip archive",
}
"""First bytes of files that people rename."""

_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_document(path: str | Path) -> str:
    """Read the text of a .txt, .md, .pdf or .docx file; InputError where it has none that can be read."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path.name} is not one of {', '.join(SUFFIXES)}. Save the text in one of these.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"{path.name} has {size / 2**20:.1f} MB; at most {MAX_BYTES // 2**20} MB are read. Paste the part you need."
        )
    if size == 0:
        raise InputError(f"{path.name} is empty. Choose a file with some words in it.")
    read = {".pdf": _read_pdf, ".docx": _read_docx}.get(suffix, _read_plain)
    return check_text(read(path), what=f"file {path.name}").strip("\n")


def read_table(path: str | Path, *, max_bytes: int) -> str:
    """Read the text of a .csv, .tsv, .jsonl, .json or .txt file; InputError where it is another kind or too large."""
    path = Path(path)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise InputError(f"{path.name} is not one of {', '.join(TABLE_SUFFIXES)}. Save the table in one of these.")
    size = path.stat().st_size
    if size > max_bytes:
        raise InputError(
            f"{path.name} has {size / 2**20:.1f} MB; at most {max_bytes / 2**20:.0f} MB are read. Give fewer rows."
        )
    return check_text(_read_plain(path), what=f"file {path.name}").removeprefix("\ufeff")


def _read_plain(path: Path) -> str:
    data = path.read_bytes()
    for mark, kind in _MARKS.items():
        if data.startswith(mark):
            raise InputError(f"{path.name} is named as a text but holds {kind}. Choose a file with plain text.")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} is not in {encoding.removesuffix('-sig').upper()} (byte {error.start + 1:,} does not belong "
            "there). Save it as UTF-8 and try again."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_pdf(path: Path) -> str:
    from pypdf import PdfReader

    with path.open("rb") as stream:
        if b"%PDF-" not in stream.read(1024):
            raise InputError(f"{path.name} is not a PDF, whatever its name says. Choose another file.")
        try:
            reader = PdfReader(stream)
            if reader.is_encrypted and not reader.decrypt(""):
                raise InputError(f"{path.name} is protected by a password. Save a copy without one and try again.")
            pages = _bounded((unwrap(page.extract_text()) for page in reader.pages), path.name)
            text = "\n\n".join(page for page in pages if page.strip())
        except InputError:
            raise
        except Exception as error:  # pypdf raises whatever a damaged file makes its code run into
            raise InputError(
                f"{path.name} is a damaged PDF ({type(error).__name__}). Save it again from its program, or paste its text."
            ) from error
    if not text.strip():
        raise InputError(
            f"{path.name} holds pictures of text, not text: it was probably scanned. "
            "Run it through text recognition (OCR) first."
        )
    return text


def _bounded(texts: Iterable[str], name: str) -> Iterator[str]:
    """Yield the texts; InputError once they are longer than what can be read."""
    length = 0
    for text in texts:
        length += len(text)
        if length > MAX_CHARACTERS:
            raise InputError(f"{name} has more than {MAX_CHARACTERS:,} characters. Paste the part you need.")
        yield text


def unwrap(text: str) -> str:
    """Join the lines of a printed page to paragraphs: a line that nearly fills the page continues in the next."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    full = 0.7 * max((len(line) for line in lines), default=0)
    joined = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        if len(line) < full or not following:
            joined += line + "\n"
        elif re.search(r"[^\W\d_]-$", line) and following[0].islower():
            joined += line[:-1]
        else:
            joined += line + " "
    return joined.rstrip("\n")


def _read_docx(path: Path) -> str:
    from docx import Document

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise InputError(f"{path.name} unpacks to {unpacked / 2**20:,.0f} MB. Paste the part you need.")
        text = "".join(_bounded(_parts(Document(str(path))), path.name))
    except InputError:
        raise
    except Exception as error:  # python-docx raises whatever a damaged file makes its code run into
        raise InputError(
            f"{path.name} is not a Word document (.docx) that can be read. Save it again, or paste its text."
        ) from error
    return text


def _parts(document: Any) -> Iterator[str]:
    """Yield paragraphs and cells. A merged cell is read once: `row.cells` repeats it for every column that it spans."""
    from docx.table import Table, _Cell

    for block in document.iter_inner_content():
        if not isinstance(block, Table):
            yield f"{block.text}\n"
            continue
        for row in block.rows:
            for column, cell in enumerate(row._tr.tc_lst):
                yield ("\t" if column else "") + _Cell(cell, block).text
            yield "\n"
