"""The optimizers of the training loop: AdamW, or Muon for the layers' matrices with AdamW for the rest."""

from collections.abc import Sequence
from typing import Any

import torch

from phi2demo.training.loop_settings import OptimizerName


class Joined(torch.optim.Optimizer):
    """Several optimizers, each over parameters of its own, as one: one list of groups, one state, one step."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([{"params": list(group["params"])} for part in parts for group in part.param_groups], {})
        self.param_groups = [group for part in parts for group in part.param_groups]
        self._parts = list(parts)
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Loading a state replaces groups and state: the parts must go on with the same ones."""
        super().__setstate__(state)
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each part."""
        for part in self._parts:
            part.step()

    def _share(self) -> None:
        start = 0
        for part in self._parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start:end], self.state
            start = end


class BatchedMuon(torch.optim.Muon):
    """torch's Muon with the matrices of one shape orthogonalized together: a GPU waits less for Python."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step over the parameters that have a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for parameters in shapes.values():
                self._step(group, parameters)

    def _step(self, group: dict[str, Any], parameters: list[torch.nn.Parameter]) -> None:
        """Of parameters of one shape."""
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        states = [self.state[parameter] for parameter in parameters]
        for state, grad in zip(states, grads, strict=True):
            if not state:
                state["momentum_buffer"] = torch.zeros_like(grad)
        weights: list[torch.Tensor] = [*parameters]
        buffers = [state["momentum_buffer"] for state in states]
        torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
        updates = torch.stack(torch._foreach_lerp(grads, buffers, group["momentum"]))
        steps = orthogonalize(updates, group["ns_coefficients"], group["ns_steps"], group["eps"]).to(updates.dtype)
        scale = 0.2 * max(updates.shape[1:]) ** 0.5  # as large as AdamW's (Liu et al., 2025)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(steps.unbind()), alpha=-group["lr"] * scale)


def orthogonalize(
    matrices: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """Near each of the matrices (count, rows, columns) one with singular values near 1, in bfloat16.

    The Newton-Schulz iteration of Muon (Jordan et al., 2024).
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def make_optimizer(
    model: torch.nn.Module, name: OptimizerName, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Over the parameters of `model` that require gradients; vectors are not decayed.

    "muon" is Muon (Jordan et al., 2024: momentum, orthogonalized) for the matrices between the embeddings, its steps
    scaled to the size of AdamW's (Liu et al., 2025), so that one learning rate serves both; embeddings and vectors get
    AdamW. Low-rank adapters are trained with "adamw".
    """
    trained = {path: p for path, p in model.named_parameters() if p.requires_grad}
    outer = {path for path, p in trained.items() if p.ndim != 2 or "embed" in path or "lm_head" in path}
    matrices = [p for path, p in trained.items() if name == "muon" and path not in outer]
    rest = [p for path, p in trained.items() if name != "muon" or path in outer]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=(0.9, 0.95), fused=True)
    if not matrices:
        return adamw
    muon = BatchedMuon(matrices, lr=learning_rate, weight_decay=weight_decay, momentum=0.95)
    return Joined([muon, adamw])
