"""Break off a forward pass between two of its modules. For passes that nobody reads token by token."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

import torch

from phi2demo.errors import StoppedError

POLL_S = 0.1


def check(cancel: Event | None) -> None:
    """Raises StoppedError where `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise StoppedError("Stopped before it was done; nothing was kept. Start it again for a result.")


@contextmanager
def halting(model: torch.nn.Module, cancel: Event | None) -> Iterator[None]:
    """Within it, a forward pass of `model` raises StoppedError before its next innermost module once `cancel` is set."""
    if cancel is None:
        yield
        return
    leaves = [module for module in model.modules() if not any(module.children())]
    handles = [module.register_forward_pre_hook(lambda *_: check(cancel)) for module in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def holding(lock: Lock, cancel: Event | None) -> Iterator[None]:
    """Hold `lock`; raises StoppedError where `cancel` is set while waiting for it."""
    while not lock.acquire(timeout=POLL_S):
        check(cancel)
    try:
        yield
    finally:
        lock.release()
