"""The strength of an adapter: the factor s in W + s * BA, and in W + s * (W' - W) where the adapter replaces W.

Weights between those of the base and the finetuned ones are often better than both, above all where finetuning has begun
to memorize its examples: Wortsman et al., "Robust fine-tuning of zero-shot models" (2022).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import nn

MAX_CACHED = 2
"""Number of strengths per adapter for which results are cached: that of a task, and 1."""

T = TypeVar("T")


@contextmanager
def scaled_adapters(model: "nn.Module", strength: float) -> Iterator[None]:
    """Multiply all adapters of a PEFT model by `strength` inside this context; rows of the base do not change.

    Only one thread may do this at a time, which the engine's lock ensures.
    """
    if strength == 1:
        yield
        return
    scalings = [scaling for module in model.modules() if isinstance(scaling := getattr(module, "scaling", None), dict)]
    originals = [dict(scaling) for scaling in scalings]
    replaced = [(parameter, parameter.data, base.data) for parameter, base in _replaced_parameters(model)]
    try:
        for scaling, original in zip(scalings, originals, strict=True):
            scaling.update({name: factor * strength for name, factor in original.items()})
        for parameter, finetuned, base in replaced:
            parameter.data = base.lerp(finetuned, strength)
        yield
    finally:
        for scaling, original in zip(scalings, originals, strict=True):
            scaling.update(original)
        for parameter, finetuned, _ in replaced:
            parameter.data = finetuned


def _replaced_parameters(model: "nn.Module") -> "Iterator[tuple[nn.Parameter, nn.Parameter]]":
    """Yield each parameter that an adapter has instead of one of the base (modules_to_save), with that of the base."""
    wrappers: list[Any] = [module for module in model.modules() if hasattr(module, "original_module")]
    for wrapper in wrappers:
        for replacement in wrapper.modules_to_save.values():
            yield from zip(replacement.parameters(), wrapper.original_module.parameters(), strict=True)


def get_or_make(cache: dict[float, T], strength: float, make: Callable[[], T]) -> T:
    """Return the cached value for `strength`, or make it; the cache keeps the `MAX_CACHED` that were used last.

    Where `make` returns None, it is called again the next time.
    """
    if strength in cache:
        value = cache.pop(strength)
    else:
        while len(cache) >= MAX_CACHED:
            del cache[next(iter(cache))]
        value = make()
    if value is not None:
        cache[strength] = value
    return value
