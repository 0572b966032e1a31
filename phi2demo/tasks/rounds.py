"""Answer a request by generating: rounds of batches over the pieces of its text. Knows nothing of torch."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TypeVar

from phi2demo.engine.engine import MAX_SEED, Completion, Engine, Prompt, Snapshot, StopReason, Use
from phi2demo.tasks.receipt import Receipt, make_receipt
from phi2demo.tasks.task import AnyTask, Budget, Pieces, Progress, Request, Result

BATCH_PIECES = 8
"""Sentences or parts that are generated together, for each use."""
_WORST_FIRST: tuple[StopReason, ...] = ("stopped", "time", "context", "length", "stop string", "end")
_T = TypeVar("_T")
_CUT_SHORT: tuple[StopReason, ...] = ("stopped", "time")


@dataclass
class _Round:
    """What one use has come to in one round."""

    pieces: Pieces
    outputs: list[str] = field(default_factory=list)
    """Cleaned, of the pieces that are done."""
    completions: list[Completion] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    """Cleaned, of the pieces that are running."""

    @property
    def text(self) -> str:
        """So far."""
        return self.pieces.join((*self.outputs, *self.partial))

    @property
    def complete(self) -> bool:
        """Whether every piece was answered to its end."""
        cut_short = any(completion.stop_reason in _CUT_SHORT for completion in self.completions)
        return len(self.completions) == len(self.pieces.texts) and not cut_short


class Rounds:
    """One generating request, checked and with a seed."""

    def __init__(self, engine: Engine, task: AnyTask, request: Request, cancel: Event) -> None:
        self._engine, self._task, self._request, self._cancel = engine, task, request, cancel
        reserved = min(request.generation.max_new_tokens, engine.info.context // 2)
        self._budget = Budget(engine.count_tokens, engine.info.context - reserved, reserved)
        self._started = time.monotonic()
        self._first_token_s: float | None = None
        self._new_tokens = 0
        self._batch_size = 0
        self._done = 0
        """Pieces of the rounds before this one."""
        self._ended: StopReason | None = None
        """Set when time or the person ends it before all pieces are done."""

    def run(self) -> Generator[Progress]:
        """Its progress; the last one holds the results. Closing it closes the engine's stream."""
        pieces = self._task.pieces(self._request.text, self._request.options, self._budget)
        rounds = {use: [_Round(pieces)] for use in self._request.uses}
        active = list(rounds)
        for number in range(len(pieces.texts) + 1):  # every round has fewer pieces than the one before
            with _closing(self._round({use: rounds[use][-1] for use in active}, number)) as steps:
                for done, total, stage in steps:
                    yield self._progress(rounds, done, total, stage)
            active = [use for use in active if self._ended is None and self._next_round(rounds[use])]
            if not active:
                break
        results = tuple(self._result(use, rounds[use]) for use in rounds)
        last = self._progress(rounds, max(1, self._done), max(1, self._done), "Done")
        yield replace(last, texts={result.use: result.text for result in results}, results=results)

    def _next_round(self, rounds: list[_Round]) -> bool:
        pieces = self._task.next_pieces(rounds[-1].outputs, self._request.options, self._budget)
        if pieces is None:
            return False
        rounds.append(_Round(pieces))
        return True

    def _round(self, active: dict[Use, _Round], number: int) -> Generator[tuple[int, int, str]]:
        """Batches of all active uses together; gives pieces done, pieces in all, and the stage in words."""
        size = max(len(current.pieces.texts) for current in active.values())
        total = self._done + size + max(current.pieces.later for current in active.values())
        noun = next(iter(active.values())).pieces.noun
        verb = "Merge" if number else self._task.title
        for start in range(0, size, BATCH_PIECES):
            jobs = [
                (use, index)
                for use, current in active.items()
                for index in range(start, min(start + BATCH_PIECES, len(current.pieces.texts)))
            ]
            stage = f"{verb}: {_span(noun, start + 1, min(start + BATCH_PIECES, size), size)}" if size > 1 else verb
            with _closing(self._batch(active, jobs, number)) as snapshots:
                for snapshot in snapshots:
                    self._take(active, jobs, snapshot)
                    yield self._done + start, total, stage
            if self._ended:
                return
        self._done += size

    def _batch(self, active: dict[Use, _Round], jobs: list[tuple[Use, int]], number: int) -> Generator[Snapshot]:
        options, seed = self._request.generation, self._request.seed or 0
        left = options.time_limit_s - (time.monotonic() - self._started)
        if left <= 0 or self._cancel.is_set():
            self._ended = "stopped" if self._cancel.is_set() else "time"
            return
        prompts = [
            Prompt(
                self._task.prompt(active[use].pieces.texts[index], self._request.options),
                use,
                row_seed(seed, number, index),
            )
            for use, index in jobs
        ]
        self._batch_size = max(self._batch_size, len(prompts))
        before, offset = self._new_tokens, time.monotonic() - self._started
        options = replace(options, time_limit_s=max(1.0, left))
        with _closing(self._engine.stream(prompts, options, cancel=self._cancel)) as stream:
            for snapshot in stream:
                self._new_tokens = before + snapshot.new_tokens
                if self._first_token_s is None and snapshot.first_token_s is not None:
                    self._first_token_s = offset + snapshot.first_token_s
                yield snapshot

    def _take(self, active: dict[Use, _Round], jobs: list[tuple[Use, int]], snapshot: Snapshot) -> None:
        for use, current in active.items():
            rows = [at for at, job in enumerate(jobs) if job[0] == use]
            if snapshot.completions is None:
                current.partial = [self._task.clean(snapshot.texts[at]) for at in rows]
                continue
            completions = [snapshot.completions[at] for at in rows]
            current.partial = []
            current.completions += completions
            current.outputs += [self._task.clean(completion.text) for completion in completions]
            for completion in completions:
                if completion.stop_reason in _CUT_SHORT:
                    self._ended = completion.stop_reason

    def _progress(self, rounds: dict[Use, list[_Round]], done: int, total: int, stage: str) -> Progress:
        texts = {use: _latest(of_use).text for use, of_use in rounds.items()}
        return Progress(texts, done, total, stage, self._new_tokens, time.monotonic() - self._started)

    def _result(self, use: Use, rounds: list[_Round]) -> Result:
        """Of the last round, or of the one before where the last did not come to its end: half a merge loses a half."""
        final = rounds[-1] if rounds[-1].complete or len(rounds) == 1 else rounds[-2]
        completions = [completion for each in rounds for completion in each.completions]
        reasons = {completion.stop_reason for completion in completions}
        if self._ended and not rounds[-1].complete:
            reasons.add(self._ended)
        receipt = make_receipt(
            self._engine.info,
            self._request,
            use=use,
            seed=self._request.seed,
            output=final.text,
            batch_size=self._batch_size,
            prompt_tokens=sum(completion.prompt_tokens for completion in completions),
            new_tokens=sum(len(completion.token_ids) for completion in completions),
            first_token_s=self._first_token_s,
            seconds=time.monotonic() - self._started,
            stop_reason=next(reason for reason in _WORST_FIRST if reason in reasons),
            pieces=len(completions),
        )
        notes = self._task.notes(self._request.text, final.text, self._request.options)
        facts = self._task.facts(self._request.text, final.text)
        raw = tuple(completion.text for completion in final.completions)
        notes = (*notes, *_empty_notes(final), *_ending_notes(receipt, final.pieces.noun))
        return Result(use, final.text, raw, receipt, notes, facts)


def row_seed(seed: int, number: int, index: int) -> int:
    """The seed of one piece of a round: the request's own for the first, others far from it and from each other."""
    return (seed + 0x9E3779B1 * index + 0x85EBCA77 * number) % (MAX_SEED + 1)


@contextmanager
def _closing(items: Iterator[_T]) -> Iterator[Iterator[_T]]:
    """Closes a generator for certain, not whenever it is collected: that is what stops the computing."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


def _latest(rounds: Sequence[_Round]) -> _Round:
    """The last round, or the one before as long as there is nothing to see of the last."""
    return rounds[-1] if len(rounds) == 1 or any((*rounds[-1].outputs, *rounds[-1].partial)) else rounds[-2]


def _span(noun: str, first: int, last: int, total: int) -> str:
    if first == last:
        return f"{noun} {first} of {total}"
    return f"{noun}s {first} to {last} of {total}"


def _empty_notes(final: _Round) -> tuple[str, ...]:
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
        "length": (f"{what} where the limit of new tokens was reached; raise it under Options for more.",),
        "context": (f"{what} where the model's context was full.",),
        "time": ("It ends where the time limit was reached.",),
        "stopped": ("Stopped before it was complete.",),
    }.get(receipt.stop_reason, ())
