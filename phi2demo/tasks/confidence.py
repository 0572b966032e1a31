"""How sure a model is of what it wrote, by the probabilities of the tokens. Knows nothing of torch.

The confidence of an output is the geometric mean of the probabilities that the model gives its tokens one after the
other, without guidance, bias and penalties: from 0 to 1. It is not the chance that the output is right, but right ones
have more of it: Fomicheva et al., "Unsupervised Quality Estimation for Neural Machine Translation" (2020), find so of
translations, and an evaluation says how far it holds for a model and a set.
"""

import math
from collections.abc import Iterable, Sequence
from threading import Event

from phi2demo.engine.engine import Completion, Engine, Output, Prompt
from phi2demo.errors import InputError


def confidence(log_probability: float, tokens: int) -> float | None:
    """Of an output of so many tokens, by its log-probability in nats; None where it has none."""
    return math.exp(log_probability / tokens) if tokens else None


def joint(parts: Iterable[tuple[float | None, int]]) -> float | None:
    """Of several outputs together, each given by its confidence and its number of tokens; None where one has none."""
    total, tokens = 0.0, 0
    for value, count in parts:
        if not value:
            return value
        total, tokens = total + count * math.log(value), tokens + count
    return confidence(total, tokens)


def confidences(
    engine: Engine,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    *,
    adapter_strength: float = 1.0,
    cancel: Event | None = None,
) -> list[float | None]:
    """Of each completion under its prompt, all scored together; None for an empty one and one that fills the context.

    Raises StoppedError within a second of `cancel`.
    """
    asked = [(p, c.token_ids) for p, c in zip(prompts, completions, strict=True) if c.token_ids]
    if not asked:
        return [None for _ in completions]
    outputs: list[Output] = [token_ids for _, token_ids in asked]
    try:
        scores = iter(
            engine.score([prompt for prompt, _ in asked], outputs, adapter_strength=adapter_strength, cancel=cancel)
        )
    except InputError:  # a long text with a long answer: it was answered, so it is no error of the person's
        if len(completions) == 1:
            return [None]
        return [
            found
            for pair in zip(prompts, completions, strict=True)
            for found in confidences(engine, pair[:1], pair[1:], adapter_strength=adapter_strength, cancel=cancel)
        ]
    return [confidence(next(scores).total, len(c.token_ids)) if c.token_ids else None for c in completions]
