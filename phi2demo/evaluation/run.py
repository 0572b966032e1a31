"""Evaluate a model on a folder of data: ask every item of every system, score the answers, write the report."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from phi2demo.data.contamination import Contamination, ItemLabels
from phi2demo.data.documents import split_sentences
from phi2demo.data.files import write_atomically
from phi2demo.data.test_sets import EvaluationSplit, Skipped, TestSet, read_test_sets, select
from phi2demo.engine.engine import Engine, visible
from phi2demo.errors import DataError, SettingsError, listed, quoted
from phi2demo.evaluation.environment import describe_environment, describe_model, measure_speed, package_versions
from phi2demo.evaluation.figures import Scored, result_of
from phi2demo.evaluation.hub_data import HubData
from phi2demo.evaluation.outputs import SCORED, SYSTEMS, OutputFile, SystemName, digest
from phi2demo.evaluation.processes import ALONE, Processes, run_lock
from phi2demo.evaluation.report import (
    FORMAT,
    Environment,
    ModelDescription,
    Report,
    RunSettings,
    SkippedSet,
    Slicing,
    Speed,
    TestSetResult,
)
from phi2demo.evaluation.reports import known_test_sets
from phi2demo.evaluation.slices import describe_slicing
from phi2demo.evaluation.statistics import RESAMPLES, SEED, Resamples
from phi2demo.evaluation.systems import System, check_rows, confidences_in, make_system
from phi2demo.settings import SHIPPED_SET
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, read_variant_tasks


@dataclass(frozen=True)
class Job:
    """One system asked the items of one test set, and the file for its answers."""

    test_set: TestSet
    system: System
    name: SystemName
    path: Path
    prompts_hash: str
    """Of all that the answers depend on."""
    batches: Sequence[Sequence[int]]

    def open(self, processes: Processes = ALONE) -> OutputFile:
        """Read the answers so far; see `OutputFile` for what each process writes."""
        return OutputFile(self.path, prompts_hash=self.prompts_hash, batches=self.batches, part=processes.index)

    def cost(self, batch: Sequence[int]) -> int:
        """Count the characters that the model reads for a batch, for the progress bar."""
        return sum(len(self.system.prompt(self.test_set.items[index])) + 1 for index in batch)


def make_jobs(
    engine: Engine,
    test_sets: Sequence[TestSet],
    names: Sequence[SystemName],
    *,
    output: Path,
    seed: int,
    batch_size: int,
) -> list[Job]:
    """Make a job for each test set and each of the systems that it has."""
    jobs = []
    for test_set in test_sets:
        for name in names:
            system = make_system(name, engine, test_set, seed=seed)
            if system is not None:
                prompts_hash = _hash_prompts(system, name, batch_size=batch_size)
                batches = compose(system, len(test_set.items), size=batch_size)
                path = output / "outputs" / f"{test_set.name}.{name}.jsonl"
                jobs.append(Job(test_set, system, name, path, prompts_hash, batches))
    return jobs


def compose(system: System, items: int, *, size: int) -> list[list[int]]:
    """Group the indexes of items into batches of prompts of similar length, longest first."""
    lengths = [len(system.prompt(item)) for item in system.test_set.items]
    order = sorted(range(items), key=lambda index: (-lengths[index], index))
    return [order[start : start + size] for start in range(0, items, size)]


def ask(jobs: Sequence[Job], processes: Processes) -> None:
    """Answer this process's share of the missing batches, with a progress bar over the characters to read.

    All processes open the files before any of them writes, so that all see the same batches missing.
    """
    from tqdm import tqdm

    files = [job.open(processes) for job in jobs]
    processes.wait()
    missing = [(job, file, batch) for job, file in zip(jobs, files, strict=True) for batch in file.missing]
    mine = processes.share(missing)
    total = sum(job.cost(batch) for job in jobs for batch in job.batches) // processes.count
    todo = sum(job.cost(batch) for job, _, batch in mine)
    interval_s = 0.2 if sys.stderr.isatty() else 20.0
    with tqdm(
        total=max(total, todo),
        initial=max(total - todo, 0),
        file=sys.stderr,
        unit="char",
        unit_scale=True,
        mininterval=interval_s,
        disable=not processes.first,
    ) as bar:
        for job, file, batch in mine:
            bar.set_description(f"{job.test_set.name} {job.name}", refresh=False)
            started = time.monotonic()
            job.system.engine.forget()  # else the last digits of scores depend on what this process scored before
            answers = job.system.answer([job.test_set.items[index] for index in batch])
            file.add(batch, answers, time.monotonic() - started)
            bar.update(job.cost(batch))


def _hash_prompts(system: System, name: SystemName, *, batch_size: int) -> str:
    info = system.engine.info
    return digest(
        {
            "prompts": [visible(system.prompt(item)) for item in system.test_set.items],
            "generation": asdict(system.generation),
            "model": [info.base_revision, info.adapter_revision if name == "finetuned" else None],
            "place": [info.device, info.dtype, info.engine, package_versions()],
            "seed": system.seed,
            "batch_size": batch_size,
            "answer": "bits characters tokens" if system.test_set.kind in SCORED else "text probability",
        }
    )


REPORT = "report.json"
BATCH_SIZE = 32


@dataclass(frozen=True)
class EvaluationSettings:
    """The settings of an evaluation."""

    data: Path
    """Folder of JSON-lines files."""
    output: Path
    """Folder for the report and the answers; a run that was killed continues there."""
    hub: HubData | None = None
    """The data set of the hub that was read into `data`."""
    split: EvaluationSplit = "test"
    limit: int | None = None
    """At most this many rows of each data set, from the first on; None for all."""
    test_sets: tuple[str, ...] = ()
    """Names such as translation.tatoeba.en-de; all where neither test sets nor tasks are given."""
    tasks: tuple[str, ...] = ()
    """Keys of TASKS, and `prose`."""
    systems: tuple[SystemName, ...] = SYSTEMS
    batch_size: int = BATCH_SIZE
    """Items that are computed together; on one CPU core more than 16 gained nothing."""
    seed: int = SEED
    """For the resamples, and for answers of tasks that sample."""
    resamples: int = RESAMPLES
    """For the bootstrap."""
    baselines: bool = True
    """Also score what a summary has to beat: the first sentence of its document."""
    contamination: bool = True
    """Also look the items up in the training and validation files of the data folder."""

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("batch_size", 1), ("resamples", 100), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}; give a whole number of at least {least}.")
        if self.output.resolve().is_relative_to(self.data.resolve()):
            raise SettingsError(
                f"The output folder {self.output} lies in {self.data}, where answers would be read as data. Give one "
                "outside it."
            )
        if unknown := [system for system in self.systems if system not in SYSTEMS]:
            raise SettingsError(f"There is no system {quoted(unknown[0])}; choose from {', '.join(SYSTEMS)}.")


def evaluate(
    engine: Engine, settings: EvaluationSettings, *, weights: Mapping[str, str], processes: Processes = ALONE
) -> Report:
    """Ask, score, write `report.json`, and return the report.

    `weights` are the SHA-256 hashes of the weight files, by name. Of several processes the first calls this function and
    each further one `assist`. Raises DataError for files that cannot be used, SettingsError where the output folder is in
    use or holds answers to other prompts or options.
    """
    plan = _plan(engine, settings)
    with run_lock(settings.output) as lock:
        for job in plan.jobs:
            job.open()  # joins what earlier runs left, whatever their number of processes
        if processes.count > 1:
            lock.share()
        processes.wait()
        ask(plan.jobs, processes)
        processes.wait()
        report = Report(
            format=FORMAT,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=_settings(settings),
            slicing=Slicing.model_validate(describe_slicing()),
            test_sets=_results(settings, plan),
            skipped=tuple(SkippedSet(**asdict(skipped)) for skipped in plan.skipped),
            model=ModelDescription.model_validate(describe_model(engine) | {"weights_sha256": dict(weights)}),
            environment=Environment(**describe_environment(), processes=processes.count),
            speed=Speed(**measure_speed(engine)),
        )
        write_atomically(settings.output / REPORT, report.to_json())
    return report


def assist(engine: Engine, settings: EvaluationSettings, *, processes: Processes) -> None:
    """Answer the share of a process that is not the first, which scores and reports nothing."""
    plan = _plan(engine, settings)
    processes.wait()
    with run_lock(settings.output, joining=True):
        ask(plan.jobs, processes)
        processes.wait()


@dataclass(frozen=True)
class _Plan:
    """The test sets of a run and its jobs."""

    test_sets: Sequence[TestSet]
    skipped: Sequence[Skipped]
    jobs: Sequence[Job]


def _plan(engine: Engine, settings: EvaluationSettings) -> _Plan:
    test_sets, skipped = read_test_sets(settings.data, split=settings.split, limit=settings.limit)
    test_sets = select(test_sets, names=settings.test_sets, tasks=settings.tasks)
    if settings.data == SHIPPED_SET and not (settings.test_sets or settings.tasks):
        shipped, test_sets = test_sets, _known(test_sets, read_variant_tasks(engine.info).first)
        why = "the model was not finetuned for the task or the languages"
        skipped += [Skipped(test_set.name, why) for test_set in shipped if test_set not in test_sets]
    unknown = [test_set for test_set in test_sets if test_set.task not in (*TASKS, "prose")]
    skipped += [Skipped(test_set.name, "the adapter's tasks.json does not declare the task") for test_set in unknown]
    test_sets = [test_set for test_set in test_sets if test_set not in unknown]
    if unknown and not test_sets:
        raise DataError(
            f"The rows of {settings.data} are of {listed(sorted({test_set.task for test_set in unknown}))}, which the "
            f"model's tasks.json does not declare; it has {listed(TASKS)}. Give other data, or the adapter with that task."
        )
    for test_set in test_sets:
        check_rows(test_set)
        try:
            result_of(test_set, n=len(test_set.items), figures=())
        except ValueError as error:
            raise DataError(
                f"The name of the file {quoted(test_set.file.name)} cannot stand in a report: it is too long or has control "
                "characters. Rename the file."
            ) from error
    names = [
        system for system in SYSTEMS if system in settings.systems and (system != "finetuned" or engine.info.adapter)
    ]
    jobs = make_jobs(
        engine, test_sets, names, output=settings.output, seed=settings.seed, batch_size=settings.batch_size
    )
    return _Plan(test_sets, skipped, jobs)


def _known(shipped: Sequence[TestSet], adapter_tasks: AdapterTasks) -> list[TestSet]:
    """Return the shipped test sets that the model was finetuned for; DataError where there is none."""
    known = known_test_sets(shipped, adapter_tasks)
    if not known:
        raise DataError(
            f"The model was finetuned for {listed(adapter_tasks.tasks)}, of which the shipped test set has nothing. Give "
            "--data with rows of these tasks, or name shipped ones with --tasks."
        )
    return list(known)


def _settings(settings: EvaluationSettings) -> RunSettings:
    """The settings as a report has them, without the folders of a machine."""
    return RunSettings.model_validate(
        {name: value for name, value in asdict(settings).items() if name not in ("data", "output")}
    )


def _results(settings: EvaluationSettings, plan: _Plan) -> tuple[TestSetResult, ...]:
    seen = None
    if settings.contamination:
        print(f"looking the items up in the training and validation files of {settings.data}", file=sys.stderr)
        seen = Contamination(settings.data, plan.test_sets)
    results = []
    for test_set in plan.test_sets:
        print(f"scoring {test_set.name}", file=sys.stderr)
        jobs = [job for job in plan.jobs if job.test_set is test_set]
        results.append(_result(test_set, jobs, seen.of(test_set) if seen else None, settings))
    return tuple(results)


def _result(
    test_set: TestSet, jobs: Sequence[Job], contamination: ItemLabels | None, settings: EvaluationSettings
) -> TestSetResult:
    outputs = {job.name: job.open().outputs for job in jobs}
    seconds = {name: sum(answer.seconds for answer in answers) for name, answers in outputs.items()}
    scored = Scored.of(test_set, {name: [answer.output for answer in answers] for name, answers in outputs.items()})
    return result_of(
        test_set,
        n=len(test_set.items),
        generation=jobs[0].system.settings if jobs else None,
        unanswered={name: sum("unanswered" in a.details for a in answers) for name, answers in outputs.items()},
        contamination=contamination and contamination.as_dict(),
        figures=scored.figures(
            Resamples.draw(len(test_set.items), resamples=settings.resamples, seed=settings.seed),
            baselines=first_sentences(test_set) if settings.baselines else {},
        ),
        slices=scored.slices(
            resamples=settings.resamples,
            seed=settings.seed,
            contamination=contamination.labels if contamination else None,
            confidences=confidences_in({name: [a.details for a in answers] for name, answers in outputs.items()}),
        ),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        items_per_s={name: round(len(test_set.items) / value, 2) if value else None for name, value in seconds.items()},
    )


def first_sentences(test_set: TestSet) -> dict[str, list[str]]:
    """Take the first sentence of each document, which a summary has to beat; empty where nothing is summarized."""
    if test_set.kind != "summarization":
        return {}
    documents = (split_sentences(item.row["document"]) for item in test_set.items)
    return {"first_sentence": [next((s.strip() for s in parts if s.strip()), "") for parts in documents]}
