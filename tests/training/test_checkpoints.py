import hashlib
from pathlib import Path

import pytest

from phi2demo.errors import SettingsError
from phi2demo.training.checkpoints import base_hashes, data_hashes, describe_flaw, make_output_folder


def test_another_error_is_named_as_it_is() -> None:
    assert describe_flaw(KeyError("tokens")) == "KeyError('tokens')"


def test_data_files_are_hashed_by_their_path_in_the_folder(tmp_path: Path) -> None:
    for name in ("b/x.train.jsonl", "a.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert data_hashes(tmp_path) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.jsonl", "b/x.train.jsonl")
    }


def test_weights_config_and_tokenizer_of_a_base_are_hashed(tiny_base: Path) -> None:
    assert base_hashes(tiny_base).keys() == {"config.json", "model.safetensors", "tokenizer.json"}


def test_an_output_folder_is_made_with_its_parents_and_stays_empty(tmp_path: Path) -> None:
    for _ in range(2):
        make_output_folder(tmp_path / "runs" / "base")
    assert list((tmp_path / "runs" / "base").iterdir()) == []


def test_an_output_that_cannot_be_written_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "base", Path("/proc/base"), tmp_path / ("long" * 99)):
        with pytest.raises(SettingsError, match=r"^--output .* is no folder that can be written into \(.+\)\. Give"):
            make_output_folder(folder)
