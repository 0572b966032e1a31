"""Validation: losses on held-out examples, computed between training steps. Knows no tasks and no texts."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi2demo.errors import StoppedError
from phi2demo.training.batch import Batch
from phi2demo.training.loss import target_loss

if TYPE_CHECKING:
    import torch

ProgressCallback = Callable[[int, int], None]
"""Called with the parts done and all parts, before each part and after the last; may raise to end the validation."""
Validate = Callable[[ProgressCallback], dict[str, float]]
"""Computes losses on held-out examples by name; "all" is their weighted mean."""


@dataclass(frozen=True)
class HeldOutExamples:
    """Held-out examples by the name of their data set or task, drawn once before training."""

    batches: Mapping[str, Batch]
    weights: Mapping[str, float]
    """Weight of each in the mean of all."""

    def losses(
        self,
        model: "torch.nn.Module",
        device: "torch.device",
        part_tokens: int | None,
        show_progress: ProgressCallback,
    ) -> dict[str, float]:
        """Return the loss per target token of each name, and "all", their weighted mean."""
        import torch

        parts = [(name, part) for name, batch in self.batches.items() for part in batch.parts(part_tokens)]
        sums = dict.fromkeys(self.batches, 0.0)
        with torch.no_grad():
            for done, (name, part) in enumerate(parts):
                show_progress(done, len(parts))
                sums[name] += float(target_loss(model, part, device))
        show_progress(len(parts), len(parts))
        losses = {name: sums[name] / batch.total_weight for name, batch in self.batches.items()}
        total = sum(self.weights[name] for name in losses)
        return {"all": sum(self.weights[name] * losses[name] for name in losses) / total} | losses


def run_validation(
    model: "torch.nn.Module",
    validate: Validate,
    *,
    show_progress: ProgressCallback,
    should_stop: Callable[[], bool],
    eager: bool = False,
) -> dict[str, float] | None:
    """Return the losses of a model in training; None if `should_stop` says so between two parts.

    `eager` does not use the compiled code of a model: the shapes here are not those of training.
    """
    import torch

    def show_or_stop(done: int, parts: int) -> None:
        show_progress(done, parts)
        if done < parts and should_stop():
            raise StoppedError("Stopped between two parts of a validation.")

    model.eval()
    try:
        with torch.compiler.set_stance("force_eager") if eager else nullcontext():
            return validate(show_or_stop)
    except StoppedError:
        return None
    finally:
        model.train()
