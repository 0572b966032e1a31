"""Answer a request by generating: passes over the pieces of its text, in batches. Knows nothing of torch."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TypeVar

from phi2demo.engine.engine import MAX_SEED, RANGES, Completion, Engine, Prompt, Snapshot, StopReason, Variant
from phi2demo.tasks.candidates import Answered, Chooser
from phi2demo.tasks.receipt import Receipt, make_receipt
from phi2demo.tasks.result import Alternative, Progress, Result
from phi2demo.tasks.task import CheckedRequest, Pieces, prompt_limit_of

CUT_SHORT: tuple[StopReason, ...] = ("stopped", "time")
"""The reasons that end a whole request, not a piece alone."""


@dataclass
class Pass:
    """The answers of one variant in one pass over the pieces of a text."""

    pieces: Pieces
    outputs: list[str] = field(default_factory=list)
    """Cleaned, of the pieces that are done."""
    completions: list[Completion] = field(default_factory=list)
    alternatives: list[tuple[Alternative, ...]] = field(default_factory=list)
    """Of the pieces that are done."""
    probabilities: list[float | None] = field(default_factory=list)
    """Of the pieces that are done."""
    withheld: list[bool] = field(default_factory=list)
    """Of the pieces that are done: whether the text supports the answer too little for it to be given."""
    partial: list[str] = field(default_factory=list)
    """Cleaned, of the pieces that are running."""

    @property
    def text(self) -> str:
        """So far."""
        return self.pieces.join((*self.outputs, *self.partial))

    @property
    def complete(self) -> bool:
        """Whether every piece was answered to its end."""
        cut_short = any(completion.stop_reason in CUT_SHORT for completion in self.completions)
        return len(self.completions) == len(self.pieces.texts) and not cut_short


@dataclass(eq=False)
class GenerationState:
    """How far one variant has come with one request."""

    asked: CheckedRequest
    variant: Variant
    passes: list[Pass]
    seconds: float = 0.0
    """From the start of all to its newest answer."""

    @property
    def current(self) -> Pass:
        """The pass that is running."""
        return self.passes[-1]

    @property
    def text(self) -> str:
        """The text of the current pass, or of the one before as long as the current one has no text."""
        seen = len(self.passes) == 1 or any((*self.current.outputs, *self.current.partial))
        return self.passes[-1 if seen else -2].text

    @property
    def final(self) -> Pass:
        """The last pass, or the one before if the last is not complete: half a merge would lose the other half."""
        return self.passes[-1 if self.current.complete or len(self.passes) == 1 else -2]


BATCH_PIECES = 8
"""Sentences, parts or requests that are generated together, for each variant."""
CHOSEN_TOGETHER = 8
"""Rows whose candidates are scored together."""
_WORST_FIRST: tuple[StopReason, ...] = ("stopped", "time", "context", "length", "loop", "stop string", "end")
_T = TypeVar("_T")


class RequestRunner:
    """One generating request, or several that differ in text, task options and seed alone."""

    def __init__(
        self, engine: Engine, requests: Sequence[CheckedRequest], cancel: Event, *, lists_alternatives: bool = True
    ) -> None:
        """`lists_alternatives` is as in `Assistant`."""
        self._engine, self._requests, self._cancel = engine, requests, cancel
        task, first = requests[0].task, requests[0].request
        self._task, self._generation, self._variants = task, first.generation, first.variants
        assert all(
            (checked.request.generation, checked.request.variants) == (first.generation, first.variants)
            for checked in requests
        )
        self._budget = prompt_limit_of(engine, task, self._generation, requests[0].templates.longest(self._variants))
        self._pieces_at_once = max(1, BATCH_PIECES // len(requests))
        self._chooser = Chooser(
            engine,
            task,
            self._generation,
            cancel,
            self._cut_short,
            lambda: self._seconds - self._batch_at,
            lists_alternatives,
        )
        self._started = time.monotonic()
        self._first_token_s: float | None = None
        self._batch_at = 0.0
        """Seconds after the start at which the batch that runs began."""
        self._new_tokens = 0
        self._batch_size = 0
        self._done = 0
        """Pieces of the passes before this one."""
        self._ended: StopReason | None = None
        """Set when time or the person ends it before all pieces are done."""

    def run(self) -> Generator[Progress]:
        """Progress of the first request; the last one holds the results of all. Closing it closes the engine's stream."""
        states: list[GenerationState] = []
        for asked in self._requests:
            pieces = self._task.pieces(asked.read.text, asked.read.options, self._budget)
            states += [GenerationState(asked, variant, [Pass(pieces)]) for variant in self._variants]
        active, shown = states, states[: len(self._variants)]
        most = max(len(state.current.pieces.texts) for state in states)
        for number in range(most + 1):  # every pass has fewer pieces than the one before
            with _closing(self._pass(active, number)) as steps:
                for done, total, stage in steps:
                    yield self._progress(shown, done, total, stage)
            active = [state for state in active if self._ended is None and self._next_pass(state)]
            if not active:
                break
        results = tuple(map(self._result, states))
        last = self._progress(shown, max(1, self._done), max(1, self._done), "Done")
        yield replace(last, texts={state.variant: state.final.text for state in shown}, results=results)

    def _next_pass(self, state: GenerationState) -> bool:
        pieces = self._task.next_pieces(state.current.outputs, state.asked.read.options, self._budget)
        if pieces is None:
            return False
        state.passes.append(Pass(pieces))
        return True

    def _pass(self, active: Sequence[GenerationState], number: int) -> Generator[tuple[int, int, str]]:
        """Answer one pass of all active states together; yields pieces done, pieces in all, and the stage in words."""
        all_pieces = [state.current.pieces for state in active]
        size = max(len(pieces.texts) for pieces in all_pieces)
        total = self._done + size + max(pieces.later for pieces in all_pieces)
        verb = "Merge" if number else self._task.title
        for start in range(0, size, self._pieces_at_once):
            end = min(start + self._pieces_at_once, size)
            jobs = [
                (state, index) for state in active for index in range(start, min(end, len(state.current.pieces.texts)))
            ]
            stage = f"{verb}: {_span(all_pieces[0].noun, start + 1, end, size)}" if size > 1 else verb
            with _closing(self._batch(jobs, number)) as snapshots:
                for snapshot in snapshots:
                    self._take(jobs, snapshot)
                    yield self._done + start, total, stage
            if self._ended:
                return
        self._done += size

    def _batch(self, jobs: Sequence[tuple[GenerationState, int]], number: int) -> Generator[Snapshot]:
        self._ended = self._cut_short()
        if self._ended:
            return
        prompts = [self._prompt(state, number, index) for state, index in jobs]
        self._batch_size = max(self._batch_size, len(prompts))
        before, offset = self._new_tokens, self._seconds
        self._batch_at = offset
        low, high = RANGES["time_limit_s"]
        options = replace(self._generation, time_limit_s=min(max(low, self._left_s), high))
        with _closing(self._engine.stream(prompts, options, cancel=self._cancel)) as stream:
            for snapshot in stream:
                self._new_tokens = before + snapshot.new_tokens
                if self._first_token_s is None and snapshot.first_token_s is not None:
                    self._first_token_s = offset + snapshot.first_token_s
                if snapshot.completions is None:
                    yield snapshot
                else:
                    yield from self._chosen(jobs, prompts, snapshot, snapshot.completions)

    def _chosen(
        self,
        jobs: Sequence[tuple[GenerationState, int]],
        prompts: Sequence[Prompt],
        last: Snapshot,
        searched: Sequence[Completion],
    ) -> Generator[Snapshot]:
        """`last` with what was chosen among the candidates of each row, and signs of life while that takes time."""
        completions: list[Completion] = []
        rows = [
            Answered(
                state.current.pieces.texts[index],
                state.asked.read.options,
                state.asked.template(state.variant),
                prompt,
                completion,
            )
            for (state, index), prompt, completion in zip(jobs, prompts, searched, strict=True)
        ]
        for start in range(0, len(rows), CHOSEN_TOGETHER):
            part = slice(start, start + CHOSEN_TOGETHER)
            chosen = self._chooser.choose(rows[part])
            for (state, _), choice in zip(jobs[part], chosen, strict=True):
                state.current.alternatives.append(choice.alternatives)
                state.current.probabilities.append(choice.mean_probability)
                state.current.withheld.append(choice.withheld)
            completions += [choice.completion for choice in chosen]
            if any(choice.alternatives for choice in chosen):
                yield replace(last, completions=None)
        yield replace(last, completions=tuple(completions))

    def _cut_short(self) -> StopReason | None:
        """Why nothing more is to be computed."""
        if self._cancel.is_set():
            return "stopped"
        return "time" if self._left_s <= 0 else None

    @property
    def _left_s(self) -> float:
        """Of the time limit of all requests."""
        return self._generation.time_limit_s * len(self._requests) - self._seconds

    def _prompt(self, state: GenerationState, number: int, index: int) -> Prompt:
        asked, variant = state.asked, state.variant
        without = ""
        if self._generation.guidance_scale > 1:
            without = self._task.without(asked.read.options, asked.template(variant))
        seed = row_seed(asked.request.seed or 0, number, index)
        text = asked.prompt(state.current.pieces.texts[index], variant)
        return Prompt(text, variant, seed, asked.stop(variant), without)

    def _take(self, jobs: Sequence[tuple[GenerationState, int]], snapshot: Snapshot) -> None:
        for state in {id(state): state for state, _ in jobs}.values():
            rows, current = [row for row, job in enumerate(jobs) if job[0] is state], state.current
            if snapshot.completions is None:
                texts = (self._task.kept(snapshot.texts[row], state.asked.request.options) for row in rows)
                current.partial = [self._task.clean(text) for text in texts]
                continue
            completions = [snapshot.completions[row] for row in rows]
            ends = [completion.seconds for completion in completions]
            known = [end for end in ends if end is not None]
            state.seconds = self._batch_at + max(known) if len(known) == len(ends) else self._seconds
            current.partial = []
            current.completions += completions
            withheld = current.withheld[-len(completions) :]
            current.outputs += [
                self._task.no_answer if hidden else self._task.clean(completion.text)
                for completion, hidden in zip(completions, withheld, strict=True)
            ]
            for completion in completions:
                if completion.stop_reason in CUT_SHORT:
                    self._ended = completion.stop_reason

    def _progress(self, shown: Sequence[GenerationState], done: int, total: int, stage: str) -> Progress:
        texts = {state.variant: state.text for state in shown}
        return Progress(texts, done, total, stage, self._new_tokens, self._seconds)

    @property
    def _seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def _result(self, state: GenerationState) -> Result:
        request, read, final = state.asked.request, state.asked.read, state.final
        completions = [completion for one_pass in state.passes for completion in one_pass.completions]
        reasons = {completion.stop_reason for completion in completions}
        if self._ended and not state.current.complete:
            reasons.add(self._ended)
        receipt = make_receipt(
            self._engine.info,
            request,
            variant=state.variant,
            prompt_style=state.asked.prompt_style(state.variant),
            template=state.asked.template(state.variant),
            prompt=state.asked.prompt(state.passes[0].pieces.texts[0], state.variant),
            output=final.text,
            batch_size=self._batch_size,
            prompt_tokens=sum(completion.prompt_tokens for completion in completions),
            new_tokens=sum(len(completion.token_ids) for completion in completions),
            first_token_s=self._first_token_s,
            seconds=state.seconds,
            stop_reason=next(reason for reason in _WORST_FIRST if reason in reasons),
            pieces=len(completions),
        )
        withheld = " ".join(
            self._task.clean(completion.text)
            for completion, hidden in zip(final.completions, final.withheld, strict=True)
            if hidden
        )
        about = (
            (f"The model would have answered “{withheld}”, but the text does not support that.",)
            if withheld
            else self._task.notes(read.text, final.text, request.options)
        )
        notes = (*self._task.reading_notes(request), *about)
        facts = self._task.facts(read.text, final.text)
        raw = tuple(completion.text for completion in final.completions)
        notes = (*notes, *_empty_notes(final), *_ending_notes(receipt, final.pieces.noun))
        token_ids = tuple(completion.token_ids for completion in final.completions)
        return Result(
            state.variant,
            final.text,
            raw,
            receipt,
            notes,
            facts,
            token_ids=token_ids,
            alternatives=tuple(final.alternatives),
            piece_probabilities=tuple(final.probabilities) if self._task.has_right_answer else (),
            withheld=withheld,
        )


