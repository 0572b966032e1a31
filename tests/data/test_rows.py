""""""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data import rows
from phi2demo.data.rows import read_rows
from phi2demo.errors import DataError


@pytest.mark.parametrize(("suffix", "opener"), [("", open), (".gz", gzip.open), (".xz", lzma.open)])
def test_plain_and_compressed_files(tmp_path: Path, suffix: str, opener: Callable[..., Any]) -> None:
    path = tmp_path / f"a.train.jsonl{suffix}"
    with opener(path, "wt", encoding="utf-8") as file:
        file.write('{"text": "Packed."}\n\n{"text": "Café."}\n')
    assert list(read_rows(path)) == [(1, {"text": "Packed."}), (3, {"text": "Café."})]


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.train.jsonl"
    path.write_text('{"text": "Marked."}\n', encoding="utf-8-sig")
    assert list(read_rows(path)) == [(1, {"text": "Marked."})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.train.jsonl", b'{"text": "ok"}\n{"text": \n', r"a\.train\.jsonl, line 2: not JSON .* Correct or remove it"),
        ("a.train.jsonl", b'{"text": "ok"}\n["no object"]\n', "line 2: a JSON object is needed"),
        ("a.train.jsonl", b'{"text": "caf\xe9"}\n', "line 1: not UTF-8 .* Save the file as UTF-8"),
        ("a.train.jsonl", '{"text": "ok"}\n'.encode("utf-16"), "line 1: the file is UTF-16. Save it as UTF-8"),
        ("a.train.jsonl.gz", gzip.compress(b'{"text": "ok"}\n', mtime=0)[:-9], "cannot be read after line"),
        ("a.train.jsonl.gz", b"not compressed", "cannot be read after line 0"),
        ("a.train.jsonl.xz", lzma.compress(b'{"text": "ok"}\n' * 99)[:-20], "cannot be read after line"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(path))


def test_no_further_is_read_than_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.train.jsonl"
    path.write_bytes(b'{"text": "ok"}\n' * 2 + b"no JSON\n")
    assert next(read_rows(path)) == (1, {"text": "ok"})
    with pytest.raises(DataError, match=r"a\.train\.jsonl has more than 0 MB"):
        list(read_rows(path, max_bytes=20))
    monkeypatch.setattr(rows, "MAX_LINE", 10)
    with pytest.raises(DataError, match=r"line 1: longer than 0 MB. Put one JSON object on each line"):
        next(read_rows(path))
