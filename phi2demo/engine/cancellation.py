"""Cancelling a computation that nobody reads token by token: between two modules of a forward pass, or in a queue."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

import torch

from phi2demo.errors import StoppedError

POLL_S = 0.1


def check_cancelled(cancel: Event | None) -> None:
    """Raise StoppedError where `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise StoppedError("Stopped before it was done, so there is no result. Start it again to get one.")


@contextmanager
def cancellable(model: torch.nn.Module, cancel: Event | None) -> Iterator[None]:
    """Inside this context, a forward pass of `model` raises StoppedError at its next innermost module after `cancel`."""
    if cancel is None:
        yield
        return
    innermost = [module for module in model.modules() if not any(module.children())]
    handles = [module.register_forward_pre_hook(lambda *_: check_cancelled(cancel)) for module in innermost]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def locked(lock: Lock, cancel: Event | None) -> Iterator[None]:
    """Hold `lock`. Raises StoppedError where `cancel` is set while waiting for it."""
    while not lock.acquire(timeout=POLL_S):
        check_cancelled(cancel)
    try:
        yield
    finally:
        lock.release()
