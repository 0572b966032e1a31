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

from phi2demo.engine.engine import Completion, Engine, Output, Prompt, Score, Variant
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


def score_rows(
    engine: Engine,
    rows: Sequence[Sequence[tuple[Prompt, Output]]],
    *,
    adapter_strength: float = 1.0,
    cancel: Event | None = None,
) -> list[list[Score]]:
    """Score the outputs of each row under their prompts, all together; a row that does not fit the context has no scores.

    That is no error of the person's, as the row was answered. Raises StoppedError within a second of `cancel`.
    """
    pairs = [pair for row in rows for pair in row]
    if not pairs:
        return [[] for _ in rows]
    prompts, outputs = [prompt for prompt, _ in pairs], [output for _, output in pairs]
    try:
        scores = iter(engine.score(prompts, outputs, adapter_strength=adapter_strength, cancel=cancel))
    except InputError:
        if len(rows) == 1:
            return [[]]
        alone = (score_rows(engine, [row], adapter_strength=adapter_strength, cancel=cancel) for row in rows)
        return [scores for (scores,) in alone]
    return [[next(scores) for _ in row] for row in rows]


def mean_probabilities(
    engine: Engine,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    *,
    adapter_strength: float = 1.0,
    cancel: Event | None = None,
) -> list[float | None]:
    """Of each completion under its prompt; None for an empty one and one that fills the context. Raises as `score_rows`."""
    outputs = [completion.token_ids for completion in completions]
    rows = [[(prompt, ids)] if ids else [] for prompt, ids in zip(prompts, outputs, strict=True)]
    scored = score_rows(engine, rows, adapter_strength=adapter_strength, cancel=cancel)
    return [mean_probability(row[0].total, len(ids)) if row else None for row, ids in zip(scored, outputs, strict=True)]


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

    None where a text does not fit the context. Raises as `score_rows`.
    """
    rows: list[list[tuple[Prompt, Output]]] = [
        [(Prompt(text, variant), grounds.output) for text in (grounds.prompt, grounds.without)]
        for grounds, variant, _ in asked
    ]
    values: list[float | None] = []
    scored = score_rows(engine, rows, adapter_strength=adapter_strength, cancel=cancel)
    for (_, _, probability), scores in zip(asked, scored, strict=True):
        value = None
        if scores:
            with_text, without = scores
            gain = (with_text.total - without.total) / len(with_text.token_ids)
            value = probability * math.exp(min(gain, 50.0))
        values.append(value)
    return values
