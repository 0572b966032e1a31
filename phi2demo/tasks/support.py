"""How far a text supports an answer to a question about it. Knows nothing of torch or of the page.

A model that was only finetuned on questions with answers always answers. Two of its probabilities tell where it had
better not: a text that holds the answer makes the question likelier, and its answer is one that the model is sure of. With
g, how much likelier the text makes the question (nats a token), and p, the mean probability of the answer's tokens, the
support is p * exp(g): below p, where the text speaks against the question. Of the answer alone it cannot be told: on
held-out questions of SQuAD, p was the same whether the text was theirs or another one about the same subject.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

from phi2demo.engine.engine import Engine, Output, Prompt, Use
from phi2demo.errors import InputError


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
    asked: Sequence[tuple[Grounds, Use, float]],
    *,
    adapter_strength: float = 1.0,
    cancel: Event | None = None,
) -> list[float | None]:
    """Of each answer, given by its grounds, the weights that gave it and its mean token probability.

    None where a text does not fit the context. Raises StoppedError within a second of `cancel`.
    """
    prompts = [Prompt(text, use) for grounds, use, _ in asked for text in (grounds.prompt, grounds.without)]
    outputs: list[Output] = [grounds.output for grounds, _, _ in asked for _ in range(2)]
    try:
        scores = engine.score(prompts, outputs, adapter_strength=adapter_strength, cancel=cancel)
    except InputError:  # it was answered, so it is no error of the person's
        if len(asked) < 2:
            return [None for _ in asked]
        return [
            value
            for each in asked
            for value in supports(engine, [each], adapter_strength=adapter_strength, cancel=cancel)
        ]
    found: list[float | None] = []
    for index, (_, _, probability) in enumerate(asked):
        with_text, without = scores[2 * index : 2 * index + 2]
        gain = (with_text.total - without.total) / len(with_text.token_ids)
        found.append(probability * math.exp(min(gain, 50.0)))
    return found
