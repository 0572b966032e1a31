"""A small evaluation while somebody watches: progress, figures so far, stop, and turns with others. Knows no page.

Forms, metrics and figures are those of `evaluate`; only the items are fewer.
"""

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from threading import Event, Lock
from typing import TypeVar

from phi2demo.data.test_sets import Item, TestSet
from phi2demo.engine.engine import MAX_SEED, Engine, GenerationOptions, Output, Prompt, Score, Snapshot
from phi2demo.engine.forwarding import ForwardingEngine
from phi2demo.errors import SettingsError, StoppedError
from phi2demo.evaluation.environment import describe_environment, describe_model
from phi2demo.evaluation.examples import Example
from phi2demo.evaluation.figures import ItemSample, LiveRow, Tally
from phi2demo.evaluation.metrics import metrics_for
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
from phi2demo.evaluation.systems import SCORED, SYSTEMS, System, SystemName, make_system


class Interruptible(ForwardingEngine):
    """Gives the event to `engine` with all it is asked; a stream that was cut short is a StoppedError, no answer."""

    def __init__(self, engine: Engine, cancel: Event) -> None:
        super().__init__(engine)
        self._cancel = cancel

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """The stream ends by itself before the error is raised, as PEFT's hooks need it."""
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
        """Broken off by the event, too."""
        self._check()
        return super().score(prompts, outputs, adapter_strength=adapter_strength, cancel=self._cancel)

    def _check(self) -> None:
        if self._cancel.is_set():
            raise StoppedError("Stopped.")


CHARACTERS_PER_TOKEN = 4
READING = 0.1
"""What a character that is read costs, against one that is written."""


