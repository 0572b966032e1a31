"""The loss of a batch and its gradients, which do not depend on the number of processes and parts. Knows no steps."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi2demo.errors import SettingsError, StoppedError
from phi2demo.training.batch import Batch

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

CrossEntropy = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""`cross_entropy`, or the same function compiled."""


def cross_entropy(logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
    """Return the loss of each target, computed in float32; logits of shape (targets, vocabulary)."""
    import torch

    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")


def add_gradients(
    model: "torch.nn.Module",
    batch: Batch,
    accelerator: "Accelerator",
    *,
    part_tokens: int | None = None,
    entropy: CrossEntropy = cross_entropy,
) -> "torch.Tensor":
    """Add the gradients of the batch's mean loss to the parameters; returns this process's share of that loss.

    Each process computes its rows of the batch, and each loss is divided by the weight of the WHOLE batch, so that the
    gradient does not depend on the number of processes or parts. Raises SettingsError for fewer rows than processes.
    """
    import torch

    processes, rows = accelerator.num_processes, batch.input_ids.shape[0]
    if rows < processes:
        raise SettingsError(
            f"A batch of {rows} rows cannot be divided among {processes} processes. "
            "Use a larger --batch-size or fewer processes."
        )
    parts = batch.share(accelerator.process_index, processes).parts(part_tokens)
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts, 1):
        synchronized = nullcontext() if number == len(parts) else accelerator.no_sync(model)
        with accelerator.autocast(), synchronized:
            loss = target_loss(model, part, accelerator.device, entropy) / batch.total_weight
            accelerator.backward(loss * processes)
        total += loss.detach()
    return total


def target_loss(
    model: "torch.nn.Module", batch: Batch, device: "torch.device", entropy: CrossEntropy = cross_entropy
) -> "torch.Tensor":
    """Return the weighted sum of the cross-entropy of a batch's targets; logits are computed for targets only."""
    mask = None if batch.attention_mask is None else batch.attention_mask.to(device)
    is_target = batch.labels != -100
    labels = batch.labels[is_target].to(device)
    keep = {} if is_target.all() else {"logits_to_keep": is_target.to(device)}
    logits = model(input_ids=batch.input_ids.to(device), attention_mask=mask, use_cache=False, **keep).logits
    losses = entropy(logits.flatten(0, -2), labels)
    return losses.sum() if batch.weights is None else (losses * batch.weights[is_target].to(device)).sum()


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
