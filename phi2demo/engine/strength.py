"""How much of an adapter is added to its base: the factor s of W + s * BA, and of W + s * (W' - W) where it replaces W.

Knows nothing of tokens.

Between base and finetuned weights often lie better ones than both, above all where finetuning has begun to learn its
examples by heart: Wortsman et al., "Robust fine-tuning of zero-shot models" (2022).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import nn

KEPT = 2
"""Strengths of one adapter of which is kept what was computed from them: a task's own and 1."""

T = TypeVar("T")


@contextmanager
def scaled(model: "nn.Module", strength: float) -> Iterator[None]:
    """All adapters of a PEFT model at `strength` times what they are; the base's own rows are never touched.

    For one thread at a time: the engine's lock sees to it.
    """
    if strength == 1:
        yield
        return
    before = [
        (found, dict(found))
        for module in model.modules()
        if isinstance(found := getattr(module, "scaling", None), dict)
    ]
    replaced = [(own, own.data, base.data) for own, base in _replaced(model)]
    try:
        for found, own in before:
            found.update({name: scale * strength for name, scale in own.items()})
        for parameter, finetuned, base in replaced:
            parameter.data = base.lerp(finetuned, strength)
        yield
    finally:
        for found, own in before:
            found.update(own)
        for parameter, finetuned, _ in replaced:
            parameter.data = finetuned


def _replaced(model: "nn.Module") -> "Iterator[tuple[nn.Parameter, nn.Parameter]]":
    """What adapters have instead of weights of the base (modules_to_save), each with what it stands for."""
    wrappers: list[Any] = [module for module in model.modules() if hasattr(module, "original_module")]
    for wrapper in wrappers:
        for own in wrapper.modules_to_save.values():
            yield from zip(own.parameters(), wrapper.original_module.parameters(), strict=True)


def recalled(kept: dict[float, T], strength: float, make: Callable[[], T]) -> T:
    """What is kept for `strength`, or made and kept: of no more than `KEPT` strengths, the newest last.

    Where nothing could be made, it is tried again the next time.
    """
    if strength in kept:
        value = kept.pop(strength)
    else:
        while len(kept) >= KEPT:
            del kept[next(iter(kept))]
        value = make()
    if value is not None:
        kept[strength] = value
    return value
