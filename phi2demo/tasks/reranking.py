"""Choose among what the beams of a row ended with: as the task prefers, or by asking the other way round.

Knows nothing of torch. The other way round is the noisy channel of Yee et al., "Simple and Effective Noisy Channel
Modeling for Neural Machine Translation" (2019), with one model in both directions: an output y of a text x is worth

    log p(y | x) + reverse_weight * log p(x | y) + LENGTH_SHARE * c * |y| - COPY_COST * |x & y|

where |y| are its tokens and c what one costs in the surest of the outputs (its mean -log p), without which short outputs
would win, and |x & y| the different words that it has in common with the text: what was copied is easily turned back,
whatever it means.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING

from phi2demo.engine.engine import Candidate, Completion, Engine, Output, Prompt
from phi2demo.errors import InputError
from phi2demo.tasks.form import Form

if TYPE_CHECKING:
    from phi2demo.tasks.task import AnyTask, TaskOptions

LENGTH_SHARE = 0.7
"""Of what a token costs; this and the next were chosen with the `reverse_weight` of translation, on the same held-out pairs."""
COPY_COST = 1.0
"""Nats a word."""
_WHOLE = ("end", "stop string")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Reversible:
    """A text that was answered, and how it is asked back."""

    prompt: Prompt
    """That was answered."""
    text: str
    """That the prompt was made of."""
    clean: Callable[[str], str]
    back: Callable[[str], Prompt]
    """From a cleaned answer."""


@dataclass(frozen=True)
class Ranked:
    """One candidate as both directions judge it."""

    candidate: Candidate
    text: str
    """Cleaned."""
    log_probability: float
    """Of the candidate given the text, in nats."""
    reverse_log_probability: float
    """Of the text given the candidate."""
    score: float
    """What it was ranked by."""

    def as_dict(self) -> dict[str, str | float]:
        """For JSON."""
        return {
            "text": self.text,
            "log_probability": self.log_probability,
            "reverse_log_probability": self.reverse_log_probability,
            "score": self.score,
        }


def preferred(task: "AnyTask", text: str, completion: Completion) -> Completion:
    """With that of its candidates in its place which the task prefers, of those that came to their end."""
    whole = [candidate for candidate in completion.candidates if candidate.stop_reason in _WHOLE]
    at = task.preferred(text, [task.clean(candidate.text) for candidate in whole]) if whole else 0
    return _put(completion, whole[at]) if at else completion


def reversible(task: "AnyTask", text: str, options: "TaskOptions", form: Form, prompt: Prompt) -> Reversible | None:
    """How the text of a prompt is asked back by the same weights in the same form; None where the task cannot be."""
    reverse = task.reverse(options)
    if reverse is None:
        return None
    return Reversible(prompt, text, task.clean, lambda output: Prompt(task.prompt(output, reverse, form), prompt.use))


def choose(
    engine: Engine, asked: Reversible, completion: Completion, *, weight: float, cancel: Event | None = None
) -> tuple[Completion, tuple[Ranked, ...]]:
    """The best of the completion's candidates in its place, and all of them as `rank` gives them."""
    ranked = rank(engine, asked, completion.candidates, weight=weight, cancel=cancel)
    if not ranked:
        return completion, ()
    return _put(completion, ranked[0].candidate), ranked


def rank(
    engine: Engine, asked: Reversible, candidates: Sequence[Candidate], *, weight: float, cancel: Event | None = None
) -> tuple[Ranked, ...]:
    """The candidates that differ once cleaned, best first; none where there are not two, or they do not fit the context.

    Those that were cut at a limit are left out: half a sentence cannot be turned back. Raises StoppedError within a
    second of `cancel`.
    """
    different: dict[str, Candidate] = {}
    for candidate in candidates:
        text = asked.clean(candidate.text)
        if text and candidate.stop_reason in _WHOLE:
            different.setdefault(text, candidate)
    count = len(different)
    if count < 2:
        return ()
    prompts = [*[asked.prompt] * count, *map(asked.back, different)]
    outputs: list[Output] = [
        *(candidate.token_ids for candidate in different.values()),
        *[f" {asked.text.strip()}"] * count,
    ]
    try:
        totals = [score.total for score in engine.score(prompts, outputs, cancel=cancel)]
    except InputError:  # a long text with a long answer: it was answered, so it is no error of the person's
        return ()
    tokens = [len(candidate.token_ids) for candidate in different.values()]
    bonus = LENGTH_SHARE * min(-total / length for total, length in zip(totals[:count], tokens, strict=True))
    own, ranked = _words(asked.text), []
    for (text, candidate), forward, reverse in zip(different.items(), totals[:count], totals[count:], strict=True):
        beside = bonus * len(candidate.token_ids) - COPY_COST * len(own & _words(text))
        ranked.append(Ranked(candidate, text, forward, reverse, forward + weight * reverse + beside))
    return tuple(sorted(ranked, key=lambda each: -each.score))


def _put(completion: Completion, chosen: Candidate) -> Completion:
    return replace(completion, text=chosen.text, token_ids=chosen.token_ids, stop_reason=chosen.stop_reason)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
