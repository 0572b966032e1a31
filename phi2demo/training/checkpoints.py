"""Checkpoints of a training run, and what must be the same for a run to continue from one. Knows no data and no loss.

A checkpoint is a folder of safetensors and JSON with weights, optimizer state and progress, replaced atomically.
"""

import json
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from phi2demo.data.checks import first_problem
from phi2demo.data.corpus import FILE_NAME
from phi2demo.data.files import sha256_of
from phi2demo.engine.sources import find_base
from phi2demo.errors import DataError, SettingsError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

CHECKPOINTS_KEPT = 2
FREE_TO_CHANGE = ("checkpoint_minutes", "log_every", "validate_every", "part_tokens", "compile", "workers")
"""Settings that a resumed run may change: they do not change what is computed, except for rounding."""
ADDED_KEYS = ("data_files",)
"""Parts of the identity that checkpoints of earlier versions lack."""
OPTION_OF_KEY = {"data_files": "data", "vocab_size": "preset"}
"""The option that sets a part of the identity, where its name is another one."""


@dataclass
class TrainingState:
    """Progress of a run, over all times that it was resumed."""

    step: int = 0
    tokens: int = 0
    """Without padding."""
    elapsed_s: float = 0.0
    """Time in the loop: includes validation and checkpoints, but not loading."""
    lowest_loss: float | None = None
    """Lowest validation loss so far; None before the first validation, and without early stopping."""
    lowest_step: int = 0
    """Step of the lowest validation loss."""
    unmeasured: bool = False
    """Whether the validation that is due at this step is still to be done."""
    pending_losses: list[float] = field(default_factory=list)
    """Losses of the steps since the last line of the log."""


@dataclass(frozen=True)
class _SavedState:
    """Content of a checkpoint's `state.json`."""

    progress: TrainingState
    identity: dict[str, Any]
    scaler: dict[str, Any] | None
    """State of the loss scaling of fp16."""


class Checkpoints:
    """Saves and restores the trained parameters of `model` with their optimizer, which must be on their device."""

    def __init__(
        self, folder: Path, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer", accelerator: "Accelerator"
    ) -> None:
        self._folder, self._model, self._optimizer, self._accelerator = folder, model, optimizer, accelerator
        self._identity: dict[str, Any] = {}

    def resume(self, identity: dict[str, Any]) -> TrainingState:
        """Load the newest checkpoint, if there is one.

        Raises SettingsError if it was made with another `identity`, DataError if its files are damaged.
        """
        from safetensors import SafetensorError

        self._identity = json.loads(json.dumps(identity))
        newest = max(self._folder.glob("step-*"), default=None)
        if newest is None:
            return TrainingState()
        try:
            return self._load(newest)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise DataError(
                f"The checkpoint {newest} cannot be read ({describe_flaw(error)}). "
                "Remove that folder to continue from the checkpoint before it, or from the start."
            ) from error

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint and remove all but the newest ones."""
        self._accelerator.wait_for_everyone()
        if not self._accelerator.is_main_process:
            return
        from safetensors.torch import save_file

        part = self._folder / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file(self._weights(), part / "model.safetensors")
        save_file(self._optimizer_tensors(), part / "optimizer.safetensors")
        scaler = self._accelerator.scaler
        saved = _SavedState(state, self._identity, scaler.state_dict() if scaler is not None else None)
        (part / "state.json").write_text(json.dumps(asdict(saved), indent=1), encoding="utf-8")
        final = self._folder / f"step-{state.step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
        for old in sorted(self._folder.glob("step-*"))[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old)

    def save_lowest(self) -> None:
        """Keep the current weights as those of the lowest validation loss."""
        from safetensors.torch import save_file

        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / "lowest.part"
            save_file(self._weights(), part)
            part.replace(self._folder / "lowest.safetensors")

    def load_lowest(self) -> None:
        """Restore the weights that `save_lowest` kept last."""
        from safetensors.torch import load_file

        self._accelerator.wait_for_everyone()
        self._restore_weights(load_file(self._folder / "lowest.safetensors"))

    def _load(self, folder: Path) -> TrainingState:
        from safetensors.torch import load_file

        saved = TypeAdapter(_SavedState).validate_json((folder / "state.json").read_bytes())
        missing = tuple(key for key in ADDED_KEYS if key not in saved.identity)
        check_same(folder, saved.identity, self._identity, ignore=(*FREE_TO_CHANGE, *missing))
        self._restore_weights(load_file(folder / "model.safetensors"))
        self._restore_optimizer(load_file(folder / "optimizer.safetensors"))
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(saved.scaler)
        return saved.progress

    def _trained(self) -> dict[str, "torch.nn.Parameter"]:
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    def _weights(self) -> dict[str, "torch.Tensor"]:
        return {name: parameter.detach().cpu().contiguous() for name, parameter in self._trained().items()}

    def _restore_weights(self, weights: dict[str, "torch.Tensor"]) -> None:
        for name, parameter in self._trained().items():
            parameter.data.copy_(weights[name])

    def _optimizer_tensors(self) -> dict[str, "torch.Tensor"]:
        """Return the optimizer's state as `parameter/key`; empty in the rare case that fp16 has skipped every step."""
        names: dict[torch.Tensor, str] = {p: name for name, p in self._trained().items()}
        return {
            f"{names[p]}/{key}": value.detach().cpu().contiguous()
            for p, values in self._optimizer.state.items()
            for key, value in values.items()
        }

    def _restore_optimizer(self, tensors: dict[str, "torch.Tensor"]) -> None:
        trained = self._trained()
        for path, value in tensors.items():
            name, _, key = path.rpartition("/")
            self._optimizer.state[trained[name]][key] = value.to(trained[name].device)


def check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, ignore: Collection[str]) -> None:
    """Raise SettingsError if `folder` was made with other settings than those of now, except for those to ignore."""
    changed = {key for key in (*before, *now) if before.get(key) != now.get(key) and key not in ignore}
    if changed:
        options = sorted({f"--{OPTION_OF_KEY.get(key, key).replace('_', '-')}" for key in changed})
        raise SettingsError(
            f"{folder} was made with other settings ({', '.join(options)}). "
            "Repeat the command that made it to continue, or give another --output folder to start anew."
        )


def describe_flaw(error: Exception) -> str:
    """Describe in one line why a file cannot be read: its first wrong field, or the error itself."""
    return first_problem(error) if isinstance(error, ValidationError) else repr(error)


def make_output_folder(folder: Path) -> None:
    """Make the folder if it does not exist; SettingsError if nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"--output {folder} is no folder that can be written into ({error.strerror or error}). Give another one."
        ) from error


def data_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every data file below a folder, by its path in the folder."""
    return _hashes(folder, (path for path in folder.rglob("*.jsonl*") if FILE_NAME.fullmatch(path.name)))


def base_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a base's weights, config and tokenizer, by file name."""
    weights = find_base(str(folder), revision=None, token=None).files
    return _hashes(folder, (folder / name for name in (*weights, "config.json", "tokenizer.json")))


def _hashes(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(paths) if path.is_file()}
