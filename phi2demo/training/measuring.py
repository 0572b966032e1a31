"""A measurement on held-out examples between two steps: how far it is, and its end where the run is to stop.

Knows nothing of what is measured.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Told = Callable[[int, int], None]
"""Is told how many parts are done, of how many, before each and after the last; what it raises ends the measurement."""
Measure = Callable[[Told], dict[str, float]]
"""Losses on held-out examples by name; "all" is that of all."""


class _BrokenOffError(Exception):
    """Between two parts the run was told to stop."""


def measure(
    model: "torch.nn.Module", losses: Measure, *, show: Told, stopped: Callable[[], bool], eager: bool = False
) -> dict[str, float] | None:
    """The losses of `model`, which is trained on afterwards; None where `stopped` says so between two parts.

    `eager` leaves a compiled model's code alone: the shapes here are not those of training.
    """
    import torch

    def told(done: int, parts: int) -> None:
        show(done, parts)
        if done < parts and stopped():
            raise _BrokenOffError

    model.eval()
    try:
        with torch.compiler.set_stance("force_eager") if eager else nullcontext():
            return losses(told)
    except _BrokenOffError:
        return None
    finally:
        model.train()
