"""What becomes of what a batch ended with: the choice among the outputs of beams, what else there was, how sure it is."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event

from phi2demo.engine.engine import Completion, Engine, GenerationOptions, Prompt, StopReason
from phi2demo.errors import StoppedError
from phi2demo.tasks.form import Form
from phi2demo.tasks.listing import Choice, Listed, list_outputs
from phi2demo.tasks.reranking import Reversible, choose, preferred, reversible
from phi2demo.tasks.support import supports
from phi2demo.tasks.sureness import mean_probabilities, mean_probability
from phi2demo.tasks.task import AnyTask, TaskOptions


@dataclass(frozen=True)
class Answered:
    """A prompt and how the model went on."""

    text: str
    """The piece that the prompt was made of."""
    options: TaskOptions
    form: Form
    prompt: Prompt
    completion: Completion


@dataclass(frozen=True)
class Chosen:
    """The answer, and what is known of it."""

    completion: Completion
    """What the task keeps of it."""
    alternatives: tuple[Listed, ...] = ()
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
        found = self._by_both_directions(rows, weighed) if weighed else self._listed(rows)
        found = [
            replace(each, completion=self._kept(row, each.completion)) for row, each in zip(rows, found, strict=True)
        ]
        if self.task.has_right_answer:
            found = self._with_probability(rows, found)
        return self._withholding(rows, found) if self.generation.min_support else found

    def _weighed(self, rows: Sequence[Answered]) -> dict[int, Reversible]:
        """Rows that are to be asked back, by their place."""
        if not self.generation.reverse_weight:
            return {}
        asked = {at: reversible(self.task, r.text, r.options, r.form, r.prompt) for at, r in enumerate(rows)}
        return {at: back for at, back in asked.items() if back is not None and rows[at].completion.candidates}

    def _by_both_directions(self, rows: Sequence[Answered], weighed: dict[int, Reversible]) -> list[Chosen]:
        found = [Chosen(self._preferred(row)) for row in rows]
        reason = self.cut_short()
        if reason is None:
            try:
                pairs = [(back, rows[at].completion) for at, back in weighed.items()]
                best = choose(self.engine, pairs, self.generation, cancel=self.cancel)
                seconds = self.seconds()
                for at, (completion, ranked) in zip(weighed, best, strict=True):
                    found[at] = Chosen(replace(completion, seconds=seconds), ranked)
                return found
            except StoppedError:
                reason = "stopped"
        for at in weighed:
            found[at] = Chosen(replace(rows[at].completion, stop_reason=reason))
        return found

    def _listed(self, rows: Sequence[Answered]) -> list[Chosen]:
        """The answers are there, so that nothing is missed where time is up."""
        chosen = [self._preferred(row) for row in rows]
        lists: list[tuple[Listed, ...]] = [() for _ in chosen]
        if self.listing and self.cut_short() is None:
            choices = [Choice.of(self.task, r.options, r.prompt, c) for r, c in zip(rows, chosen, strict=True)]
            with suppress(StoppedError):
                lists = list_outputs(self.engine, choices, self.generation, cancel=self.cancel)
        return [Chosen(*each) for each in zip(chosen, lists, strict=True)]

    def _preferred(self, row: Answered) -> Completion:
        return preferred(self.task, row.text, row.options, row.completion)

    def _with_probability(self, rows: Sequence[Answered], found: Sequence[Chosen]) -> list[Chosen]:
        """Only what was not scored for the choice is scored."""
        known: dict[int, float | None] = {}
        missing: dict[int, tuple[Prompt, Completion]] = {}
        for at, (row, each) in enumerate(zip(rows, found, strict=True)):
            token_ids = each.completion.token_ids
            if each.alternatives and each.alternatives[0].candidate.token_ids == token_ids:
                known[at] = mean_probability(each.alternatives[0].log_probability, len(token_ids))
            else:
                missing[at] = row.prompt, each.completion
        if missing and self.cut_short() is None:
            prompts, outputs = zip(*missing.values(), strict=True)
            strength = self.generation.adapter_strength
            with suppress(StoppedError):
                values = mean_probabilities(
                    self.engine, prompts, outputs, adapter_strength=strength, cancel=self.cancel
                )
                known |= dict(zip(missing, values, strict=True))
        return [replace(each, mean_probability=known.get(at)) for at, each in enumerate(found)]

    def _withholding(self, rows: Sequence[Answered], found: Sequence[Chosen]) -> list[Chosen]:
        """By the support of each answer of an adapter; a base is not known by the same numbers."""
        asked = {}
        for at, (row, each) in enumerate(zip(rows, found, strict=True)):
            grounds = self.task.grounds(row.text, row.options)
            if (
                grounds
                and each.mean_probability is not None
                and row.prompt.use != "base"
                and each.completion.text.strip()
            ):
                asked[at] = grounds, row.prompt.use, each.mean_probability
        values: dict[int, float | None] = {}
        if asked and self.cut_short() is None:
            strength = self.generation.adapter_strength
            with suppress(StoppedError):
                told = supports(self.engine, list(asked.values()), adapter_strength=strength, cancel=self.cancel)
                values = dict(zip(asked, told, strict=True))
        unsupported = {at for at, value in values.items() if value is not None and value < self.generation.min_support}
        return [replace(each, withheld=at in unsupported) for at, each in enumerate(found)]

    def _kept(self, row: Answered, completion: Completion) -> Completion:
        """With the tokens of what is kept; whatever ended the rest, that came to its end."""
        text = self.task.kept(completion.text, row.options)
        if len(text) >= len(completion.text.rstrip()):
            return completion
        spans = self.engine.tokens(completion.token_ids).spans
        count = sum(start < len(text) for start, _ in spans)
        return replace(completion, text=text, token_ids=completion.token_ids[:count], stop_reason="end")
