"""The optimizers of the training loop: AdamW, or Muon for the layers' matrices with AdamW for the rest."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from phi2demo.training.settings import OptimizerName


class JoinedOptimizer(torch.optim.Optimizer):
    """Several optimizers of separate parameters as one, with one list of groups, one state and one step.

    fp16 needs this: accelerate would update the loss scale after the step of each optimizer, not after that of all.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self._parts = tuple(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.__setstate__({})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Let the parts share groups and state, which are replaced when a state is loaded."""
        super().__setstate__(state)
        groups = iter(self.param_groups)
        for part in self._parts:
            part.param_groups, part.state = list(islice(groups, len(part.param_groups))), self.state

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step each part."""
        for part in self._parts:
            part.step()


def make_optimizer(
    model: torch.nn.Module, name: OptimizerName, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Make an optimizer of the parameters of `model` that require gradients; vectors are not decayed.

    "muon" is Muon (Jordan et al., 2024: momentum, orthogonalized) for the matrices of the layers, its steps scaled to
    the size of AdamW's (Liu et al., 2025), so that one learning rate suits both; embeddings and vectors get AdamW.
    Low-rank adapters are trained with "adamw".
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
    muon = torch.optim.Muon(
        matrices, lr=learning_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return JoinedOptimizer([muon, adamw])
