"""A small evaluation while somebody watches: with progress, figures so far, a stop, and turns. Knows no page.

Systems, metrics and figures are those of `evaluate`; only the items are fewer.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from threading import Event, Lock
from typing import TypeVar

from phi2demo.data.test_sets import Item
from phi2demo.engine.engine import MAX_SEED, Engine, GenerationOptions, Output, Prompt, Score, Snapshot
from phi2demo.engine.forwarding import ForwardingEngine
from phi2demo.errors import SettingsError, StoppedError, quoted
from phi2demo.evaluation.environment import describe_environment, describe_model
from phi2demo.evaluation.examples import Example
from phi2demo.evaluation.live_samples import ItemSample, LiveRow, Tally
from phi2demo.evaluation.metrics import metrics_for
from phi2demo.evaluation.outputs import SCORED, SYSTEMS, SystemName
from phi2demo.evaluation.report import (
    FORMAT,
    Environment,
    ModelDescription,
    Report,
    RunSettings,
    Slicing,
    TestSetResult,
)
from phi2demo.evaluation.run import compose
from phi2demo.evaluation.slices import describe_slicing
from phi2demo.evaluation.statistics import RESAMPLES, SEED
from phi2demo.evaluation.systems import System, TemplateSystem, make_system
from phi2demo.tasks import TASKS


class Interruptible(ForwardingEngine):
    """An engine that an event stops: a stream that was cut short raises StoppedError instead of giving an answer."""

    def __init__(self, engine: Engine, cancel: Event) -> None:
        super().__init__(engine)
        self._cancel = cancel

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """Stream until the event; the stream ends by itself before the error is raised, as PEFT's hooks need it."""
        self._check()
        yield from super().stream(prompts, options, cancel=self._cancel)
        self._check()

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """Score until the event."""
        self._check()
        return super().score(prompts, outputs, adapter_strength=adapter_strength, cancel=self._cancel)

    def _check(self) -> None:
        if self._cancel.is_set():
            raise StoppedError("Stopped.")


CHARACTERS_PER_TOKEN = 4
READING = 0.1
"""The cost of a character that is read, relative to one that is written."""


