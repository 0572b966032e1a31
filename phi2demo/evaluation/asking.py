"""Ask every item of every measure in every form, and keep the answers. Knows no score.

Batches are composed by the length of their prompts, the same way every time and for any number of processes, so that
a rerun gives the same answers and a run that was killed goes on where it was.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from phi2demo.engine.engine import Engine
from phi2demo.evaluation.datasets import Measure
from phi2demo.evaluation.environment import package_versions
from phi2demo.evaluation.forms import SCORED, Form, FormName, make_form
from phi2demo.evaluation.outputs import OutputFile, digest
from phi2demo.evaluation.processes import ALONE, Processes


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
