"""How sure a model is of what it wrote: the probability of its tokens, and a word for it where that was measured.

The mean token probability of an output is the geometric mean of the probabilities that the model gives its tokens one after
the other, without guidance, bias and penalties: from 0 to 1. It is not the chance that the output is right, but right ones
have more of it (Fomicheva et al., "Unsupervised Quality Estimation for Neural Machine Translation", 2020). What it is worth
for a model and a task an evaluation says; only then it is called sure or unsure.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Literal

from phi2demo.engine.engine import Completion, Engine, Output, Prompt, Variant
from phi2demo.errors import InputError

Word = Literal["sure", "fairly sure", "unsure"]


@dataclass(frozen=True)
class ConfidenceBand:
    """What an evaluation of the same weights says of answers with a like probability."""

    word: Word
    measured: str
    """In a sentence: what those answers scored, and what all did."""


def mean_probability(log_probability: float, tokens: int) -> float | None:
    """Of an output's tokens, by its log-probability in nats; None where it has none."""
    return math.exp(log_probability / tokens) if tokens else None


def joint(parts: Iterable[tuple[float | None, int]]) -> float | None:
    """Of several outputs together, each by its mean token probability and its tokens; None where one has none."""
    total, tokens = 0.0, 0
    for value, count in parts:
        if not value:
            return value
        total, tokens = total + count * math.log(value), tokens + count
    return mean_probability(total, tokens)


def mean_probabilities(
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
            value
            for pair in zip(prompts, completions, strict=True)
            for value in mean_probabilities(
                engine, pair[:1], pair[1:], adapter_strength=adapter_strength, cancel=cancel
            )
        ]
    return [mean_probability(next(scores).total, len(c.token_ids)) if c.token_ids else None for c in completions]


@dataclass(frozen=True)
class Grounds:
    """What a text makes likelier if it holds the answer."""

    prompt: str
    """With the text, up to the question."""
    without: str
    """The same without the text."""
    output: str
    """The question."""


def supports(
    engine: Engine,
    asked: Sequence[tuple[Grounds, Variant, float]],
    *,
    adapter_strength: float = 1.0,
    cancel: Event | None = None,
) -> list[float | None]:
    """Return the support of each answer, given by its grounds, its variant and its mean token probability.

    None where a text does not fit the context. Raises StoppedError within a second of `cancel`.
    """
    prompts = [Prompt(text, variant) for grounds, variant, _ in asked for text in (grounds.prompt, grounds.without)]
    outputs: list[Output] = [grounds.output for grounds, _, _ in asked for _ in range(2)]
    try:
        scores = engine.score(prompts, outputs, adapter_strength=adapter_strength, cancel=cancel)
    except InputError:  # it was answered, so it is no error of the person's
        if len(asked) < 2:
            return [None for _ in asked]
        return [
            value
            for answer in asked
            for value in supports(engine, [answer], adapter_strength=adapter_strength, cancel=cancel)
        ]
    values: list[float | None] = []
    for index, (_, _, probability) in enumerate(asked):
        with_text, without = scores[2 * index : 2 * index + 2]
        gain = (with_text.total - without.total) / len(with_text.token_ids)
        values.append(probability * math.exp(min(gain, 50.0)))
    return values
