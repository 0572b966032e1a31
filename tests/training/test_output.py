from pathlib import Path

import pytest

from phi2demo.errors import SettingsError
from phi2demo.training.output import make_output


def test_a_folder_is_made_with_those_above_it_and_stays_empty(tmp_path: Path) -> None:
    for _ in range(2):
        make_output(tmp_path / "runs" / "base")
    assert list((tmp_path / "runs" / "base").iterdir()) == []


def test_what_cannot_be_written_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "base", Path("/proc/base"), tmp_path / ("long" * 99)):
        with pytest.raises(SettingsError, match=r"^--output .* is no folder that can be written into \(.+\)\. Give"):
            make_output(folder)
