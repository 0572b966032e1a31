"""What all probes of an audit share: settings, the model, and batched scoring and generation. Knows no probe."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from phi2demo.engine.engine import Completion, Engine, GenerationOptions, Prompt, Variant
from phi2demo.errors import SettingsError
from phi2demo.evaluation.statistics import RESAMPLES, SEED
from phi2demo.evaluation.systems import read_of
from phi2demo.settings import SHIPPED_SET
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, read_variant_tasks, templates_of
from phi2demo.tasks.templates import PLAIN, Template

SCORING_BATCH = 128
GENERATION_BATCH = 16

T = TypeVar("T")
ShowProgress = Callable[[Sequence[T], str], Iterable[T]]
"""Wraps batches, as tqdm does: yields them unchanged and shows the progress under a title."""


@dataclass(frozen=True)
class AuditSettings:
    """The options of the `audit` command."""

    output: Path
    """Folder of the report; an interrupted run is resumed there."""
    data: Path | None = None
    """Folder of the training files; without it, memorization is not measured."""
    items: Path = SHIPPED_SET
    """Folder of labelled reviews and translations, for the robustness probe."""
    probes: tuple[str, ...] = ()
    """Names of the probes to run; empty for all."""
    compare: Path | None = None
    """An older report to compare with; None for the one in `output`."""
    quick: bool = False
    """Whether to use about a fifth of the texts: a first look, with wide intervals."""
    seed: int = SEED
    """Seed of samples, typos, chosen documents and resamples."""
    resamples: int = RESAMPLES
    """Number of bootstrap resamples."""

    def __post_init__(self) -> None:
        for name, minimum in (("resamples", 100), ("seed", 0)):
            if getattr(self, name) < minimum:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a whole number of at least {minimum}.")
        for name in ("data", "items"):
            folder = getattr(self, name)
            if folder is not None and folder != SHIPPED_SET and not folder.is_dir():
                raise SettingsError(f"--{name} {folder} is not a folder; give one that holds JSON-lines files.")
        if self.compare is not None and not self.compare.is_file():
            raise SettingsError(f"--compare {self.compare} is not a file; give the audit.json of an older audit.")


def without_progress(batches: Sequence[T], title: str) -> Iterable[T]:
    """Return the batches and show nothing."""
    return batches


@dataclass(frozen=True)
class AuditContext:
    """One audit: the model, the settings, and values that several probes need."""

    engine: Engine
    settings: AuditSettings
    show_progress: ShowProgress[Any] = without_progress
    _cache: dict[str, Any] = field(default_factory=dict)

    @property
    def audited_variant(self) -> Variant:
        """The variant that figures are flagged for: the finetuned model, or the base where there is no adapter."""
        return self.engine.info.variants[0]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The audited model and, beside a finetuned one, its base; a second adapter needs its own audit."""
        return tuple(variant for variant in self.engine.info.variants if variant in ("finetuned", "base"))

    def base_of(self, results: Mapping[Variant, T]) -> T | None:
        """Return the result of the base, to be shown beside the audited model; None if the base itself is audited."""
        return None if self.audited_variant == "base" else results["base"]

    def select(self, values: Sequence[T], quick: int) -> list[T]:
        """Return all values, or in a quick run `quick` of them, evenly spread."""
        return spread(values, quick if self.settings.quick else len(values))

    def prompt(self, variant: Variant, task: str, row: dict[str, Any]) -> str:
        """Build the app's prompt for the audited model; the base of a finetuned model gets the plain style."""
        read = read_of(row, task, self.generation_options(task))
        return TASKS[task].prompt(read.text, read.options, self.template(variant))

    def template(self, variant: Variant) -> Template:
        """Return the template for the audited model, none for the base of a finetuned model."""
        return templates_of(self.engine.info).of(variant) if variant == self.audited_variant else PLAIN

    def score(self, prompts: Sequence[Prompt], outputs: Sequence[str], title: str, *, task: str) -> list[float]:
        """Return the log-probability of each output in nats, with the task's adapter strength."""
        strength = self.generation_options(task).adapter_strength
        totals: list[float] = []
        for start in self.show_progress(range(0, len(prompts), SCORING_BATCH), title):
            end = start + SCORING_BATCH
            scores = self.engine.score(prompts[start:end], outputs[start:end], adapter_strength=strength)
            totals += [score.total for score in scores]
        return totals

    @property
    def adapter_tasks(self) -> AdapterTasks:
        """What the audited model was finetuned for."""
        return read_variant_tasks(self.engine.info).first

    def generation_options(self, task: str) -> GenerationOptions:
        """Return the generation options that the app uses for a task."""
        return self.adapter_tasks.generation(task)

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, title: str) -> list[Completion]:
        """Complete each prompt."""
        completions: list[Completion] = []
        for start in self.show_progress(range(0, len(prompts), GENERATION_BATCH), title):
            *_, last = self.engine.stream(prompts[start : start + GENERATION_BATCH], options)
            assert last.completions is not None
            completions += last.completions
        return completions

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` returns, calling it only once for all probes."""
        if name not in self._cache:
            self._cache[name] = make()
        value: T = self._cache[name]
        return value


def spread(values: Sequence[T], limit: int) -> list[T]:
    """Return at most `limit` of the values, evenly spread."""
    count = min(len(values), max(1, limit))
    return [values[number * len(values) // count] for number in range(count)]


def read_texts(name: str) -> Any:
    """Read one of the JSON files beside this module."""
    return json.loads((resources.files(__package__) / name).read_text(encoding="utf-8"))
