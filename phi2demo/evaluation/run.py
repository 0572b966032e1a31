"""Measure a model on a folder of data: have every item asked in every form, score the answers, write the report."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phi2demo.data.contamination import Contamination, Found
from phi2demo.data.documents import split_sentences
from phi2demo.data.test_sets import EvaluationSplit, Measure, Skipped, read_measures, select
from phi2demo.engine.engine import Engine
from phi2demo.errors import SettingsError
from phi2demo.evaluation.environment import describe_environment, describe_model, measure_speed, package_versions
from phi2demo.evaluation.figures import Scored
from phi2demo.evaluation.hub_data import HubData
from phi2demo.evaluation.outputs import OutputFile, digest
from phi2demo.evaluation.processes import ALONE, Processes, claimed
from phi2demo.evaluation.slices import describe_slicing
from phi2demo.evaluation.statistics import RESAMPLES, SEED, Resamples
from phi2demo.evaluation.systems import FORMS, SCORED, Form, FormName, confidences_in, make_form


@dataclass(frozen=True)
class Job:
    """One form of one measure, and where its answers are kept."""

    measure: Measure
    form: Form
    name: FormName
    path: Path
    asked: str
    """A hash of all that the answers depend on."""
    batches: Sequence[Sequence[int]]

    def open(self, processes: Processes = ALONE) -> OutputFile:
        """The answers so far: the first process puts them in order, each further one writes into a part of its own."""
        return OutputFile(self.path, asked=self.asked, batches=self.batches, part=processes.index)

    def cost(self, batch: Sequence[int]) -> int:
        """Characters that are read for a batch, for the progress."""
        return sum(len(self.form.prompt(self.measure.items[index])) + 1 for index in batch)


def make_jobs(
    engine: Engine, measures: Sequence[Measure], names: Sequence[FormName], *, output: Path, seed: int, batch_size: int
) -> list[Job]:
    """Every form that each measure has."""
    jobs = []
    for measure in measures:
        for name in names:
            form = make_form(name, engine, measure, seed=seed)
            if form is not None:
                asked = _digest(form, name, batch_size=batch_size)
                batches = compose(form, len(measure.items), size=batch_size)
                path = output / "outputs" / f"{measure.name}.{name}.jsonl"
                jobs.append(Job(measure, form, name, path, asked, batches))
    return jobs


def compose(form: Form, items: int, *, size: int) -> list[list[int]]:
    """Indexes of the items that are computed together: neighbours in the length of their prompts, longest first."""
    lengths = [len(form.prompt(item)) for item in form.measure.items]
    order = sorted(range(items), key=lambda index: (-lengths[index], index))
    return [order[start : start + size] for start in range(0, items, size)]


def ask(jobs: Sequence[Job], processes: Processes) -> None:
    """Answer what this process has to of what is missing, with progress and the time left by the characters to read.

    All processes open the files before any of them writes, so that all see the same missing.
    """
    from tqdm import tqdm

    files = [job.open(processes) for job in jobs]
    processes.wait()
    missing = [(job, file, batch) for job, file in zip(jobs, files, strict=True) for batch in file.missing]
    mine = processes.share(missing)
    total = sum(job.cost(batch) for job in jobs for batch in job.batches) // processes.count
    todo = sum(job.cost(batch) for job, _, batch in mine)
    pace = 0.2 if sys.stderr.isatty() else 20.0
    with tqdm(
        total=max(total, todo),
        initial=max(total - todo, 0),
        file=sys.stderr,
        unit="char",
        unit_scale=True,
        mininterval=pace,
        disable=not processes.first,
    ) as bar:
        for job, file, batch in mine:
            bar.set_description(f"{job.measure.name} {job.name}", refresh=False)
            started = time.monotonic()
            job.form.engine.forget()  # else the last digits of scores depend on what else this process has scored
            answers = job.form.answer([job.measure.items[index] for index in batch])
            file.add(batch, answers, time.monotonic() - started)
            bar.update(job.cost(batch))


def _digest(form: Form, name: FormName, *, batch_size: int) -> str:
    info = form.engine.info
    return digest(
        {
            "prompts": [form.prompt(item) for item in form.measure.items],
            "generation": asdict(form.generation),
            "model": [info.base_revision, info.adapter_revision if name == "finetuned" else None],
            "place": [info.device, info.dtype, package_versions()],
            "seed": form.seed,
            "batch_size": batch_size,
            "answer": "bits characters tokens" if form.measure.kind in SCORED else "text probability",
        }
    )


FORMAT = 1
REPORT = "report.json"
BATCH_SIZE = 32


@dataclass(frozen=True)
class EvaluationSettings:
    """What the `evaluate` command is told."""

    data: Path
    """Folder of JSON-lines files."""
    output: Path
    """Folder for the report and the answers; a run that was killed goes on there."""
    hub: HubData | None = None
    """What was read from the hub into `data`."""
    split: EvaluationSplit = "test"
    limit: int | None = None
    """At most this many rows of each set, from the first on; all where not given."""
    measures: tuple[str, ...] = ()
    """Names as translation.tatoeba.en-de; all where neither measures nor tasks are given."""
    tasks: tuple[str, ...] = ()
    """Tasks, and prose."""
    forms: tuple[FormName, ...] = FORMS
    batch_size: int = BATCH_SIZE
    """Items that are computed together: beyond 16, more gained nothing on one CPU core."""
    seed: int = SEED
    """Of the resamples, and of answers where a task samples."""
    resamples: int = RESAMPLES
    """Of the bootstrap."""
    peers: bool = True
    """Also measure what a summary has to beat: the first sentence of its document."""
    contamination: bool = True
    """Also look the items up in the training and validation files of the folder."""

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
        if unknown := [form for form in self.forms if form not in FORMS]:
            raise SettingsError(f"There is no form {unknown[0]!r}; choose from {', '.join(FORMS)}.")


def evaluate(
    engine: Engine, settings: EvaluationSettings, *, weights: Mapping[str, str], processes: Processes = ALONE
) -> dict[str, Any]:
    """Ask, score, and write `report.json`; gives the report as JSON values.

    `weights` are the SHA-256 of the weight files, by name. Of several processes the first calls this, each further one
    `assist`. Raises DataError for files that cannot be used, SettingsError where
    the output folder is in use or holds answers to something else.
    """
    work = _plan(engine, settings)
    with claimed(settings.output) as claim:
        for job in work.jobs:
            job.open()  # puts in order what earlier runs have left, whatever their number of processes
        if processes.count > 1:
            claim.share()
        processes.wait()
        ask(work.jobs, processes)
        processes.wait()
        model = describe_model(engine) | {"weights_sha256": dict(weights)}
        report = _report(engine, settings, work) | {"model": model}
        report["environment"] = describe_environment() | {"processes": processes.count}
        report["speed"] = measure_speed(engine)
        _write(settings.output / REPORT, report)
    return report


def assist(engine: Engine, settings: EvaluationSettings, *, processes: Processes) -> None:
    """Answer the share of a process that is not the first: it scores and reports nothing."""
    work = _plan(engine, settings)
    processes.wait()
    with claimed(settings.output, joining=True):
        ask(work.jobs, processes)
        processes.wait()


@dataclass(frozen=True)
class _Work:
    """What there is to ask and to report."""

    measures: Sequence[Measure]
    skipped: Sequence[Skipped]
    jobs: Sequence[Job]


def _plan(engine: Engine, settings: EvaluationSettings) -> _Work:
    measures, skipped = read_measures(settings.data, split=settings.split, limit=settings.limit)
    measures = select(measures, names=settings.measures, tasks=settings.tasks)
    names = [form for form in FORMS if form in settings.forms and (form != "finetuned" or engine.info.adapter)]
    jobs = make_jobs(
        engine, measures, names, output=settings.output, seed=settings.seed, batch_size=settings.batch_size
    )
    return _Work(measures, skipped, jobs)


def _report(engine: Engine, settings: EvaluationSettings, work: _Work) -> dict[str, Any]:
    """All but what it depends on."""
    seen = None
    if settings.contamination:
        print(f"looking the items up in the training and validation files of {settings.data}", file=sys.stderr)
        seen = Contamination(settings.data, work.measures)
    described = []
    for measure in work.measures:
        print(f"scoring {measure.name}", file=sys.stderr)
        jobs = [job for job in work.jobs if job.measure is measure]
        described.append(_describe(measure, jobs, seen.of(measure) if seen else None, settings))
    return {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {name: value for name, value in asdict(settings).items() if name not in ("data", "output")},
        "slicing": describe_slicing(),
        "measures": described,
        "skipped": [asdict(each) for each in work.skipped],
    }


def _describe(
    measure: Measure, jobs: Sequence[Job], found: Found | None, settings: EvaluationSettings
) -> dict[str, Any]:
    outputs = {job.name: job.open().outputs for job in jobs}
    seconds = {name: sum(output.seconds for output in each) for name, each in outputs.items()}
    texts = {name: [output.output for output in each] for name, each in outputs.items()}
    scored = Scored.of(measure, texts)
    return {
        "name": measure.name,
        "task": measure.task,
        "data": asdict(measure.file),
        "n": len(measure.items),
        "generation": jobs[0].form.settings if jobs else None,
        "unanswered": {name: sum("unanswered" in o.details for o in each) for name, each in outputs.items()},
        "contamination": found and found.as_dict(),
        "figures": scored.figures(
            Resamples.draw(len(measure.items), resamples=settings.resamples, seed=settings.seed),
            peers=first_sentences(measure) if settings.peers else {},
        ),
        "slices": scored.slices(
            resamples=settings.resamples,
            seed=settings.seed,
            contamination=found.labels if found else None,
            confidences=confidences_in({name: [output.details for output in each] for name, each in outputs.items()}),
        ),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "items_per_s": {
            name: round(len(measure.items) / value, 2) if value else None for name, value in seconds.items()
        },
    }


def first_sentences(measure: Measure) -> dict[str, list[str]]:
    """What a summary has to beat to be worth anything; empty where nothing is summarized."""
    if measure.kind != "summarization":
        return {}
    documents = (split_sentences(item.row["document"]) for item in measure.items)
    return {"first_sentence": [next((s.strip() for s in parts if s.strip()), "") for parts in documents]}


def _write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