class DurationEstimator:
    """Seconds per unit of work by kind of item and system. Runs may share it."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], tuple[float, float]] = {}
        self._lock = Lock()

    def knows(self, system: System) -> bool:
        """Say whether answers of such a system were timed before."""
        return _key(system) in self._spent

    def add(self, system: System, items: Sequence[Item], seconds: float) -> None:
        """Learn from answers that took `seconds` together; later ones count more, because the first are single trials."""
        with self._lock:
            work, spent = self._spent.get(_key(system), (0.0, 0.0))
            self._spent[_key(system)] = (work / 2 + self.work(system, items), spent / 2 + seconds)

    def seconds(self, system: System, items: Sequence[Item]) -> float:
        """Estimate the seconds for some items."""
        work, spent = self._spent[_key(system)]
        return spent / work * self.work(system, items)

    def work(self, system: System, items: Sequence[Item]) -> float:
        """Estimate the work in characters to write: those of the reference, or up to the limit for a base asked by template."""
        return sum(READING * len(system.prompt(item)) + self._written(system, item) for item in items)

    def _written(self, system: System, item: Item) -> float:
        if system.test_set.kind in SCORED or TASKS[system.test_set.task].labels:
            return 0.0
        if isinstance(system, TemplateSystem) and system.variant == "base":
            return float(CHARACTERS_PER_TOKEN * system.generation.max_new_tokens)
        return float(max(map(len, item.references)))


def _key(system: System) -> tuple[str, str]:
    return system.test_set.kind, f"{type(system).__name__} {getattr(system, 'variant', 'base')}"


BATCH_SIZE = 4
"""Small, so that the first figures come soon."""
T = TypeVar("T")

HEARTBEAT_S = 0.1
"""How often a run yields while it waits, so that it can be stopped or closed."""


@dataclass(frozen=True)
class LiveSettings:
    """The settings of a live run."""

    systems: tuple[SystemName, ...] = ("finetuned", "base_plain")
    seed: int = SEED
    """For the resamples, and for answers of tasks that sample."""
    resamples: int = RESAMPLES
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        if not self.systems or any(system not in SYSTEMS for system in self.systems):
            raise SettingsError(
                f"The systems are {quoted(list(self.systems))}; give at least one of {', '.join(SYSTEMS)}."
            )
        for name, low, high in (("resamples", 100, 10_000), ("batch_size", 1, 64), ("seed", 0, MAX_SEED)):
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a whole number from {low} to {high:,}.")


@dataclass(frozen=True)
class LiveResult:
    """The result of a run, whether it was stopped or not."""

    report: Report
    rows: tuple[LiveRow, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class LiveProgress:
    """One step of a run."""

    test_set: str
    system: SystemName
    """The system that is asked now."""
    done: int
    total: int
    """Answers in all."""
    seconds: float
    seconds_left: float | None
    """None until it can be estimated."""
    rows: tuple[LiveRow, ...] = ()
    """The answers so far."""
    partial: tuple[TestSetResult, ...] = ()
    """Scores without intervals, of the items that every system has answered."""
    result: LiveResult | None = None
    """Only in the last step."""
    stopped: bool = False
    """Whether the run ended early; its partial result comes in the step after the first one with this flag."""
    paused: bool = False
    """Whether this turn is over but the run is not: call `steps` again."""


@dataclass(frozen=True)
class _Job:
    """One batch for one system."""

    tally: Tally
    name: SystemName
    system: System
    items: tuple[Item, ...]


class LiveRun:
    """One run. It may be computed in turns, so that other visitors are served in between."""

    def __init__(
        self,
        engine: Engine,
        samples: Sequence[ItemSample],
        settings: LiveSettings,
        *,
        durations: DurationEstimator | None = None,
    ) -> None:
        """Prepare a run; raises SettingsError where there are no items or systems. Nothing is asked yet."""
        if not samples:
            raise SettingsError("There are no items. Choose at least one task.")
        self._engine, self._settings = engine, settings
        self._durations = durations if durations is not None else DurationEstimator()
        self._cancel = threading.Event()
        names = [name for name in SYSTEMS if name in settings.systems and (name != "finetuned" or engine.info.adapter)]
        if not names:
            raise SettingsError("No adapter is loaded, so there is no finetuned model. Choose a base system.")
        interruptible = Interruptible(engine, self._cancel)
        self._tallies = [_tally(interruptible, sample, names, settings.seed) for sample in samples]
        self._jobs = _in_turn([_batches(tally, settings.batch_size) for tally in self._tallies])
        self._environment: Environment | None = None
        self._done = 0
        self._seconds = 0.0
        self._latest = self._progress()

    @property
    def done(self) -> int:
        """The number of answers so far."""
        return self._done

    @property
    def total(self) -> int:
        """The number of answers of the whole run."""
        return sum(len(job.items) for job in self._jobs)

    def estimate(self) -> Generator[float | None]:
        """Estimate the seconds that the run takes: the last value; None while a trial runs.

        A system that was never timed on such items is tried on its shortest item. Closing the iterator ends the trial
        within a second.
        """
        for job in self._jobs[self._done :]:
            if not self._durations.knows(job.system):
                shortest = partial(self._durations.work, job.system)
                item = min(job.tally.sample.items, key=lambda item: shortest([item]))
                started = time.monotonic()
                for _ in self._beside(partial(job.system.answer, [item])):
                    yield None
                self._durations.add(job.system, [item], time.monotonic() - started)
        yield self._seconds_left()

    def steps(self, *, cancel: threading.Event | None = None, at_most_s: float | None = None) -> Iterator[LiveProgress]:
        """Ask the remaining items. The last progress holds the result, or says that the turn of `at_most_s` is over.

        Setting `cancel` ends the run within a second with the figures so far; closing the iterator ends it without.
        Raises StoppedError where it was stopped before anything could be compared.
        """
        began = time.monotonic()
        if self._environment is None:
            self._environment = yield from self._watched(self._prepare, cancel)
        while self._done < len(self._jobs) and not (cancel and cancel.is_set()):
            if at_most_s is not None and time.monotonic() - began >= at_most_s:
                yield replace(self._latest, paused=True)
                return
            job, started = self._jobs[self._done], time.monotonic()
            try:
                answers = yield from self._watched(partial(job.system.answer, job.items), cancel)
            except StoppedError:
                break
            seconds = time.monotonic() - started
            job.tally.add(job.name, job.items, answers, seconds)
            self._durations.add(job.system, job.items, seconds)
            self._seconds += seconds
            self._done += 1
            self._latest = self._progress()
            yield self._latest
        stopped = self._done < len(self._jobs)
        if stopped and self._latest.partial:  # the figures take a moment, so say first that it stopped
            yield replace(self._latest, stopped=True, seconds_left=None)
        yield replace(self._latest, result=self.result(), stopped=stopped, seconds_left=None)

    def result(self) -> LiveResult:
        """Compute the figures so far; StoppedError where nothing can be compared yet."""
        answered = [tally for tally in self._tallies if tally.common]
        if not answered:
            raise StoppedError("Stopped before anything was answered, so there are no figures. Run again for some.")
        settings = self._settings
        report = Report(
            format=FORMAT,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=RunSettings(**asdict(settings), live=True, complete=self._done == len(self._jobs)),
            slicing=Slicing.model_validate(describe_slicing()),
            test_sets=tuple(tally.result(resamples=settings.resamples, seed=settings.seed) for tally in answered),
            skipped=(),
            model=ModelDescription.model_validate(describe_model(self._engine)),
            environment=self._environment or Environment(**describe_environment()),
        )
        return LiveResult(report, self._rows(), tuple(example for tally in answered for example in tally.examples()))

    def _prepare(self) -> Environment:
        """Describe the environment, and import the metrics, which takes seconds the first time."""
        for tally in self._tallies:
            metrics_for(tally.sample.test_set.kind, [item.references for item in tally.sample.items])
        return Environment(**describe_environment())

    def _watched(self, ask: Callable[[], T], cancel: threading.Event | None) -> Generator[LiveProgress, None, T]:
        """Return what `ask` returns, and yield progress meanwhile; StoppedError where the engine was cancelled."""
        started, steps = time.monotonic(), self._beside(ask)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
            if cancel is not None and cancel.is_set():
                self._cancel.set()
            spent, left = time.monotonic() - started, self._latest.seconds_left
            now = replace(self._progress(counted=False), seconds=self._seconds + spent)
            yield replace(now, seconds_left=None if left is None else max(left - spent, 0.0))

    def _beside(self, ask: Callable[[], T]) -> Generator[None, None, T]:
        """Return what `ask` returns, computed in its own thread, and yield now and then."""
        self._cancel.clear()
        pool = ThreadPoolExecutor(1, thread_name_prefix="evaluate")
        future: Future[T] = pool.submit(ask)
        try:
            while not wait([future], timeout=HEARTBEAT_S).done:
                yield
            return future.result()
        finally:
            self._cancel.set()
            pool.shutdown(wait=True)

    def _progress(self, *, counted: bool = True) -> LiveProgress:
        """Describe where the run is; without `counted`, with the rows and figures of the last time."""
        job = self._jobs[min(self._done, len(self._jobs) - 1)]
        if not counted:
            return replace(self._latest, test_set=job.tally.sample.test_set.name, system=job.name)
        results = (tally.partial() for tally in self._tallies)
        rows = self._rows()
        return LiveProgress(
            test_set=job.tally.sample.test_set.name,
            system=job.name,
            done=len(rows),
            total=self.total,
            seconds=self._seconds,
            seconds_left=self._seconds_left(),
            rows=rows,
            partial=tuple(result for result in results if result is not None),
        )

    def _rows(self) -> tuple[LiveRow, ...]:
        return tuple(row for tally in self._tallies for row in tally.rows)

    def _seconds_left(self) -> float | None:
        rest = self._jobs[self._done :]
        if not all(self._durations.knows(job.system) for job in rest):
            return None
        return sum(self._durations.seconds(job.system, job.items) for job in rest)


def _tally(engine: Engine, sample: ItemSample, names: Sequence[SystemName], seed: int) -> Tally:
    systems = {name: make_system(name, engine, sample.test_set, seed=seed) for name in names}
    return Tally(sample, {name: system for name, system in systems.items() if system is not None})


def _batches(tally: Tally, size: int) -> list[list[_Job]]:
    """Make the jobs of a test set: each batch for all of its systems."""
    if not tally.systems:
        return []
    items = tally.sample.items
    first = replace(next(iter(tally.systems.values())), test_set=tally.sample.part(items))
    return [
        [_Job(tally, name, system, tuple(items[index] for index in batch)) for name, system in tally.systems.items()]
        for batch in compose(first, len(items), size=size)
    ]


def _in_turn(queues: Sequence[Sequence[Sequence[_Job]]]) -> list[_Job]:
    """Take a batch of every test set, then the next of each: a run that is stopped has some answers to every test set."""
    longest = max(map(len, queues), default=0)
    return [job for turn in range(longest) for queue in queues if turn < len(queue) for job in queue[turn]]
