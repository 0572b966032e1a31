"""What becomes of what a batch ended with: the choice among the outputs of beams, what else there was, how sure it is."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event

from phi2demo.engine.engine import Candidate, Completion, Engine, GenerationOptions, Output, Prompt, StopReason
from phi2demo.errors import InputError, StoppedError
from phi2demo.tasks.confidence import mean_probabilities, mean_probability, supports
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.result import Alternative
from phi2demo.tasks.task import AnyTask
from phi2demo.tasks.templates import Template

WHOLE = ("end", "stop string")
"""Why an output ended that came to its end."""


def by_text(candidates: Sequence[Candidate], shown: Callable[[str], str]) -> dict[str, Candidate]:
    """Those that came to their end, by what is shown of them, where that is anything; of equal ones the likeliest."""
    candidates_by_text: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.stop_reason in WHOLE and (text := shown(candidate.text)):
            candidates_by_text.setdefault(text, candidate)
    return candidates_by_text


@dataclass(frozen=True)
class Choice:
    """A prompt, its outputs that differ once cleaned, and the answer that was chosen among them."""

    prompt: Prompt
    outputs: Mapping[str, Candidate]
    chosen: Completion

    @classmethod
    def of(cls, task: AnyTask, options: TaskOptions, prompt: Prompt, completion: Completion) -> "Choice":
        """Of the candidates that came to their end, the likeliest of equal ones.

        Of none where there are not two, or where the answer itself was cut short.
        """
        outputs = by_text(completion.candidates, lambda output: task.clean(task.kept(output, options)))
        chosen = any(candidate.token_ids == completion.token_ids for candidate in outputs.values())
        return cls(prompt, outputs if chosen and len(outputs) > 1 else {}, completion)

    def alternatives(self, totals: Sequence[float]) -> tuple[Alternative, ...]:
        """With the log-probabilities of the outputs: the chosen one first, then the likeliest."""
        alternatives = [
            Alternative(candidate, text, total)
            for (text, candidate), total in zip(self.outputs.items(), totals, strict=True)
        ]
        alternatives.sort(
            key=lambda other: (other.candidate.token_ids != self.chosen.token_ids, -other.log_probability)
        )
        return tuple(alternatives)


def list_outputs(
    engine: Engine, choices: Sequence[Choice], options: GenerationOptions, *, cancel: Event | None = None
) -> list[tuple[Alternative, ...]]:
    """What each answer was chosen among, all scored together with the options' `adapter_strength`.

    Nothing where there is no choice, or it does not fit the context. Raises StoppedError within a second of `cancel`.
    """
    prompts = [choice.prompt for choice in choices for _ in choice.outputs]
    outputs: list[Output] = [candidate.token_ids for choice in choices for candidate in choice.outputs.values()]
    if not prompts:
        return [() for _ in choices]
    try:
        scores = iter(engine.score(prompts, outputs, adapter_strength=options.adapter_strength, cancel=cancel))
    except InputError:  # a long text with a long answer: it was answered, so it is no error of the person's
        if len(choices) == 1:
            return [()]
        return [
            alternatives
            for choice in choices
            for alternatives in list_outputs(engine, [choice], options, cancel=cancel)
        ]
    return [choice.alternatives([next(scores).total for _ in choice.outputs]) for choice in choices]


LENGTH_SHARE = 0.7
"""Of what a token costs; this and the next were chosen with the `reverse_weight` of translation, on the same held-out pairs."""
COPY_COST = 1.0
"""Penalty in nats for each copied word."""
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


def preferred(task: AnyTask, text: str, options: TaskOptions, completion: Completion) -> Completion:
    """Replace the completion by the finished candidate that the task prefers, if there is one.

    Free text has none: a likelier one that was cut at a limit is no worse.
    """
    whole = [candidate for candidate in completion.candidates if candidate.stop_reason in WHOLE]
    if not whole or not task.has_right_answer:
        return completion
    return _put(
        completion, whole[task.preferred(text, [task.clean(task.kept(candidate.text, options)) for candidate in whole])]
    )


def reversible(task: AnyTask, text: str, options: TaskOptions, template: Template, prompt: Prompt) -> Reversible | None:
    """Return how the same variant is asked to translate back, by the same template; None where the task has no way back."""
    reverse = task.reverse(options)
    if reverse is None:
        return None
    return Reversible(
        prompt, text, task.clean, lambda output: Prompt(task.prompt(output, reverse, template), prompt.variant)
    )


def choose(
    engine: Engine,
    answers: Sequence[tuple[Reversible, Completion]],
    options: GenerationOptions,
    *,
    cancel: Event | None = None,
) -> list[tuple[Completion, tuple[Ranked, ...]]]:
    """Of each completion the best of its candidates in its place, and all of them as `rank` gives them."""
    asked = [(text, completion.candidates) for text, completion in answers]
    return [
        (_put(completion, ranked[0].candidate), ranked) if ranked else (completion, ())
        for (_, completion), ranked in zip(answers, rank(engine, asked, options, cancel=cancel), strict=True)
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
    candidate_sets = [_CandidateSet.of(*pair) for pair in asked]
    rows = [row for candidate_set in candidate_sets for row in candidate_set.rows()]
    if not rows:
        return [() for _ in asked]
    try:
        prompts, outputs = map(list, zip(*rows, strict=True))
        scores = iter(engine.score(prompts, outputs, adapter_strength=options.adapter_strength, cancel=cancel))
    except InputError:  # a long text with a long answer: it was answered, so it is no error of the person's
        if len(asked) == 1:
            return [()]
        return [ranked for pair in asked for ranked in rank(engine, [pair], options, cancel=cancel)]
    return [
        candidate_set.decided([next(scores).total for _ in candidate_set.rows()], options.reverse_weight)
        for candidate_set in candidate_sets
    ]


@dataclass(frozen=True)
class _CandidateSet:
    """Candidates of one text, by what they are once cleaned; none where there are not two."""

    asked: Reversible
    candidates: Mapping[str, Candidate]

    @classmethod
    def of(cls, asked: Reversible, candidates: Sequence[Candidate]) -> "_CandidateSet":
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
        words, ranked = _words(self.asked.text), []
        for (text, candidate), forward, back in zip(
            self.candidates.items(), totals[:count], totals[count:], strict=True
        ):
            beside = bonus * len(candidate.token_ids) - COPY_COST * len(words & _words(text))
            ranked.append(Ranked(candidate, text, forward, back, forward + weight * back + beside))
        return tuple(sorted(ranked, key=lambda candidate: -candidate.score))


def _put(completion: Completion, chosen: Candidate) -> Completion:
    return replace(completion, text=chosen.text, token_ids=chosen.token_ids, stop_reason=chosen.stop_reason)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


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
        weighed = self._weighed(rows)
        answers = self._by_both_directions(rows, weighed) if weighed else self._with_alternatives(rows)
        answers = [
            replace(answer, completion=self._kept(row, answer.completion))
            for row, answer in zip(rows, answers, strict=True)
        ]
        if self.task.has_right_answer:
            answers = self._with_probability(rows, answers)
        return self._withholding(rows, answers) if self.generation.min_support else answers

    def _weighed(self, rows: Sequence[Answered]) -> dict[int, Reversible]:
        """Rows that are to be asked back, by their place."""
        if not self.generation.reverse_weight:
            return {}
        asked = {
            place: reversible(self.task, row.text, row.options, row.template, row.prompt)
            for place, row in enumerate(rows)
        }
        return {place: back for place, back in asked.items() if back is not None and rows[place].completion.candidates}

    def _by_both_directions(self, rows: Sequence[Answered], weighed: dict[int, Reversible]) -> list[Chosen]:
        chosen = [Chosen(self._preferred(row)) for row in rows]
        reason = self.cut_short()
        if reason is None:
            try:
                pairs = [(back, rows[place].completion) for place, back in weighed.items()]
                best = choose(self.engine, pairs, self.generation, cancel=self.cancel)
                seconds = self.seconds()
                for place, (completion, ranked) in zip(weighed, best, strict=True):
                    chosen[place] = Chosen(replace(completion, seconds=seconds), ranked)
                return chosen
            except StoppedError:
                reason = "stopped"
        for place in weighed:
            chosen[place] = Chosen(replace(rows[place].completion, stop_reason=reason))
        return chosen

    def _with_alternatives(self, rows: Sequence[Answered]) -> list[Chosen]:
        """The answers are there, so that nothing is missed where time is up."""
        chosen = [self._preferred(row) for row in rows]
        lists: list[tuple[Alternative, ...]] = [() for _ in chosen]
        if self.listing and self.cut_short() is None:
            choices = [Choice.of(self.task, r.options, r.prompt, c) for r, c in zip(rows, chosen, strict=True)]
            with suppress(StoppedError):
                lists = list_outputs(self.engine, choices, self.generation, cancel=self.cancel)
        return [Chosen(*pair) for pair in zip(chosen, lists, strict=True)]

    def _preferred(self, row: Answered) -> Completion:
        return preferred(self.task, row.text, row.options, row.completion)

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
        """Mark an adapter's answers with less support than `min_support` as withheld. The threshold was not set for the base."""
        asked = {}
        for place, (row, choice) in enumerate(zip(rows, chosen, strict=True)):
            grounds = self.task.grounds(row.text, row.options, row.template)
            if (
                grounds
                and choice.mean_probability is not None
                and row.prompt.variant != "base"
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
