"""The way of a request: prompts -> engine -> cleaned text, notes and receipt. Knows nothing of torch or of the page."""

import math
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from threading import Event
from typing import Any

from phi2demo import __version__
from phi2demo.engine.engine import (
    MAX_SEED,
    Completion,
    Engine,
    GenerationOptions,
    Prompt,
    Snapshot,
    StopReason,
    Use,
)
from phi2demo.errors import InputError, ModelError, SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.task import AnyTask, Budget, Pieces, Progress, Request, Result

BATCH_PIECES = 8
"""Sentences or parts that are generated together."""
_WORST_FIRST: tuple[StopReason, ...] = ("stopped", "time", "context", "length", "stop string", "end")


def run(engine: Engine, request: Request, *, cancel: Event | None = None) -> Iterator[Progress]:
    """Answer a request; the last Progress holds the results.

    Setting `cancel` ends it with what there is, closing the iterator ends it without. Raises InputError and
    SettingsError before any model is asked.
    """
    task = task_named(request.task)
    request = task.check(request)
    for use in request.uses:
        if use not in engine.info.uses:
            raise SettingsError(
                f"There is no {use} model here: no adapter is loaded. Choose base, or start with --adapter."
            )
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        raise SettingsError(f"The seed is {request.seed}; give a whole number from 0 to {MAX_SEED}.")
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    if task.labels:
        yield from _classify(engine, task, request, seed)
    else:
        yield from _Generation(engine, task, request, seed, cancel or Event()).run()


def answer(engine: Engine, request: Request) -> tuple[Result, ...]:
    """The results of `run`, without its progress."""
    *_, last = run(engine, request)
    assert last.results is not None
    return last.results


def task_named(name: str) -> AnyTask:
    """The task of a name; SettingsError where there is none."""
    if name not in TASKS:
        raise SettingsError(f"There is no task {name!r}; choose one of {', '.join(TASKS)}.")
    return TASKS[name]


def request_of(receipt: Receipt) -> Request:
    """The request that a receipt was given for; InputError where its options are not this version's."""
    task = task_named(receipt.task)
    try:
        generation = dict(receipt.generation)
        generation["stop"] = tuple(text for text in generation.get("stop", ()) if text not in task.stop)
        return Request(
            task=receipt.task,
            text=receipt.text,
            options=task.options_type(**receipt.options),
            generation=GenerationOptions(**generation),
            uses=(receipt.use,),
            seed=receipt.seed,
        )
    except TypeError as error:
        raise InputError(f"The receipt's options do not fit this version: {error}.") from error


def replay(engine: Engine, receipt: Receipt) -> Iterator[Progress]:
    """Answer a receipt's request again; ModelError where another model is loaded than the one it names."""
    info = engine.info
    loaded = (info.base_revision, info.adapter_revision if receipt.use == "finetuned" else receipt.adapter_revision)
    if loaded != (receipt.base_revision, receipt.adapter_revision):
        raise ModelError(
            f"The receipt is of {receipt.base} {receipt.base_revision} with adapter {receipt.adapter} "
            f"{receipt.adapter_revision}; loaded are {info.base} {info.base_revision} and {info.adapter} "
            f"{info.adapter_revision}. Start with those to replay it."
        )
    yield from run(engine, request_of(receipt))


@dataclass
class _Row:
    """What one use has come to in this round."""

    pieces: Pieces
    completions: list[Completion] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    all_completions: list[Completion] = field(default_factory=list)


