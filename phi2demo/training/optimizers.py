"""The optimizers of the training loop: AdamW, or Muon for the layers' matrices with AdamW for the rest."""

from collections.abc import Sequence
from typing import Any

import torch

from phi2demo.training.settings import OptimizerName


class JoinedOptimizer(torch.optim.Optimizer):
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
    muon = torch.optim.Muon(
        matrices, lr=learning_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return JoinedOptimizer([muon, adamw])
