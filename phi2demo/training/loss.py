"""The loss of a batch and its gradients, the same by however many processes and parts. Knows nothing of steps."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from phi2demo.errors import SettingsError
from phi2demo.training.batch import Batch

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

Entropy = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""From logits and labels to the loss of each target; see `cross_entropy`."""


def add_gradients(
    model: "torch.nn.Module",
    batch: Batch,
    accelerator: "Accelerator",
    *,
    part_tokens: int | None = None,
    entropy: Entropy | None = None,
) -> "torch.Tensor":
    """Add those of the mean loss of the batch; returns this process's share of it.

    Each process takes its rows of the batch, and each loss is divided by the weight of the WHOLE batch, so that the
    gradient does not depend on how many processes or parts it was cut into.
    """
    import torch

    world, rows = accelerator.num_processes, batch.input_ids.shape[0]
    if rows < world:
        raise SettingsError(
            f"A batch of {rows} rows cannot be cut for {world} processes. Use a larger --batch-size or fewer processes."
        )
    parts = batch.share(accelerator.process_index, world).parts(part_tokens)
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts, 1):
        with accelerator.autocast(), _sync(accelerator, model, last=number == len(parts)):
            loss = target_loss(model, part, accelerator.device, entropy) / batch.total_weight
            accelerator.backward(loss * world)
        total += loss.detach()
    return total


def target_loss(
    model: "torch.nn.Module", batch: Batch, device: "torch.device", entropy: Entropy | None = None
) -> "torch.Tensor":
    """Weighted sum of the cross-entropy of a batch's targets (`labels` are already shifted).

    Logits are computed where there are targets and nowhere else. `entropy` stands for `cross_entropy`, compiled.
    """
    mask = None if batch.attention_mask is None else batch.attention_mask.to(device)
    wanted = batch.labels != -100
    labels = batch.labels[wanted].to(device)
    keep = {} if wanted.all() else {"logits_to_keep": wanted.to(device)}
    logits = model(input_ids=batch.input_ids.to(device), attention_mask=mask, use_cache=False, **keep).logits
    losses = (entropy or cross_entropy)(logits.flatten(0, -2), labels)
    return losses.sum() if batch.weights is None else (losses * batch.weights[wanted].to(device)).sum()


def cross_entropy(logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
    """Of each target, in float32; logits of shape (targets, vocabulary)."""
    import torch

    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")


def _sync(accelerator: "Accelerator", model: "torch.nn.Module", last: bool) -> Any:
    return nullcontext() if last else accelerator.no_sync(model)
