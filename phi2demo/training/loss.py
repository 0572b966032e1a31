"""The loss of a batch and its gradients, which do not depend on the number of processes and parts. Knows no steps."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from phi2demo.errors import SettingsError
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
