"""Measure a model on a folder of data: ask every item in every form, keep the answers, write the report.

Batches are composed by the length of their prompts, the same way every time, so that a rerun gives the same figures and
a run that was killed goes on where it was.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phi2demo.engine.engine import Engine
from phi2demo.errors import SettingsError
from phi2demo.evaluation.datasets import EvaluationSplit, Measure, read_measures, select
from phi2demo.evaluation.environment import describe_environment, describe_model, measure_speed, package_versions
from phi2demo.evaluation.figures import Scored
from phi2demo.evaluation.forms import FORMS, SCORED, Form, FormName, make_form
from phi2demo.evaluation.outputs import OutputFile, digest
from phi2demo.evaluation.peers import Peers
from phi2demo.evaluation.slices import describe_slicing
from phi2demo.evaluation.statistics import RESAMPLES, SEED, Resamples

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
    """Also measure what the model has to beat: first sentences, xz, n-grams of bytes."""

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("batch_size", 1), ("resamples", 100), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}; give a whole number of at least {least}.")
        if unknown := [form for form in self.forms if form not in FORMS]:
            raise SettingsError(f"There is no form {unknown[0]!r}; choose from {', '.join(FORMS)}.")


@dataclass(frozen=True)
class _Job:
    """One form of one measure, with its answers on disk."""

    measure: Measure
    form: Form
    name: FormName
    file: OutputFile


def evaluate(engine: Engine, settings: EvaluationSettings, *, weights: Mapping[str, str]) -> dict[str, Any]:
    """Ask, score, and write `report.json`; gives the report as JSON values.

    `weights` are the SHA-256 of the weight files, by name. Raises DataError for files that cannot be used, SettingsError
    where the output folder holds answers to something else.
    """
    measures, skipped = read_measures(settings.data, split=settings.split, limit=settings.limit)
    measures = select(measures, names=settings.measures, tasks=settings.tasks)
    names = [form for form in FORMS if form in settings.forms and (form != "finetuned" or engine.info.adapter)]
    jobs = [_job(engine, measure, name, settings) for measure in measures for name in names]
    ran = [job for job in jobs if job is not None]
    _ask(ran)
    peers = Peers(settings.data, settings.output / "peers.json") if settings.peers else None
    described = []
    for measure in measures:
        print(f"scoring {measure.name}", file=sys.stderr)
        described.append(_describe(measure, [job for job in ran if job.measure is measure], peers, settings))
    report = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {name: value for name, value in asdict(settings).items() if name not in ("data", "output")},
        "model": describe_model(engine) | {"weights_sha256": dict(weights)},
        "environment": describe_environment(),
        "slicing": describe_slicing(),
        "measures": described,
        "skipped": [asdict(each) for each in skipped],
        "speed": measure_speed(engine),
    }
    _write(settings.output / REPORT, report)
    return report


def compose(form: Form, items: int, *, size: int) -> list[list[int]]:
    """Indexes of the items that are computed together: neighbours in the length of their prompts, longest first."""
    lengths = [len(form.prompt(item)) for item in form.measure.items]
    order = sorted(range(items), key=lambda index: (-lengths[index], index))
    return [order[start : start + size] for start in range(0, items, size)]


def _job(engine: Engine, measure: Measure, name: FormName, settings: EvaluationSettings) -> _Job | None:
    form = make_form(name, engine, measure, seed=settings.seed)
    if form is None:
        return None
    batches = compose(form, len(measure.items), size=settings.batch_size)
    asked = digest(
        {
            "prompts": [form.prompt(item) for item in measure.items],
            "generation": asdict(form.generation),
            "model": [engine.info.base_revision, engine.info.adapter_revision if name == "finetuned" else None],
            "place": [engine.info.device, engine.info.dtype, package_versions()],
            "seed": settings.seed,
            "batch_size": settings.batch_size,
            **({"answer": "bits characters tokens"} if measure.kind in SCORED else {}),
        }
    )
    path = settings.output / "outputs" / f"{measure.name}.{name}.jsonl"
    return _Job(measure, form, name, OutputFile(path, asked=asked, batches=batches))


def _ask(jobs: Sequence[_Job]) -> None:
    """Answer what is missing, with progress and the time left by the characters still to be read."""
    from tqdm import tqdm

    sizes = {id(job): [len(job.form.prompt(item)) + 1 for item in job.measure.items] for job in jobs}
    total = sum(sum(each) for each in sizes.values())
    done = total - sum(sizes[id(job)][index] for job in jobs for batch in job.file.missing for index in batch)
    pace = 0.2 if sys.stderr.isatty() else 20.0
    with tqdm(total=total, initial=done, file=sys.stderr, unit="char", unit_scale=True, mininterval=pace) as bar:
        for job in jobs:
            bar.set_description(f"{job.measure.name} {job.name}", refresh=False)
            for batch in job.file.missing:
                started = time.monotonic()
                answers = job.form.answer([job.measure.items[index] for index in batch])
                job.file.add(batch, answers, time.monotonic() - started)
                bar.update(sum(sizes[id(job)][index] for index in batch))


def _describe(
    measure: Measure, jobs: Sequence[_Job], peers: Peers | None, settings: EvaluationSettings
) -> dict[str, Any]:
    outputs = {job.name: job.file.outputs for job in jobs}
    seconds = {name: sum(output.seconds for output in found) for name, found in outputs.items()}
    generation = jobs[0].form.generation if jobs else None
    scored = Scored.of(measure, {name: [output.output for output in found] for name, found in outputs.items()})
    return {
        "name": measure.name,
        "task": measure.task,
        "data": asdict(measure.file),
        "n": len(measure.items),
        "generation": asdict(generation) if generation and measure.kind not in SCORED else None,
        "unanswered": {name: sum("unanswered" in o.details for o in found) for name, found in outputs.items()},
        "figures": scored.figures(
            Resamples.draw(len(measure.items), resamples=settings.resamples, seed=settings.seed),
            peers=peers.of(measure) if peers else {},
        ),
        "slices": scored.slices(resamples=settings.resamples, seed=settings.seed),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "items_per_s": {
            name: round(len(measure.items) / value, 2) if value else None for name, value in seconds.items()
        },
    }


def _write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
