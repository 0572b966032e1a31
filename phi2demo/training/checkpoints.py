"""Checkpoints of a training run: weights, optimizer state and progress, in safetensors and JSON, replaced atomically."""

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

KEPT = 2


@dataclass
class TrainingState:
    """How far a run has come, over all its sittings."""

    step: int = 0
    tokens: int = 0
    elapsed_s: float = 0.0
    _since: float = field(default_factory=time.monotonic, repr=False)

    def advance(self, tokens: int) -> None:
        """Count one step."""
        now = time.monotonic()
        self.step += 1
        self.tokens += tokens
        self.elapsed_s += now - self._since
        self._since = now


class Checkpoints:
    """Save and resume the trained parameters of `model` with their optimizer."""

    def __init__(
        self, folder: Path, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer", accelerator: "Accelerator"
    ) -> None:
        self._folder, self._model, self._optimizer, self._accelerator = folder, model, optimizer, accelerator
        self._identity: dict[str, Any] = {}

    def resume(self, identity: dict[str, Any]) -> TrainingState:
        """Load the newest checkpoint, if there is one; SettingsError where it was made with another `identity`."""
        from safetensors.torch import load_file

        self._identity = json.loads(json.dumps(identity))
        newest = self._newest()
        if newest is None:
            return TrainingState()
        saved = json.loads((newest / "state.json").read_text(encoding="utf-8"))
        changed = sorted(key for key in identity if saved["identity"].get(key) != self._identity[key])
        changed = [key for key in changed if key not in ("checkpoint_minutes", "log_every", "validate_every")]
        if changed:
            raise SettingsError(
                f"{newest} was made with other settings ({', '.join(changed)}). "
                "Repeat the command it was made with to go on, or give another --output folder to start anew."
            )
        weights = load_file(newest / "model.safetensors")
        for name, parameter in self._trained().items():
            parameter.data.copy_(weights[name])
        self._restore_optimizer(load_file(newest / "optimizer.safetensors"))
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(saved["scaler"])
        return TrainingState(**saved["progress"])

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint beside the older ones and drop all but the newest two."""
        self._accelerator.wait_for_everyone()
        if not self._accelerator.is_main_process:
            return
        from safetensors.torch import save_file

        part = self._folder / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        weights = {name: parameter.detach().cpu().contiguous() for name, parameter in self._trained().items()}
        save_file(weights, part / "model.safetensors")
        save_file(self._optimizer_tensors(), part / "optimizer.safetensors")
        scaler = self._accelerator.scaler
        progress = {key: value for key, value in asdict(state).items() if not key.startswith("_")}
        saved = {
            "progress": progress,
            "identity": self._identity,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        (part / "state.json").write_text(json.dumps(saved, indent=1), encoding="utf-8")
        final = self._folder / f"step-{state.step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
        for old in sorted(self._folder.glob("step-*"))[:-KEPT]:
            shutil.rmtree(old)

    def _newest(self) -> Path | None:
        return max(self._folder.glob("step-*"), default=None)

    def _trained(self) -> dict[str, "torch.nn.Parameter"]:
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    def _optimizer_tensors(self) -> dict[str, "torch.Tensor"]:
        names: dict[torch.Tensor, str] = {p: name for name, p in self._trained().items()}
        return {
            f"{names[p]}/{key}": value.detach().cpu().contiguous()
            for p, values in self._optimizer.state.items()
            for key, value in values.items()
        }

    def _restore_optimizer(self, tensors: dict[str, "torch.Tensor"]) -> None:
        for name, parameter in self._trained().items():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors[f"{name}/{key}"]
                device = "cpu" if key == "step" and parameter.device.type == "cpu" else parameter.device
                self._optimizer.state[parameter][key] = value.to(device)
