import hashlib
import json
import struct
from pathlib import Path

import pytest

from phi2demo.engine.weights import adapter_weight_files, base_weight_files, fingerprint, read_json, read_shapes
from phi2demo.errors import ModelError


def write(path: Path, header: object, data: bytes) -> Path:
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_shapes_are_those_that_torch_sees(tiny_base: Path) -> None:
    from safetensors.torch import load_file

    seen = {name: tuple(tensor.shape) for name, tensor in load_file(tiny_base / "model.safetensors").items()}
    assert read_shapes(tiny_base, ("model.safetensors",)) == seen


def test_scalars_and_metadata_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a", {"__metadata__": {"format": "pt"}, "x": entry([], 0, 4), "y": entry([0], 4, 4)}, bytes(4))
    assert read_shapes(tmp_path, ("a",)) == {"x": (), "y": (0,)}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"x": entry([2], 0, 8)}, bytes(7)),  # cut short
        ({"x": entry([2], 0, 8)}, bytes(9)),  # too long
        ({"x": entry([3], 0, 8)}, bytes(8)),  # shape and bytes disagree
        ({"x": entry([2], 4, 12)}, bytes(12)),  # a hole
        ({"x": entry([2], 0, 8), "y": entry([2], 4, 12)}, bytes(12)),  # overlap
        ({"x": entry([-2], 0, 8)}, bytes(8)),
        ({"x": {"shape": [2]}}, bytes(8)),
        ({"x": 5}, bytes(8)),
        ([1, 2], b""),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, header: object, data: bytes) -> None:
    write(tmp_path / "model.safetensors", header, data)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged or cut short.*download it again"):
        read_shapes(tmp_path, ("model.safetensors",))


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 8, struct.pack("<Q", 5) + b"nojso" + b"x" * 20])
def test_a_file_in_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="damaged or cut short"):
        read_shapes(tmp_path, ("model.safetensors",))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_truncated_copy_is_refused(base: Path, kept: float) -> None:
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * kept)])
    with pytest.raises(ModelError, match="damaged or cut short"):
        read_shapes(base, ("model.safetensors",))


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ModelError, match="git lfs pull"):
        read_shapes(tmp_path, ("model.safetensors",))


def index(folder: Path, *files: str) -> None:
    table = {f"tensor.{number}": file for number, file in enumerate(files)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def test_shards_are_found_through_the_index(tmp_path: Path) -> None:
    index(tmp_path, "b.safetensors", "a.safetensors", "b.safetensors")
    present = {"model.safetensors.index.json", "a.safetensors", "b.safetensors"}
    assert base_weight_files(tmp_path, present, name="m") == ("a.safetensors", "b.safetensors")


def test_missing_shards_are_named(tmp_path: Path) -> None:
    index(tmp_path, "a.safetensors", "b.safetensors")
    with pytest.raises(ModelError, match=r"m lacks 1 of its 2 weight files: b\.safetensors"):
        base_weight_files(tmp_path, {"model.safetensors.index.json", "a.safetensors"}, name="m")


@pytest.mark.parametrize("file", ["../a.safetensors", "sub/a.safetensors", "a.bin"])
def test_an_index_cannot_point_elsewhere(tmp_path: Path, file: str) -> None:
    index(tmp_path, file)
    with pytest.raises(ModelError, match="only safetensors files beside it"):
        base_weight_files(tmp_path, {"model.safetensors.index.json", file}, name="m")


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": [1]}', '{"weight_map": {"a": 1}}'])
def test_an_empty_index_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match="names no weight files"):
        base_weight_files(tmp_path, {"model.safetensors.index.json"}, name="m")


def test_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pytorch_model\.bin only.*pickle.*convert it to model\.safetensors"):
        base_weight_files(tmp_path, {"pytorch_model.bin", "config.json"}, name="m")
    with pytest.raises(ModelError, match=r"adapter_model\.bin only.*convert it to adapter_model\.safetensors"):
        adapter_weight_files({"adapter_model.bin", "training_args.bin"}, name="a")


def test_absent_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m has no weights: model\.safetensors is missing"):
        base_weight_files(tmp_path, {"config.json", "training_args.bin"}, name="m")
    with pytest.raises(ModelError, match=r"a has no weights: adapter_model\.safetensors is missing"):
        adapter_weight_files({"adapter_config.json"}, name="a")


def test_the_fingerprint_is_the_hash_of_the_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")
    assert fingerprint(tmp_path, ("b", "a")) == hashlib.sha256(b"onetwo").hexdigest()[:12]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
def test_json_other_than_an_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json of m"):
        read_json(tmp_path / "config.json", name="m")
