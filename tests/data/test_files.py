"""Files are replaced as a whole, and texts of a CSV file are no formulas."""

from pathlib import Path

import pytest

from phi2demo.data.files import csv_text, write_atomically


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "report.json"
    for text in ("one", "zwei ä\n"):
        write_atomically(path, text)
        assert path.read_bytes() == text.encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["=1+1", " =1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\tword", "\rword"])
def test_a_formula_is_written_as_text(text: str) -> None:
    assert csv_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", " ", "word", "1-1", "a=b"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert csv_text(text) == text
