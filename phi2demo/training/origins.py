"""What a run is made of, by the hashes of its files: a run that goes on must be made of the same."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from phi2demo.engine.sources import find_base
from phi2demo.training.corpus import FILE_NAME


def data_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every data file below a folder, by its path there."""
    return _hashes(folder, (path for path in folder.rglob("*.jsonl*") if FILE_NAME.fullmatch(path.name)))


def base_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of a base's weights, config and tokenizer."""
    weights = find_base(str(folder), revision=None, token=None).files
    return _hashes(folder, (folder / name for name in (*weights, "config.json", "tokenizer.json")))


def _hashes(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): _sha256_of(path) for path in sorted(paths) if path.is_file()}


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
