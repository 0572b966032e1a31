"""From what a person gave, a folder or a hub id, to the files. Knows nothing of what the numbers in them mean."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.engine.weights import adapter_weight_files, base_weight_files
from phi2demo.errors import ModelError

if TYPE_CHECKING:
    from phi2demo.engine.hub import Snapshot

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_ROOT = Path(__file__).resolve().parents[2]
"""Of the repository: what relative folders in the shipped files start from."""


@dataclass(frozen=True)
class Source:
    """The files of a base or an adapter."""

    name: str
    """Hub id; for a folder its name, or its path from the repository's root where it is shipped with it."""
    folder: Path
    """For a hub id, its snapshot in the hub cache."""
    files: tuple[str, ...]
    """Those that hold the weights."""
    snapshot: "Snapshot | None" = None
    """On the hub; None for a folder."""

    @property
    def revision(self) -> str | None:
        """The commit on the hub; None for a folder."""
        return self.snapshot.commit if self.snapshot else None

    @property
    def missing_bytes(self) -> int:
        """Of weights still to be downloaded."""
        return sum(self.snapshot.sizes.get(file, 0) for file in self.files) if self.snapshot else 0


def find_base(given: str, *, revision: str | None, token: str | None, adapter: str | None = None) -> Source:
    """The base that `given` names; `adapter` is the one that named it, for the message.

    Raises ModelError where there is no such base, or it has no config or no weights in safetensors.
    """
    folder = _as_folder(given, "--model", adapter)
    if folder is None:
        return _base_on_hub(given, revision=revision, token=token, adapter=adapter)
    present = _files(folder)
    if "adapter_config.json" in present:
        raise ModelError(
            f"{given} is an adapter, not a base: give it with --adapter."
            if "config.json" not in present
            else f"{given} holds a base and an adapter: move adapter_config.json and its weights to another folder."
        )
    if "config.json" not in present:
        raise ModelError(f"{given} has no config.json, so it is no model; give the folder that save_pretrained wrote.")
    return Source(_shown_folder(folder), folder, base_weight_files(folder, present, name=given))


def find_adapter(given: str, *, revision: str | None, token: str | None, option: str = "--adapter") -> Source:
    """The adapter that `given` names; `option` is where, for the message. Raises ModelError as `find_base` does."""
    folder = _as_folder(given, option, None)
    if folder is None:
        return _adapter_on_hub(given, revision=revision, token=token)
    present = _files(folder)
    if "adapter_config.json" not in present:
        raise ModelError(_no_adapter(given, present))
    return Source(_shown_folder(folder), folder, adapter_weight_files(present, name=given))


def base_of(adapter: Source, named: str) -> str:
    """The base that an adapter names, as a string for `find_base`: a relative folder is looked for around the adapter.

    That is, in the adapter's folder, in the folders above it, in the current directory and in the repository.
    """
    path = Path(named)
    if path.is_absolute():
        if path.is_dir():
            return named
        raise ModelError(
            f"Adapter {adapter.name} was made on a folder {path.name!r} that is not on this machine; "
            "give its base with --model."
        )
    places = (adapter.folder, *adapter.folder.resolve().parents, Path.cwd(), _ROOT)
    found = next((place / path for place in places if (place / path / "config.json").is_file()), None)
    return str(found) if found else named


def _as_folder(given: str, option: str, adapter: str | None) -> Path | None:
    """The folder, or None where `given` can only be a hub id. Raises ModelError where it can be neither."""
    try:
        folder = Path(given).expanduser()
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError):  # too long for a path, or the home of nobody
        is_folder = is_file = False
    if is_folder:
        return folder
    of = f" (the base that {adapter} names)" if adapter else ""
    if is_file:
        raise ModelError(f"{option} {given}{of} is a file; give the folder that it is in.")
    if not _HUB_ID.fullmatch(given) or "--" in given or ".." in given or given.endswith(".git"):
        raise ModelError(
            f"{option} {given}{of} is no folder here and cannot be a hub id, which looks like microsoft/phi-2; "
            "check the path."
        )
    return None


def _base_on_hub(given: str, *, revision: str | None, token: str | None, adapter: str | None) -> Source:
    from phi2demo.engine import hub

    hint = f"The adapter {adapter} names it as its base; another can be given with --model." if adapter else ""
    snapshot = hub.fetch(given, revision=revision, token=token, hint=hint)
    name = _shown(given, snapshot)
    if "config.json" not in snapshot.files:
        what = ": it is an adapter, give it with --adapter" if "adapter_config.json" in snapshot.files else ""
        raise ModelError(f"{name} has no config.json, so it is no model{what or '; check the id'}.")
    files = base_weight_files(snapshot.folder, snapshot.files, name=name)
    return Source(given, snapshot.folder, files, snapshot)


def _adapter_on_hub(given: str, *, revision: str | None, token: str | None) -> Source:
    from phi2demo.engine import hub

    snapshot = hub.fetch(given, revision=revision, token=token, hint="")
    if "adapter_config.json" not in snapshot.files:
        raise ModelError(_no_adapter(given, snapshot.files))
    files = adapter_weight_files(snapshot.files, name=_shown(given, snapshot))
    return Source(given, snapshot.folder, files, snapshot)


def _shown_folder(folder: Path) -> str:
    """Not the whole path: the page and the receipts show it to everyone."""
    whole = folder.resolve()
    return whole.relative_to(_ROOT).as_posix() if whole.is_relative_to(_ROOT / "assets") else whole.name


def _shown(given: str, snapshot: "Snapshot") -> str:
    return f"{given} (as cached: the hub is not reached)" if snapshot.offline else given


def _no_adapter(given: str, present: set[str]) -> str:
    if "config.json" in present:
        return f"{given} is a base model, not an adapter (no adapter_config.json): give it with --model."
    return f"{given} has no adapter_config.json, so it is no PEFT adapter; give the folder that save_pretrained wrote."


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}
