import hashlib
from pathlib import Path

from phi2demo.training.origins import base_hashes, data_hashes


def test_data_files_are_told_by_their_place_below_the_folder(tmp_path: Path) -> None:
    for name in ("b/x.train.jsonl", "a.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert data_hashes(tmp_path) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.jsonl", "b/x.train.jsonl")
    }


def test_a_base_is_told_by_what_it_computes_with(tiny_base: Path) -> None:
    assert base_hashes(tiny_base).keys() == {"config.json", "model.safetensors", "tokenizer.json"}
