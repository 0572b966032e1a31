"""What becomes of what a batch ended with: the choice among the outputs of beams, what else there was, how sure it is."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event

from phi2demo.engine.engine import Candidate, Completion, Engine, GenerationOptions, Output, Prompt, Score, StopReason
from phi2demo.errors import StoppedError
from phi2demo.tasks.confidence import mean_probabilities, mean_probability, score_rows, supports
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.result import Alternative
from phi2demo.tasks.task import AnyTask
from phi2demo.tasks.templates import Template

WHOLE = ("end", "stop string")
"""Why an output ended that came to its end."""


def by_text(candidates: Sequence[Candidate], shown: Callable[[str], str]) -> dict[str, Candidate]:
    """Those that came to their end, by what is shown of them, where that is anything; of equal ones the likeliest.

    None where there are not two, so that there is no choice.
    """
    candidates_by_text: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.stop_reason in WHOLE and (text := shown(candidate.text)):
            candidates_by_text.setdefault(text, candidate)
    return candidates_by_text if len(candidates_by_text) > 1 else {}


LENGTH_SHARE = 0.7
"""Of what a token costs; this and the next were chosen with the `reverse_weight` of translation, on the same held-out pairs."""
COPY_COST = 1.0
"""Penalty in nats for each copied word."""
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Ranked(Alternative):
    """One candidate as both directions judge it."""

    reverse_log_probability: float
    """Of the text given the candidate."""
    score: float
    """What it was ranked by."""

    def as_dict(self) -> dict[str, str | float]:
        """For JSON."""
        both = {"reverse_log_probability": self.reverse_log_probability, "score": self.score}
        return super().as_dict() | both


@dataclass(frozen=True)
class Answered:
    """A prompt and how the model went on."""

    text: str
    """The piece that the prompt was made of."""
    options: TaskOptions
    template: Template
    prompt: Prompt
    completion: Completion


@dataclass(frozen=True)
class Chosen:
    """The answer, and what is known of it."""

    completion: Completion
    """What the task keeps of it."""
    alternatives: tuple[Alternative, ...] = ()
    """What it was chosen among, it first; none where there was no choice, or nobody asked."""
    mean_probability: float | None = None
    """None where the task has no right answer, or there was no time for it."""
    withheld: bool = False
    """Whether the text supports it too little for it to be given."""


def preferred(task: AnyTask, row: Answered) -> Completion:
    """Replace the completion by the finished candidate that the task prefers, if there is one.

    Free text has none: a likelier one that was cut at a limit is no worse.
    """
    whole = [candidate for candidate in row.completion.candidates if candidate.stop_reason in WHOLE]
    if not whole or not task.has_right_answer:
        return row.completion
    outputs = [task.clean(task.kept(candidate.text, row.options)) for candidate in whole]
    return _put(row.completion, whole[task.preferred(row.text, outputs)])


def choose_both_ways(
    engine: Engine,
    task: AnyTask,
    rows: Sequence[Answered],
    options: GenerationOptions,
    *,
    cancel: Event | None = None,
) -> list[Chosen]:
    """Of each row the best of the candidates that differ once cleaned, and all of them, best first; all scored together.

    The likeliest stays where there are not two, or they do not fit the context. Those that were cut at a limit are left
    out: half a sentence cannot be turned back. Of the options, `reverse_weight` and `adapter_strength` count. Raises
    StoppedError within a second of `cancel`.
    """
    candidates = [by_text(row.completion.candidates, task.clean) for row in rows]
    pairs = [_both_ways(task, row, different) for row, different in zip(rows, candidates, strict=True)]
    scored = score_rows(engine, pairs, adapter_strength=options.adapter_strength, cancel=cancel)
    chosen = []
    for row, different, scores in zip(rows, candidates, scored, strict=True):
        ranked = _ranked(row.text, different, [score.total for score in scores], options.reverse_weight)
        chosen.append(Chosen(_put(row.completion, ranked[0].candidate) if ranked else row.completion, ranked))
    return chosen


def _both_ways(task: AnyTask, row: Answered, candidates: Mapping[str, Candidate]) -> list[tuple[Prompt, Output]]:
    """What is to be scored: every candidate given the text, then the text given every candidate, by the same template."""
    reverse = task.reverse(row.options)
    forward = [(row.prompt, candidate.token_ids) for candidate in candidates.values()]
    backward = (Prompt(task.prompt(text, reverse, row.template), row.prompt.variant) for text in candidates)
    return [*forward, *((prompt, f" {row.text.strip()}") for prompt in backward)]


def _ranked(
    source: str, candidates: Mapping[str, Candidate], totals: Sequence[float], weight: float
) -> tuple[Ranked, ...]:
    """By the log-probabilities of `_both_ways`; empty where there are none."""
    if not totals:
        return ()
    count = len(candidates)
    tokens = [len(candidate.token_ids) for candidate in candidates.values()]
    bonus = LENGTH_SHARE * min(-total / length for total, length in zip(totals[:count], tokens, strict=True))
    words, ranked = _words(source), []
    for (text, candidate), forward, back in zip(candidates.items(), totals[:count], totals[count:], strict=True):
        beside = bonus * len(candidate.token_ids) - COPY_COST * len(words & _words(text))
        ranked.append(Ranked(candidate, text, forward, back, forward + weight * back + beside))
    return tuple(sorted(ranked, key=lambda candidate: -candidate.score))


def _put(completion: Completion, chosen: Candidate) -> Completion:
    return replace(completion, text=chosen.text, token_ids=chosen.token_ids, stop_reason=chosen.stop_reason)


def _alternatives(
    chosen: Completion, outputs: Mapping[str, Candidate], scores: Sequence[Score]
) -> tuple[Alternative, ...]:
    """The outputs with their log-probabilities: the chosen one first, then the likeliest; empty where they were not scored."""
    pairs = zip(outputs.items(), scores, strict=True) if scores else ()
    alternatives = [Alternative(candidate, text, score.total) for (text, candidate), score in pairs]
    alternatives.sort(key=lambda other: (other.candidate.token_ids != chosen.token_ids, -other.log_probability))
    return tuple(alternatives)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


@dataclass(frozen=True)
class Chooser:
    """Chooses for the rows of one request or several alike."""

    engine: Engine
    task: AnyTask
    generation: GenerationOptions
    cancel: Event
    cut_short: Callable[[], StopReason | None]
    """Why nothing more is to be computed."""
    seconds: Callable[[], float]
    """Since the batch began."""
    listing: bool = True
    """Whether to list what else there was where it has no part in the choice."""

    def choose(self, rows: Sequence[Answered]) -> list[Chosen]:
        """Of each row; where there is no time for a choice, the likeliest stays, and the reason says so."""
        answers = [Chosen(preferred(self.task, row)) for row in rows]
        choose = self._by_both_directions if self.generation.reverse_weight else self._with_alternatives
        answers = choose(rows, answers)
        answers = [
            replace(answer, completion=self._kept(row, answer.completion))
            for row, answer in zip(rows, answers, strict=True)
        ]
        if self.task.has_right_answer:
            answers = self._with_probability(rows, answers)
        return self._withholding(rows, answers) if self.generation.min_support else answers

    def _by_both_directions(self, rows: Sequence[Answered], chosen: list[Chosen]) -> list[Chosen]:
        weighed = [place for place, row in enumerate(rows) if row.completion.candidates]
        asked = [rows[place] for place in weighed]
        best, reason = [Chosen(row.completion) for row in asked], self.cut_short()
        if reason is None:
            try:
                best = choose_both_ways(self.engine, self.task, asked, self.generation, cancel=self.cancel)
            except StoppedError:
                reason = "stopped"
        ends = {"stop_reason": reason} if reason else {"seconds": self.seconds()}
        for place, choice in zip(weighed, best, strict=True):
            chosen[place] = replace(choice, completion=replace(choice.completion, **ends))
        return chosen

    def _with_alternatives(self, rows: Sequence[Answered], chosen: list[Chosen]) -> list[Chosen]:
        """The answers are there, so that nothing is missed where time is up."""
        if not self.listing or self.cut_short() is not None:
            return chosen
        outputs = [self._outputs(row, choice.completion) for row, choice in zip(rows, chosen, strict=True)]
        pairs = [
            [(row.prompt, candidate.token_ids) for candidate in different.values()]
            for row, different in zip(rows, outputs, strict=True)
        ]
        with suppress(StoppedError):
            strength = self.generation.adapter_strength
            scored = score_rows(self.engine, pairs, adapter_strength=strength, cancel=self.cancel)
            return [
                replace(choice, alternatives=_alternatives(choice.completion, different, scores))
                for choice, different, scores in zip(chosen, outputs, scored, strict=True)
            ]
        return chosen

    def _outputs(self, row: Answered, completion: Completion) -> dict[str, Candidate]:
        """The candidates that differ once cleaned; none where the answer itself was cut short."""
        outputs = by_text(completion.candidates, lambda output: self.task.clean(self.task.kept(output, row.options)))
        chosen = any(candidate.token_ids == completion.token_ids for candidate in outputs.values())
        return outputs if chosen else {}

    def _with_probability(self, rows: Sequence[Answered], chosen: Sequence[Chosen]) -> list[Chosen]:
        """Only what was not scored for the choice is scored."""
        known: dict[int, float | None] = {}
        missing: dict[int, tuple[Prompt, Completion]] = {}
        for place, (row, choice) in enumerate(zip(rows, chosen, strict=True)):
            token_ids = choice.completion.token_ids
            if choice.alternatives and choice.alternatives[0].candidate.token_ids == token_ids:
                known[place] = mean_probability(choice.alternatives[0].log_probability, len(token_ids))
            else:
                missing[place] = row.prompt, choice.completion
        if missing and self.cut_short() is None:
            prompts, outputs = zip(*missing.values(), strict=True)
            strength = self.generation.adapter_strength
            with suppress(StoppedError):
                values = mean_probabilities(
                    self.engine, prompts, outputs, adapter_strength=strength, cancel=self.cancel
                )
                known |= dict(zip(missing, values, strict=True))
        return [replace(choice, mean_probability=known.get(place)) for place, choice in enumerate(chosen)]

    def _withholding(self, rows: Sequence[Answered], chosen: Sequence[Chosen]) -> list[Chosen]:
        """Mark answers with less support than `min_support` as withheld; the threshold was not set for an adapter's base."""
        asked, is_alone = {}, self.engine.info.adapter is None
        for place, (row, choice) in enumerate(zip(rows, chosen, strict=True)):
            grounds = self.task.grounds(row.text, row.options, row.template)
            if (
                grounds
                and choice.mean_probability is not None
                and (is_alone or row.prompt.variant != "base")
                and choice.completion.text.strip()
            ):
                asked[place] = grounds, row.prompt.variant, choice.mean_probability
        values: dict[int, float | None] = {}
        if asked and self.cut_short() is None:
            strength = self.generation.adapter_strength
            with suppress(StoppedError):
                support = supports(self.engine, list(asked.values()), adapter_strength=strength, cancel=self.cancel)
                values = dict(zip(asked, support, strict=True))
        unsupported = {
            place for place, value in values.items() if value is not None and value < self.generation.min_support
        }
        return [replace(choice, withheld=place in unsupported) for place, choice in enumerate(chosen)]

    def _kept(self, row: Answered, completion: Completion) -> Completion:
        """Cut the completion to the part that the task keeps; its stop reason becomes "end"."""
        text = self.task.kept(completion.text, row.options)
        if len(text) >= len(completion.text.rstrip()):
            return completion
        spans = self.engine.tokens(completion.token_ids).spans
        count = sum(start < len(text) for start, _ in spans)
        return replace(completion, text=text, token_ids=completion.token_ids[:count], stop_reason="end")