class DurationEstimator:
    """Seconds per unit of work by kind of item and by form. May be shared by runs."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], tuple[float, float]] = {}
        self._lock = Lock()

    def knows(self, system: System) -> bool:
        """Whether such answers were timed before."""
        return _key(system) in self._spent

    def add(self, system: System, items: Sequence[Item], seconds: float) -> None:
        """Answers that took so long together; later ones count more, for they are many and the first are trials."""
        with self._lock:
            work, spent = self._spent.get(_key(system), (0.0, 0.0))
            self._spent[_key(system)] = (work / 2 + self.work(system, items), spent / 2 + seconds)

    def seconds(self, system: System, items: Sequence[Item]) -> float:
        """What these will take."""
        work, spent = self._spent[_key(system)]
        return spent / work * self.work(system, items)

    def work(self, system: System, items: Sequence[Item]) -> float:
        """In characters to write: of the answer that is wanted, or, of a base in the template, up to the limit."""
        return sum(READING * len(system.prompt(item)) + self._written(system, item) for item in items)

    def _written(self, system: System, item: Item) -> float:
        if system.test_set.kind in (*SCORED, "sentiment"):
            return 0.0
        if _key(system)[1] == "TemplateForm base":
            return float(CHARACTERS_PER_TOKEN * system.generation.max_new_tokens)
        return float(max(map(len, item.references)))


def _key(system: System) -> tuple[str, str]:
    return system.test_set.kind, f"{type(system).__name__} {getattr(system, 'use', 'base')}"


MAX_ITEMS = 100
BATCH_SIZE = 4
"""Small, so that something is seen soon."""
T = TypeVar("T")

HEARTBEAT_S = 0.1
"""How often a silent run gives sign of life, so that it can be stopped and its reader be closed."""


@dataclass(frozen=True)
class LiveSettings:
    """How a live run asks."""

    systems: tuple[SystemName, ...] = ("finetuned", "base_plain")
    seed: int = SEED
    """Of the resamples, and of answers where a task samples."""
    resamples: int = RESAMPLES
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        if not self.systems or any(system not in SYSTEMS for system in self.systems):
            raise SettingsError(f"The systems are {list(self.systems)!r}; give at least one of {', '.join(SYSTEMS)}.")
        for name, low, high in (("resamples", 100, 10_000), ("batch_size", 1, 64), ("seed", 0, MAX_SEED)):
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a whole number from {low} to {high:,}.")


@dataclass(frozen=True)
class LiveResult:
    """What a run came to, whether it was stopped or not."""

    report: Report
    rows: tuple[LiveRow, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class LiveProgress:
    """One step of a run."""

    test_set: str
    system: SystemName
    """What is asked now."""
    done: int
    total: int
    """Answers."""
    seconds: float
    seconds_left: float | None
    """None until it can be told."""
    rows: tuple[LiveRow, ...] = ()
    """So far."""
    partial: tuple[TestSetResult, ...] = ()
    """Scores without intervals, of the items that every system has answered."""
    result: LiveResult | None = None
    """Only in the last step."""
    stopped: bool = False
    """Whether it ended early; the result, of a part only, comes in the step after the first that says so."""
    paused: bool = False
    """Whether this turn is over and the run is not: call `steps` again."""


@dataclass(frozen=True)
class _Job:
    """One batch in one form."""

    tally: Tally
    name: SystemName
    system: System
    items: tuple[Item, ...]


def draw(test_sets: Sequence[TestSet], count: int, *, seed: int = SEED) -> list[ItemSample]:
    """`count` items, as evenly as can be over tasks, and within a task over its measures; in a measure at random."""
    if not 1 <= count <= MAX_ITEMS:
        raise SettingsError(f"The number of items is {count}; give a whole number from 1 to {MAX_ITEMS}.")
    chance = random.Random(seed)
    left = {test_set.name: chance.sample(test_set.items, len(test_set.items)) for test_set in test_sets}
    drawn: dict[str, list[Item]] = {test_set.name: [] for test_set in test_sets}
    tasks = list(dict.fromkeys(test_set.task for test_set in test_sets))
    while count and any(left.values()):
        for task in tasks:
            open_ones = [test_set.name for test_set in test_sets if test_set.task == task and left[test_set.name]]
            if open_ones and count:
                name = min(open_ones, key=lambda name: len(drawn[name]))
                drawn[name].append(left[name].pop())
                count -= 1
    return [
        ItemSample(test_set, tuple(sorted(drawn[test_set.name], key=lambda item: item.index)))
        for test_set in test_sets
        if drawn[test_set.name]
    ]


class LiveRun:
    """One run. It may be taken on in turns, so that others who want the model are served in between."""

    def __init__(
        self,
        engine: Engine,
        drawn: Sequence[ItemSample],
        settings: LiveSettings,
        *,
        durations: DurationEstimator | None = None,
    ) -> None:
        """SettingsError where there is nothing to ask; nothing is asked yet."""
        if not drawn:
            raise SettingsError("There are no items to ask. Choose at least one task.")
        self._engine, self._settings = engine, settings
        self._durations = durations if durations is not None else DurationEstimator()
        self._cancel = threading.Event()
        names = [name for name in SYSTEMS if name in settings.systems and (name != "finetuned" or engine.info.adapter)]
        if not names:
            raise SettingsError(
                "No adapter is loaded, so there is no finetuned model to ask. Choose a form of the base."
            )
        interruptible = Interruptible(engine, self._cancel)
        self._tallies = [_tally(interruptible, each, names, settings.seed) for each in drawn]
        self._jobs = _in_turn([_batches(tally, settings.batch_size) for tally in self._tallies])
        self._environment: Environment | None = None
        self._done = 0
        self._seconds = 0.0
        self._latest = self._progress()

    @property
    def done(self) -> int:
        """How many answers there are."""
        return self._done

    @property
    def total(self) -> int:
        """How many answers there will be."""
        return sum(len(job.items) for job in self._jobs)

    def estimate(self) -> Generator[float | None]:
        """Seconds that the run takes, as the last value; None while it tries.

        Where a form of a kind was never timed here, its shortest item is asked first, alone: batches are faster.
        Closing the iterator ends it within a second.
        """
        for job in self._jobs[self._done :]:
            if not self._durations.knows(job.system):
                shortest = partial(self._durations.work, job.system)
                item = min(job.tally.drawn.items, key=lambda one: shortest([one]))
                started = time.monotonic()
                for _ in self._beside(partial(job.system.answer, [item])):
                    yield None
                self._durations.add(job.system, [item], time.monotonic() - started)
        yield self._seconds_left()

    def steps(self, *, cancel: threading.Event | None = None, at_most_s: float | None = None) -> Iterator[LiveProgress]:
        """Ask what is missing. The last progress holds the result, or says that the turn of `at_most_s` is over.

        Setting `cancel` ends it within a second with the figures of what was answered, closing the iterator without.
        StoppedError where it was stopped before there was anything to compare.
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
            job.tally.keep(job.name, job.items, answers, seconds)
            self._durations.add(job.system, job.items, seconds)
            self._seconds += seconds
            self._done += 1
            self._latest = self._progress()
            yield self._latest
        stopped = self._done < len(self._jobs)
        if stopped and self._latest.partial:  # the figures take a moment: say first that it stopped
            yield replace(self._latest, stopped=True, seconds_left=None)
        yield replace(self._latest, result=self.result(), stopped=stopped, seconds_left=None)

    def result(self) -> LiveResult:
        """The figures of what was answered so far; StoppedError where nothing can be compared yet."""
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
        """The environment; what measures is imported on the way, which takes seconds the first time."""
        for tally in self._tallies:
            metrics_for(tally.drawn.test_set.kind, [item.references for item in tally.drawn.items])
        return Environment(**describe_environment())

    def _watched(self, ask: Callable[[], T], cancel: threading.Event | None) -> Generator[LiveProgress, None, T]:
        """What `ask` gives, with signs of life meanwhile; StoppedError where the engine was cancelled."""
        started, steps = time.monotonic(), self._beside(ask)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: T = end.value
                return found
            if cancel is not None and cancel.is_set():
                self._cancel.set()
            spent, left = time.monotonic() - started, self._latest.seconds_left
            now = replace(self._progress(counted=False), seconds=self._seconds + spent)
            yield replace(now, seconds_left=None if left is None else max(left - spent, 0.0))

    def _beside(self, ask: Callable[[], T]) -> Generator[None, None, T]:
        """What `ask` gives, computed in a thread of its own, with a pause for the reader now and then."""
        self._cancel.clear()
        pool = ThreadPoolExecutor(1, thread_name_prefix="evaluate")
        asked: Future[T] = pool.submit(ask)
        try:
            while not wait([asked], timeout=HEARTBEAT_S).done:
                yield
            return asked.result()
        finally:
            self._cancel.set()
            pool.shutdown(wait=True)

    def _progress(self, *, counted: bool = True) -> LiveProgress:
        """Where the run is; without `counted` with the rows and figures of the last time."""
        job = self._jobs[min(self._done, len(self._jobs) - 1)]
        if not counted:
            return replace(self._latest, test_set=job.tally.drawn.test_set.name, system=job.name)
        results = (tally.partial() for tally in self._tallies)
        rows = self._rows()
        return LiveProgress(
            test_set=job.tally.drawn.test_set.name,
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


def _tally(engine: Engine, drawn: ItemSample, names: Sequence[SystemName], seed: int) -> Tally:
    systems = {name: make_system(name, engine, drawn.test_set, seed=seed) for name in names}
    return Tally(drawn, {name: system for name, system in systems.items() if system is not None})


def _batches(tally: Tally, size: int) -> list[list[_Job]]:
    """Each batch of a measure in all of its forms."""
    if not tally.systems:
        return []
    items = tally.drawn.items
    first = replace(next(iter(tally.systems.values())), test_set=tally.drawn.part(items))
    return [
        [_Job(tally, name, system, tuple(items[at] for at in batch)) for name, system in tally.systems.items()]
        for batch in compose(first, len(items), size=size)
    ]


def _in_turn(queues: Sequence[Sequence[Sequence[_Job]]]) -> list[_Job]:
    """A batch of every measure, then the next one of every measure: a run that is stopped has something of each."""
    longest = max(map(len, queues), default=0)
    return [job for turn in range(longest) for queue in queues if turn < len(queue) for job in queue[turn]]
