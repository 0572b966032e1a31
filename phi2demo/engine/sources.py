"""Find the files of a base or an adapter from a folder or a hub id. Knows nothing of the weights in them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.engine.weights import adapter_weight_files, base_weight_files
from phi2demo.errors import ModelError, quoted

if TYPE_CHECKING:
    from phi2demo.engine.hub import Snapshot

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_ROOT = Path(__file__).resolve().parents[2]
"""Root of the repository, to which folders named in the shipped files are relative."""


@dataclass(frozen=True)
class Source:
    """The files of a base or an adapter."""

    name: str
    """Hub id, or name of a folder; for a shipped folder its path from the root of the repository."""
    folder: Path
    """The folder; for a hub id its snapshot in the hub cache, which may still lack the weights."""
    files: tuple[str, ...]
    """Names of the files with the weights."""
    snapshot: "Snapshot | None" = None
    """Snapshot of the hub repository; None for a folder."""

    @property
    def revision(self) -> str | None:
        """Return the commit on the hub; None for a folder."""
        return self.snapshot.commit if self.snapshot else None

    @property
    def missing_bytes(self) -> int:
        """Return the size of the weights that are still to be downloaded."""
        return sum(self.snapshot.sizes.get(file, 0) for file in self.files) if self.snapshot else 0

    @property
    def is_downloaded(self) -> bool:
        """Return whether the weights are on this machine."""
        return all((self.folder / file).is_file() for file in self.files)


def find_base(address: str, *, revision: str | None, token: str | None, adapter: str | None = None) -> Source:
    """Find the base at `address`, a folder or hub id; `adapter` is the adapter that names it, for error messages.

    Raises ModelError where there is no such base, or it has no config or no weights in safetensors.
    """
    folder = _as_folder(address, "--model", adapter)
    if folder is None:
        return _base_on_hub(address, revision=revision, token=token, adapter=adapter)
    files = _file_names(folder)
    if "adapter_config.json" in files:
        raise ModelError(
            f"{address} is an adapter, not a base: give it with --adapter."
            if "config.json" not in files
            else f"{address} holds a base and an adapter: move adapter_config.json and its weights to another folder."
        )
    if "config.json" not in files:
        raise ModelError(
            f"{address} has no config.json, so it is no model; give the folder that save_pretrained wrote."
        )
    return Source(_display_name(folder), folder, base_weight_files(folder, files, name=address))


def find_adapter(address: str, *, revision: str | None, token: str | None) -> Source:
    """Find the adapter at `address`. Raises ModelError as above."""
    folder = _as_folder(address, "--adapter", None)
    if folder is None:
        return _adapter_on_hub(address, revision=revision, token=token)
    files = _file_names(folder)
    if "adapter_config.json" not in files:
        raise ModelError(_not_an_adapter(address, files))
    return Source(_display_name(folder), folder, adapter_weight_files(files, name=address))


def resolve_base(adapter: Source, base: str) -> str:
    """Return the address of the base that an adapter names as `base`, for `find_base`.

    A relative folder is looked for in the adapter's folder, in its parents, in the current directory and in the
    repository. Raises ModelError where an absolute one does not exist.
    """
    path = Path(base)
    if path.is_absolute():
        if path.is_dir():
            return base
        raise ModelError(
            f"Adapter {adapter.name} was made on a folder {quoted(path.name)} that is not on this machine; "
            "give its base with --model."
        )
    parents = (adapter.folder, *adapter.folder.resolve().parents, Path.cwd(), _ROOT)
    folder = next((parent / path for parent in parents if (parent / path / "config.json").is_file()), None)
    return str(folder) if folder else base


def _as_folder(address: str, option: str, adapter: str | None) -> Path | None:
    """Return the folder, or None where `address` can only be a hub id. Raises ModelError where it can be neither."""
    try:
        folder = Path(address).expanduser()
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError):  # too long for a path, or the home of an unknown user
        is_folder = is_file = False
    if is_folder:
        return folder
    origin = f" (the base that {adapter} names)" if adapter else ""
    if is_file:
        raise ModelError(f"{option} {address}{origin} is a file; give the folder that it is in.")
    if not _HUB_ID.fullmatch(address) or "--" in address or ".." in address or address.endswith(".git"):
        raise ModelError(
            f"{option} {address}{origin} is neither a folder on this machine nor a hub id such as microsoft/phi-2; "
            "check the path."
        )
    return None


def _base_on_hub(address: str, *, revision: str | None, token: str | None, adapter: str | None) -> Source:
    from phi2demo.engine import hub

    hint = f"The adapter {adapter} names it as its base; another can be given with --model." if adapter else ""
    snapshot = hub.fetch(address, revision=revision, token=token, hint=hint)
    name = _name_with_state(address, snapshot)
    if "config.json" not in snapshot.files:
        is_adapter = "adapter_config.json" in snapshot.files
        advice = ": it is an adapter, give it with --adapter" if is_adapter else "; check the id"
        raise ModelError(f"{name} has no config.json, so it is no model{advice}.")
    files = base_weight_files(snapshot.folder, snapshot.files, name=name)
    return Source(address, snapshot.folder, files, snapshot)


def _adapter_on_hub(address: str, *, revision: str | None, token: str | None) -> Source:
    from phi2demo.engine import hub

    snapshot = hub.fetch(address, revision=revision, token=token, hint="")
    if "adapter_config.json" not in snapshot.files:
        raise ModelError(_not_an_adapter(address, snapshot.files))
    files = adapter_weight_files(snapshot.files, name=_name_with_state(address, snapshot))
    return Source(address, snapshot.folder, files, snapshot)


def _display_name(folder: Path) -> str:
    """Return the name of a folder without its parents, since the page and the receipts show it to everyone."""
    path = folder.resolve()
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT / "assets") else path.name


def _name_with_state(address: str, snapshot: "Snapshot") -> str:
    return f"{address} (from the cache, since the hub is not reached)" if snapshot.offline else address


def _not_an_adapter(address: str, files: set[str]) -> str:
    if "config.json" in files:
        return f"{address} is a base model, not an adapter (no adapter_config.json): give it with --model."
    return (
        f"{address} has no adapter_config.json, so it is no PEFT adapter; give the folder that save_pretrained wrote."
    )


def _file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}
