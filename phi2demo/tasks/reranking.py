"""Choose among what the beams of a row ended with: as the task prefers, or by asking the other way round.

Knows nothing of torch. The other way round is the noisy channel of Yee et al., "Simple and Effective Noisy Channel
Modeling for Neural Machine Translation" (2019), with one model in both directions: an output y of a text x is worth

    log p(y | x) + reverse_weight * log p(x | y) + LENGTH_SHARE * c * |y| - COPY_COST * |x & y|

where |y| are its tokens and c what one costs in the surest of the outputs (its mean -log p), without which short outputs
would win, and |x & y| the different words that it has in common with the text: what was copied is easily turned back,
whatever it means.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING

from phi2demo.engine.engine import Candidate, Completion, Engine, GenerationOptions, Output, Prompt
from phi2demo.errors import InputError
from phi2demo.tasks.form import Form
from phi2demo.tasks.listing import WHOLE, Listed, by_text

if TYPE_CHECKING:
    from phi2demo.tasks.task import AnyTask, TaskOptions

LENGTH_SHARE = 0.7
"""Of what a token costs; this and the next were chosen with the `reverse_weight` of translation, on the same held-out pairs."""
COPY_COST = 1.0
"""Nats a word."""
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
class Ranked(Listed):
    """One candidate as both directions judge it."""

    reverse_log_probability: float
    """Of the text given the candidate."""
    score: float
    """What it was ranked by."""

    def as_dict(self) -> dict[str, str | float]:
        """For JSON."""
        both = {"reverse_log_probability": self.reverse_log_probability, "score": self.score}
        return super().as_dict() | both


def preferred(task: "AnyTask", text: str, options: "TaskOptions", completion: Completion) -> Completion:
    """With that of its candidates in its place which the task prefers, of those that came to their end, if any did.

    Free text has none: a likelier one that was cut at a limit is no worse.
    """
    whole = [candidate for candidate in completion.candidates if candidate.stop_reason in WHOLE]
    if not whole or not task.has_right_answer:
        return completion
    return _put(completion, whole[task.preferred(text, [task.clean(task.kept(each.text, options)) for each in whole])])


def reversible(task: "AnyTask", text: str, options: "TaskOptions", form: Form, prompt: Prompt) -> Reversible | None:
    """How the text of a prompt is asked back by the same weights in the same form; None where the task cannot be."""
    reverse = task.reverse(options)
    if reverse is None:
        return None
    return Reversible(prompt, text, task.clean, lambda output: Prompt(task.prompt(output, reverse, form), prompt.use))


def choose(
    engine: Engine,
    found: Sequence[tuple[Reversible, Completion]],
    options: GenerationOptions,
    *,
    cancel: Event | None = None,
) -> list[tuple[Completion, tuple[Ranked, ...]]]:
    """Of each completion the best of its candidates in its place, and all of them as `rank` gives them."""
    asked = [(text, completion.candidates) for text, completion in found]
    return [
        (_put(completion, ranked[0].candidate), ranked) if ranked else (completion, ())
        for (_, completion), ranked in zip(found, rank(engine, asked, options, cancel=cancel), strict=True)
    ]


def rank(
    engine: Engine,
    asked: Sequence[tuple[Reversible, Sequence[Candidate]]],
    options: GenerationOptions,
    *,
    cancel: Event | None = None,
) -> list[tuple[Ranked, ...]]:
    """Of each text the candidates that differ once cleaned, best first, all scored together.

    There are none where there are not two, or they do not fit the context. Those that were cut at a limit are left out:
    half a sentence cannot be turned back. Of the options, `reverse_weight` and `adapter_strength` count. Raises
    StoppedError within a second of `cancel`.
    """
    contests = [_Contest.of(*each) for each in asked]
    rows = [row for contest in contests for row in contest.rows()]
    if not rows:
        return [() for _ in asked]
    try:
        prompts, outputs = map(list, zip(*rows, strict=True))
        scores = iter(engine.score(prompts, outputs, adapter_strength=options.adapter_strength, cancel=cancel))
    except InputError:  # a long text with a long answer: it was answered, so it is no error of the person's
        if len(asked) == 1:
            return [()]
        return [ranked for each in asked for ranked in rank(engine, [each], options, cancel=cancel)]
    return [
        contest.decided([next(scores).total for _ in contest.rows()], options.reverse_weight) for contest in contests
    ]


@dataclass(frozen=True)
class _Contest:
    """Candidates of one text, by what they are once cleaned; none where there are not two."""

    asked: Reversible
    candidates: Mapping[str, Candidate]

    @classmethod
    def of(cls, asked: Reversible, candidates: Sequence[Candidate]) -> "_Contest":
        """Of those that came to their end."""
        different = by_text(candidates, asked.clean)
        return cls(asked, different if len(different) > 1 else {})

    def rows(self) -> list[tuple[Prompt, Output]]:
        """What is to be scored: every candidate given the text, then the text given every candidate."""
        forward = [(self.asked.prompt, candidate.token_ids) for candidate in self.candidates.values()]
        return [*forward, *((self.asked.back(text), f" {self.asked.text.strip()}") for text in self.candidates)]

    def decided(self, totals: Sequence[float], weight: float) -> tuple[Ranked, ...]:
        """By the log-probabilities of the rows."""
        count = len(self.candidates)
        if not count:
            return ()
        tokens = [len(candidate.token_ids) for candidate in self.candidates.values()]
        bonus = LENGTH_SHARE * min(-total / length for total, length in zip(totals[:count], tokens, strict=True))
        own, ranked = _words(self.asked.text), []
        for (text, candidate), forward, back in zip(
            self.candidates.items(), totals[:count], totals[count:], strict=True
        ):
            beside = bonus * len(candidate.token_ids) - COPY_COST * len(own & _words(text))
            ranked.append(Ranked(candidate, text, forward, back, forward + weight * back + beside))
        return tuple(sorted(ranked, key=lambda each: -each.score))


def _put(completion: Completion, chosen: Candidate) -> Completion:
    return replace(completion, text=chosen.text, token_ids=chosen.token_ids, stop_reason=chosen.stop_reason)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
