"""Dropout in training: which layers of a model have it, and how a resumed run draws what an unbroken one would have."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def set_dropout(model: "torch.nn.Module", share: float) -> None:
    """In training, leave out `share` of the activations where `model` has a layer for it; 0 for none.

    Of a Phi that is after the embeddings and after each layer (Srivastava et al., 2014); never of the attention, whose
    fast kernels it slows down.
    """
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        if "attention_dropout" in vars(module):
            vars(module)["attention_dropout"] = 0.0


def seed_step(seed: int, step: int, process: int) -> None:
    """What a process draws in a step follows from these alone."""
    import torch

    (state,) = np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)
    torch.manual_seed(int(state))
