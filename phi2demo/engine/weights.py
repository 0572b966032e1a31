"""Names, shapes and integrity of weight files, read from their safetensors headers. Loads no weights."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo.errors import ModelError, quoted

BASE_WEIGHTS = "model.safetensors"
BASE_INDEX = "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor by its name."""

_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}
_LONGEST_HEADER = 100_000_000
"""The limit of the safetensors library itself."""
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int


def base_weight_files(folder: Path, present: set[str], *, name: str) -> tuple[str, ...]:
    """Return the names of a base's weight files among `present`, the files in `folder` or on the hub.

    The index of a sharded base must be in `folder`. Raises ModelError where there are no weights, or a shard is missing.
    """
    if BASE_WEIGHTS in present:
        return (BASE_WEIGHTS,)
    if BASE_INDEX not in present:
        raise ModelError(_no_weights(name, BASE_WEIGHTS, present))
    index = read_json(folder / BASE_INDEX, name=name)
    table = index.get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()) or not table:
        raise ModelError(f"{BASE_INDEX} of {name} names no weight files; download it again.")
    shards = tuple(sorted(set(table.values())))
    outside = [shard for shard in shards if "/" in shard or "\\" in shard or not shard.endswith(".safetensors")]
    if outside:
        raise ModelError(
            f"{BASE_INDEX} of {name} names {quoted(outside[0])}; only safetensors files beside it are read."
        )
    missing = [shard for shard in shards if shard not in present]
    if missing:
        raise ModelError(
            f"{name} lacks {len(missing)} of its {len(shards)} weight files: {_first_three(missing)}. Download them again."
        )
    return shards


def adapter_weight_files(present: set[str], *, name: str) -> tuple[str, ...]:
    """Return the name of an adapter's weight file, as a tuple of one. Raises ModelError where it is missing."""
    if ADAPTER_WEIGHTS not in present:
        raise ModelError(_no_weights(name, ADAPTER_WEIGHTS, present))
    return (ADAPTER_WEIGHTS,)


def read_shapes(folder: Path, files: tuple[str, ...]) -> Shapes:
    """Read the shapes of all tensors in `files`. Raises ModelError where a file is damaged or cut short."""
    shapes: Shapes = {}
    for file in files:
        shapes.update({name: tensor.shape for name, tensor in _read_header(folder / file).items()})
    return shapes


def fingerprint(folder: Path, files: tuple[str, ...]) -> str:
    """Return the first 12 hex digits of the SHA-256 over the bytes of `files`, sorted by name."""
    digest = hashlib.sha256()
    for file in sorted(files):
        with (folder / file).open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()[:12]


def read_json(path: Path, *, name: str) -> dict[str, Any]:
    """Read a JSON object from the folder of `name`, a base or adapter. Raises ModelError where it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # the last one for thousands of nested brackets
        raise ModelError(f"{path.name} of {name} cannot be read ({error}); restore or download it again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} of {name} holds no JSON object; restore or download it again.")
    return value


def count(shapes: Shapes) -> int:
    """Count the numbers in all tensors."""
    return sum(math.prod(shape) for shape in shapes.values())


def _read_header(path: Path) -> dict[str, _Tensor]:
    """Read the header of a safetensors file and check that its tensors fill the file without gaps."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if start == b"version ":
            raise ModelError(f"{path.name} is a Git LFS pointer, not the weights; run `git lfs pull`.")
        if len(start) < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise _damaged(path, f"its header should have {length:,} bytes, but the file has {size:,}")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(entry) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"its header is not that of a safetensors file: {error!r}") from error
    _check_layout(path, tensors, data_bytes=size - 8 - length)
    return tensors


def _tensor(entry: dict[str, Any]) -> _Tensor:
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if not all(type(value) is int and value >= 0 for value in (*shape, begin, end)):
        raise ValueError(f"bad tensor {entry}")
    return _Tensor(shape, str(entry["dtype"]), begin, end)


def _check_layout(path: Path, tensors: dict[str, _Tensor], *, data_bytes: int) -> None:
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        width = _BYTES.get(tensor.dtype)
        if tensor.begin != position or (width and tensor.end - tensor.begin != width * math.prod(tensor.shape)):
            raise _damaged(path, f"the bytes of {name} do not match its shape")
        position = tensor.end
    if position != data_bytes:
        raise _damaged(path, f"its tensors should take {position:,} bytes, but the file has {data_bytes:,}")


def _damaged(path: Path, fault: str) -> ModelError:
    return ModelError(f"{path.name} is damaged or cut short: {fault}. Copy or download it again.")


def _no_weights(name: str, file_name: str, present: set[str]) -> str:
    pickled = sorted(file for file in present if file.endswith(_PICKLED) and file != "training_args.bin")
    if pickled:
        return (
            f"{name} has its weights as {_first_three(pickled)} only. That is a pickle, which can run any code when read; "
            f"convert it to {file_name} (save_pretrained writes it) on a machine where you trust it."
        )
    return f"{name} has no weights: {file_name} is missing. Give another folder, or copy the file into it."


def _first_three(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