class _Generation:
    """One generating request: rounds of batches over pieces."""

    def __init__(self, engine: Engine, task: AnyTask, request: Request, seed: int, cancel: Event) -> None:
        self._engine, self._task, self._request, self._seed, self._cancel = engine, task, request, seed, cancel
        context = engine.info.context
        reserved = min(request.generation.max_new_tokens, context // 2)
        self._budget = Budget(engine.count_tokens, context - reserved)
        self._started = time.monotonic()
        self._first_token_s: float | None = None
        self._new_tokens = 0
        self._batch_size = 0
        self._ended: StopReason | None = None
        """Set when time or the person ends it before all pieces are done."""

    def run(self) -> Iterator[Progress]:
        pieces = self._task.pieces(self._request.text, self._request.options, self._budget)
        rows = {use: _Row(pieces) for use in self._request.uses}
        active, rounds = list(rows), 0
        while active:
            yield from self._round(rows, active, rounds)
            active = [use for use in active if self._ended is None and self._next_round(rows[use])]
            rounds += 1
        results = tuple(self._result(use, rows[use]) for use in rows)
        yield replace(self._progress(rows, 1, 1, "Done"), texts={r.use: r.text for r in results}, results=results)

    def _next_round(self, row: _Row) -> bool:
        outputs = [self._task.clean(completion.text) for completion in row.completions]
        following = self._task.next_pieces(outputs, self._request.options, self._budget)
        if following is None:
            return False
        row.pieces, row.completions = following, []
        return True

    def _round(self, rows: dict[Use, _Row], active: Sequence[Use], rounds: int) -> Iterator[Progress]:
        total = max(len(rows[use].pieces.texts) for use in active)
        noun = rows[active[0]].pieces.noun
        verb = {0: self._task.title}.get(rounds, "Merge")
        for start in range(0, total, BATCH_PIECES):
            jobs = [
                (use, index)
                for use in active
                for index in range(start, min(start + BATCH_PIECES, len(rows[use].pieces.texts)))
            ]
            stage = f"{verb}: {noun} {start + 1} of {total}" if total > 1 else verb
            for snapshot in self._batch(rows, jobs, rounds):
                self._take(rows, jobs, snapshot)
                yield self._progress(rows, start, total, stage)
            if self._ended:
                return

    def _batch(self, rows: dict[Use, _Row], jobs: list[tuple[Use, int]], rounds: int) -> Iterator[Snapshot]:
        options = self._request.generation
        left = options.time_limit_s - (time.monotonic() - self._started)
        if left <= 0 or self._cancel.is_set():
            self._ended = "time" if left <= 0 else "stopped"
            return
        prompts = [
            Prompt(
                self._task.prompt(rows[use].pieces.texts[index], self._request.options),
                use,
                row_seed(self._seed, rounds, index),
            )
            for use, index in jobs
        ]
        self._batch_size = max(self._batch_size, len(prompts))
        before, offset = self._new_tokens, time.monotonic() - self._started
        stream = self._engine.stream(prompts, replace(options, time_limit_s=max(1.0, left)), cancel=self._cancel)
        for snapshot in stream:
            self._new_tokens = before + snapshot.new_tokens
            if self._first_token_s is None and snapshot.first_token_s is not None:
                self._first_token_s = offset + snapshot.first_token_s
            yield snapshot

    def _take(self, rows: dict[Use, _Row], jobs: list[tuple[Use, int]], snapshot: Snapshot) -> None:
        for use in {use for use, _ in jobs}:
            rows[use].partial = [snapshot.texts[at] for at, job in enumerate(jobs) if job[0] == use]
        if snapshot.completions is None:
            return
        for (use, _), completion in zip(jobs, snapshot.completions, strict=True):
            rows[use].completions.append(completion)
            rows[use].all_completions.append(completion)
            rows[use].partial = []
            if completion.stop_reason in ("time", "stopped"):
                self._ended = completion.stop_reason

    def _progress(self, rows: dict[Use, _Row], done: int, total: int, stage: str) -> Progress:
        texts = {use: self._text(row) for use, row in rows.items()}
        return Progress(texts, done, total, stage, self._new_tokens, time.monotonic() - self._started)

    def _text(self, row: _Row) -> str:
        outputs = [self._task.clean(text) for text in (*(c.text for c in row.completions), *row.partial)]
        return row.pieces.join(outputs)

    def _result(self, use: Use, row: _Row) -> Result:
        text = self._text(row)
        reasons = {completion.stop_reason for completion in row.all_completions} | ({self._ended} - {None})
        receipt = make_receipt(
            self._engine,
            self._request,
            use=use,
            seed=self._seed,
            output=text,
            batch_size=self._batch_size,
            prompt_tokens=sum(completion.prompt_tokens for completion in row.all_completions),
            new_tokens=sum(len(completion.token_ids) for completion in row.all_completions),
            first_token_s=self._first_token_s,
            seconds=time.monotonic() - self._started,
            stop_reason=next(reason for reason in _WORST_FIRST if reason in reasons),
            pieces=len(row.all_completions),
        )
        notes = self._task.notes(self._request.text, text, self._request.options) + _ending_notes(receipt)
        facts = self._task.facts(self._request.text, text)
        return Result(use, text, tuple(c.text for c in row.completions), receipt, notes, facts)


def _classify(engine: Engine, task: AnyTask, request: Request, seed: int) -> Iterator[Progress]:
    """Choose the label of highest probability; the probabilities are a softmax over the labels' log-probabilities."""
    started = time.monotonic()
    yield Progress(dict.fromkeys(request.uses, ""), 0, 1, task.title, 0, 0.0)
    budget = Budget(engine.count_tokens, engine.info.context - request.generation.max_new_tokens)
    (text,) = task.pieces(request.text, request.options, budget).texts
    prompts = [Prompt(task.prompt(text, request.options), use, seed) for use in request.uses for _ in task.labels]
    scores = engine.score(prompts, [f" {label}" for _ in request.uses for label in task.labels])
    results = []
    for at, use in enumerate(request.uses):
        totals = [score.total for score in scores[at * len(task.labels) : (at + 1) * len(task.labels)]]
        weights = [math.exp(total - max(totals)) for total in totals]
        probabilities = {label: w / sum(weights) for label, w in zip(task.labels, weights, strict=True)}
        best = max(task.labels, key=probabilities.__getitem__)
        receipt = make_receipt(
            engine,
            request,
            use=use,
            seed=seed,
            output=best,
            batch_size=len(prompts),
            prompt_tokens=engine.count_tokens(prompts[0].text),
            new_tokens=0,
            first_token_s=None,
            seconds=time.monotonic() - started,
            stop_reason="end",
            pieces=1,
        )
        facts = (", ".join(f"{label} {share:.1%}" for label, share in probabilities.items()),)
        results.append(Result(use, best, (f" {best}",), receipt, facts=facts, probabilities=probabilities))
    texts = {result.use: result.text for result in results}
    yield Progress(texts, 1, 1, "Done", 0, time.monotonic() - started, tuple(results))


def make_receipt(engine: Engine, request: Request, *, seconds: float, new_tokens: int, **measured: Any) -> Receipt:
    """A receipt of what was asked, with the loaded model's own description."""
    info = engine.info
    return Receipt(
        task=request.task,
        text=request.text,
        options=asdict(request.options),
        generation=asdict(request.generation) | {"stop": list(request.generation.stop)},
        base=info.base,
        base_revision=info.base_revision,
        adapter=info.adapter,
        adapter_revision=info.adapter_revision,
        device=info.device,
        dtype=info.dtype,
        versions={"phi2demo": __version__} | {name: version(name) for name in ("torch", "transformers", "peft")},
        new_tokens=new_tokens,
        seconds=round(seconds, 3),
        tokens_per_s=round(new_tokens / seconds, 1) if seconds > 0 else 0.0,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **measured,
    )


def row_seed(seed: int, rounds: int, index: int) -> int:
    """The seed of one piece: the request's own for the first, others far from it and from each other."""
    return (seed + 0x9E3779B1 * index + 0x85EBCA77 * rounds) % (MAX_SEED + 1)


def _ending_notes(receipt: Receipt) -> tuple[str, ...]:
    """Why an output may be incomplete."""
    return {
        "length": ("It ends where the limit of new tokens was reached; raise it under Options for more.",),
        "context": ("It ends where the model's context was full.",),
        "time": ("It ends where the time limit was reached.",),
        "stopped": ("Stopped before it was complete.",),
    }.get(receipt.stop_reason, ())
