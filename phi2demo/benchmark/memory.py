"""Answer many mixed requests with our engine and with `transformers` and PEFT, and compare the memory of both.

Each side runs in a process of its own, and may start more, which count too. The readings after loading, at a third of the
requests and at the end show whether memory grows.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from multiprocessing import get_context
from typing import TYPE_CHECKING

from phi2demo.benchmark.setup import (
    Comparison,
    check_count,
    describe_engine,
    describe_machine,
    describe_model,
    generate_by_transformers,
    load_peer,
    shipped_rows,
)
from phi2demo.engine.planning import plan
from phi2demo.settings import ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import read_variant_tasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.task import CheckedRequest

if TYPE_CHECKING:
    from phi2demo.engine.engine import ModelInfo

FILES = {
    "generation": "reviews_and_moods.test.jsonl",
    "translation": "everyday.en-de.test.jsonl",
    "summarization": "summaries.test.jsonl",
    "sentiment": "reviews_and_moods.test.jsonl",
    "question_answering": "questions.test.jsonl",
}
"""The shipped texts that each task is asked about."""
NEW_TOKENS = 48
"""Most new tokens of an answer."""


@dataclass(frozen=True)
class Reading:
    """The resident memory after some requests."""

    requests: int
    mb: float


@dataclass(frozen=True)
class Side:
    """The readings of one side: after loading, after a third of the requests, at the end."""

    readings: tuple[Reading, ...]
    model: str
    engine: str
    device: str


@dataclass(frozen=True, kw_only=True)
class MemoryComparison(Comparison):
    """Resident memory at the end, in megabytes."""

    requests: int
    ours_readings: tuple[Reading, ...]
    peer_readings: tuple[Reading, ...]
    ours_growth: float
    """Megabytes from a third of the requests to the end."""
    peer_growth: float

    def table(self) -> list[str]:
        """See `Comparison.table`."""
        lines = [f"{'requests':>8}{'theirs MB':>12}{'ours MB':>10}"]
        lines += [
            f"{ours.requests:>8}{peer.mb:>12.0f}{ours.mb:>10.0f}"
            for ours, peer in zip(self.ours_readings, self.peer_readings, strict=True)
        ]
        return lines


def compare(
    settings: ModelSettings, *, requests: int = 300, report: Callable[[str], None] = lambda line: None
) -> MemoryComparison:
    """Measure each side in a process of its own. Raises SettingsError where there are no requests."""
    check_count("--requests", requests)
    sides = []
    for name, measure in (("ours", measure_ours), ("peer", measure_peer)):
        sides.append(_in_its_own_process(measure, settings, requests))
        readings = (f"{reading.mb:.0f} MB after {reading.requests}" for reading in sides[-1].readings)
        report(f"{name}: {', '.join(readings)}")
    ours, peer = sides
    ours_mb, peer_mb = ours.readings[-1].mb, peer.readings[-1].mb
    return MemoryComparison(
        ratio=peer_mb / ours_mb,
        ours=ours_mb,
        peer=peer_mb,
        unit="MB",
        repeats=1,
        model=ours.model,
        engine=ours.engine,
        machine=describe_machine(ours.device),
        requests=requests,
        ours_readings=ours.readings,
        peer_readings=peer.readings,
        ours_growth=ours_mb - ours.readings[1].mb,
        peer_growth=peer_mb - peer.readings[1].mb,
    )


def _in_its_own_process(measure: Callable[[ModelSettings, int], Side], settings: ModelSettings, requests: int) -> Side:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, settings, requests).result()


def measure_ours(settings: ModelSettings, requests: int) -> Side:
    """Answer as the page and the commands do."""
    from phi2demo.engine.process import load_engine

    engine = load_engine(plan(settings))
    assistant = Assistant(engine, read_variant_tasks(engine.info))
    return _measure(engine.info, settings, requests, assistant.answer)


def measure_peer(settings: ModelSettings, requests: int) -> Side:
    """Generate from the same prompts, with as many beams; a label is one token."""
    loaded = load_peer(settings)

    def answer(checked: CheckedRequest) -> object:
        request = checked.request
        options = replace(request.generation, max_new_tokens=1) if checked.task.labels else request.generation
        return generate_by_transformers(loaded, [checked.prompt(request.text, request.variants[0])], options)

    return _measure(loaded.info, settings, requests, answer)


def _measure(
    info: "ModelInfo", settings: ModelSettings, requests: int, answer: Callable[[CheckedRequest], object]
) -> Side:
    mixed = mixed_requests(info, quantized=settings.quantize != "none")
    readings = [Reading(0, resident_mb())]
    for number in (requests // 3, requests - requests // 3):
        for checked in islice(mixed, number):
            answer(checked)
        readings.append(Reading(readings[-1].requests + number, resident_mb()))
    return Side(tuple(readings), describe_model(info), describe_engine(info), info.device)


def resident_mb() -> float:
    """Return the resident memory of this process and of those that it has started."""
    import psutil

    process = psutil.Process()
    processes = [process, *process.children(recursive=True)]
    return float(sum(each.memory_info().rss for each in processes) / 1e6)


def mixed_requests(info: "ModelInfo", *, quantized: bool) -> Iterator[CheckedRequest]:
    """Yield requests of the five tasks in turn, without end, with the decoding that the adapter declares.

    A quantized model does not combine penalties with beams, and then has one beam.
    """
    variants = info.variants[:1]
    adapter_tasks = read_variant_tasks(info).of(variants)
    rows = {task: shipped_rows(file) for task, file in FILES.items()}
    for number in count():
        for task, texts in rows.items():
            text, options = TASKS[task].from_row(texts[number % len(texts)])
            generation = replace(adapter_tasks.generation(task), max_new_tokens=NEW_TOKENS)
            if quantized and (generation.repetition_penalty > 1 or generation.no_repeat_ngram_size):
                generation = replace(generation, num_beams=1)
            yield check(Request(task, text, options, generation, variants, seed=number))