def row_seed(seed: int, number: int, index: int) -> int:
    """Return the seed of one piece of a pass: the request's own for the first, others far from it and from each other."""
    return (seed + 0x9E3779B1 * index + 0x85EBCA77 * number) % (MAX_SEED + 1)


@contextmanager
def _closing(items: Iterator[_T]) -> Iterator[Iterator[_T]]:
    """Closes a generator for certain, not whenever it is collected: that is what stops the computing."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


def _span(noun: str, first: int, last: int, total: int) -> str:
    if first == last:
        return f"{noun} {first} of {total}"
    return f"{noun}s {first} to {last} of {total}"


def _empty_notes(final: Pass) -> tuple[str, ...]:
    """What the model left unanswered."""
    empty, total = final.outputs.count(""), len(final.outputs)
    if not empty or not final.complete:
        return ()
    if total == 1:
        return ("The model gave an empty answer.",)
    return (f"The model gave an empty answer to {empty} of {total} {final.pieces.noun}s.",)


def _ending_notes(receipt: Receipt, noun: str) -> tuple[str, ...]:
    """Why an output may be incomplete."""
    what = "It ends" if receipt.pieces == 1 else f"At least one {noun} ends"
    return {
        "length": (f"{what} where the limit of new tokens was reached; raise it (Options, or --max-new-tokens).",),
        "context": (f"{what} where the model's context was full.",),
        "loop": (f"{what} where the model began to repeat itself over and over.",),
        "time": ("It ends where the time limit was reached.",),
        "stopped": ("Stopped before it was complete.",),
    }.get(receipt.stop_reason, ())
