"""What a finetuning is measured by: examples of held-out rows, drawn once before its first step."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi2demo.errors import StoppedError
from phi2demo.training.batch import Batch
from phi2demo.training.loss import target_loss
from phi2demo.training.mixture import EMPHASIS, Mixture

if TYPE_CHECKING:
    import torch

ProgressCallback = Callable[[int, int], None]
"""Is told how many parts are done, of how many, before each and after the last; what it raises ends the measurement."""
TestSet = Callable[[ProgressCallback], dict[str, float]]
"""Losses on held-out examples by name; "all" is that of all."""


def measure(
    model: "torch.nn.Module",
    losses: TestSet,
    *,
    show: ProgressCallback,
    stopped: Callable[[], bool],
    eager: bool = False,
) -> dict[str, float] | None:
    """The losses of `model`, which is trained on afterwards; None where `stopped` says so between two parts.

    `eager` leaves a compiled model's code alone: the shapes here are not those of training.
    """
    import torch

    def told(done: int, parts: int) -> None:
        show(done, parts)
        if done < parts and stopped():
            raise StoppedError("Stopped between two parts of the measurement.")

    model.eval()
    try:
        with torch.compiler.set_stance("force_eager") if eager else nullcontext():
            return losses(told)
    except StoppedError:
        return None
    finally:
        model.train()


EXAMPLES = 128
"""Of each task, at most."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out examples by task."""

    batches: Mapping[str, Batch]
    shares: Mapping[str, float]
    """Of each task in the loss of all."""

    def losses(
        self, model: "torch.nn.Module", part_tokens: int, device: "torch.device", told: ProgressCallback
    ) -> dict[str, float]:
        """Loss per output token of each task, and of all by their shares."""
        import torch

        parts = [(task, part) for task, batch in self.batches.items() for part in batch.parts(part_tokens)]
        sums = dict.fromkeys(self.batches, 0.0)
        with torch.no_grad():
            for done, (task, part) in enumerate(parts):
                told(done, len(parts))
                sums[task] += float(target_loss(model, part, device))
        told(len(parts), len(parts))
        losses = {task: sums[task] / batch.total_weight for task, batch in self.batches.items()}
        total = sum(self.shares[task] for task in losses)
        return {"all": sum(self.shares[task] * losses[task] for task in losses) / total} | losses


def draw(mixture: Mixture) -> HeldOut:
    """Examples of every task of the mixture that has some."""
    drawn = {task: mixture.sample(task, EXAMPLES) for task in mixture.tasks}
    batches = {task: batch for task, batch in drawn.items() if batch}
    return HeldOut(batches, {task: mixture.weights[task] * EMPHASIS.get(task, 1.0) for task in batches})
