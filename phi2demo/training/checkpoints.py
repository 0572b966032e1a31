"""Checkpoints of a training run: weights, optimizer state and progress, in safetensors and JSON, replaced atomically."""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi2demo.errors import DataError, SettingsError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

KEPT = 2
FREE_TO_CHANGE = ("checkpoint_minutes", "log_every", "validate_every", "part_tokens", "compile", "workers")
"""Settings that a resumed run may change: they do not change what is computed, save for rounding."""

NOTED_SINCE = ("data_files",)
"""What checkpoints of earlier versions do not tell."""
OPTIONS = {"data_files": "data", "vocab_size": "preset"}
"""That set what is noted under another name."""


def check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, but: Collection[str]) -> None:
    """SettingsError where `folder` was made with other settings than those of now, `but` some."""
    changed = {key for key in (*before, *now) if before.get(key) != now.get(key) and key not in but}
    if changed:
        options = sorted({f"--{OPTIONS.get(key, key).replace('_', '-')}" for key in changed})
        raise SettingsError(
            f"{folder} was made with other settings ({', '.join(options)}). "
            "Repeat the command it was made with to go on, or give another --output folder to start anew."
        )


@dataclass
class TrainingState:
    """How far a run has come, over all its sittings."""

    step: int = 0
    tokens: int = 0
    """Without padding."""
    elapsed_s: float = 0.0
    """Spent in the loop: validation and checkpoints count, loading does not."""
    lowest_loss: float | None = None
    """On held-out examples so far; None where early stopping does not look at it."""
    lowest_step: int = 0
    """At which it was."""
    unmeasured: bool = False
    """Whether the measurement on held-out examples that is due at this step is still to be done."""
    pending_losses: list[float] = field(default_factory=list)
    """Of the steps since the last line of the log."""


class Checkpoints:
    """Save and resume the trained parameters of `model` with their optimizer, which must be on their device."""

    def __init__(
        self, folder: Path, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer", accelerator: "Accelerator"
    ) -> None:
        self._folder, self._model, self._optimizer, self._accelerator = folder, model, optimizer, accelerator
        self._identity: dict[str, Any] = {}

    def resume(self, identity: dict[str, Any]) -> TrainingState:
        """Load the newest checkpoint, if there is one; SettingsError where it was made with another `identity`.

        Raises DataError where its files are damaged.
        """
        from safetensors import SafetensorError

        self._identity = json.loads(json.dumps(identity))
        newest = self._newest()
        if newest is None:
            return TrainingState()
        try:
            return self._load(newest)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise DataError(
                f"The checkpoint {newest} cannot be read ({error!r}). "
                "Remove that folder to go on from the one before it, or from the start."
            ) from error

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint beside the older ones and drop all but the newest two."""
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
        saved = {
            "progress": asdict(state),
            "identity": self._identity,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        (part / "state.json").write_text(json.dumps(saved, indent=1), encoding="utf-8")
        final = self._folder / f"step-{state.step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
        for old in sorted(self._folder.glob("step-*"))[:-KEPT]:
            shutil.rmtree(old)

    def save_lowest(self) -> None:
        """Keep these weights as those of the lowest loss on held-out examples."""
        from safetensors.torch import save_file

        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / "lowest.part"
            save_file(self._weights(), part)
            part.replace(self._folder / "lowest.safetensors")

    def load_lowest(self) -> None:
        """Give the model the weights that `save_lowest` kept last."""
        from safetensors.torch import load_file

        self._accelerator.wait_for_everyone()
        self._restore_weights(load_file(self._folder / "lowest.safetensors"))

    def _load(self, folder: Path) -> TrainingState:
        from safetensors.torch import load_file

        saved = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        self._check(folder, saved["identity"])
        self._restore_weights(load_file(folder / "model.safetensors"))
        self._restore_optimizer(load_file(folder / "optimizer.safetensors"))
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(saved["scaler"])
        return TrainingState(**saved["progress"])

    def _check(self, folder: Path, before: dict[str, Any]) -> None:
        unknown = tuple(key for key in NOTED_SINCE if key not in before)
        check_same(folder, before, self._identity, but=(*FREE_TO_CHANGE, *unknown))

    def _newest(self) -> Path | None:
        return max(self._folder.glob("step-*"), default=None)

    def _trained(self) -> dict[str, "torch.nn.Parameter"]:
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    def _weights(self) -> dict[str, "torch.Tensor"]:
        return {name: parameter.detach().cpu().contiguous() for name, parameter in self._trained().items()}

    def _restore_weights(self, weights: dict[str, "torch.Tensor"]) -> None:
        for name, parameter in self._trained().items():
            parameter.data.copy_(weights[name])

    def _optimizer_tensors(self) -> dict[str, "torch.Tensor"]:
        """Empty in the rare case that fp16 has passed over every step so far."""
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
