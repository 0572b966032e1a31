"""What every probe is given: the model, the settings, and how to ask in batches. Knows no probe."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from phi2demo.engine.engine import Completion, Engine, GenerationOptions, Prompt, Variant
from phi2demo.errors import SettingsError
from phi2demo.evaluation.statistics import RESAMPLES, SEED
from phi2demo.evaluation.systems import read_of
from phi2demo.settings import ASSETS
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import read_adapter_tasks

SHIPPED_SET = ASSETS / "evaluation" / "set"
SCORED_TOGETHER = 128
GENERATED_TOGETHER = 16

T = TypeVar("T")
Track = Callable[[Sequence[T], str], Iterable[T]]


@dataclass(frozen=True)
class AuditSettings:
    """What the `audit` command is told."""

    output: Path
    """Folder for the report; a run that was killed goes on there."""
    data: Path | None = None
    """Folder of the training files; without it, memorization is not measured."""
    items: Path = SHIPPED_SET
    """Folder of labelled reviews and translations, for robustness."""
    probes: tuple[str, ...] = ()
    """Names; all where none is given."""
    compare: Path | None = None
    """An older report; the one in `output` where not given."""
    quick: bool = False
    """About a fifth of the texts: a first look, with wide intervals."""
    seed: int = SEED
    """Of samples, typos, chosen documents and resamples."""
    resamples: int = RESAMPLES
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        for name, least in (("resamples", 100), ("seed", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a whole number of at least {least}.")
        for name in ("data", "items"):
            folder = getattr(self, name)
            if folder is not None and folder != SHIPPED_SET and not folder.is_dir():
                raise SettingsError(f"--{name} {folder} is no folder; give one that holds JSON-lines files.")
        if self.compare is not None and not self.compare.is_file():
            raise SettingsError(f"--compare {self.compare} is no file; give the audit.json of an older audit.")


def silently(batches: Sequence[T], title: str) -> Iterable[T]:
    """A `Track` that shows nothing."""
    return batches


@dataclass(frozen=True)
class Setup:
    """One audit: what its probes share is made once."""

    engine: Engine
    settings: AuditSettings
    track: Track[Any] = silently
    """Shows progress over batches."""
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def audited(self) -> Variant:
        """Whose figures are flagged: the finetuned model's, a bare base's where there is no adapter."""
        return self.engine.info.variants[0]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Who is asked: the audited model, and its base beside it; a second adapter is audited on its own."""
        return tuple(variant for variant in self.engine.info.variants if variant in ("finetuned", "base"))

    def choose(self, values: Sequence[T], quick: int) -> list[T]:
        """All, or with `--quick` this many, evenly spread."""
        return spread(values, quick if self.settings.quick else len(values))

    def prompt(self, variant: Variant, task: str, row: dict[str, Any]) -> str:
        """As the app asks the audited model; the base beside a finetuned model in the form it was pretrained on."""
        read = read_of(row, task, self.generation(task))
        return TASKS[task].prompt(read.text, read.options, "template" if variant == self.audited else "plain")

    def score(self, prompts: Sequence[Prompt], outputs: Sequence[str], title: str, *, task: str) -> list[float]:
        """Log-probability of each output, in nats, as the app asks for the task."""
        strength = self.generation(task).adapter_strength
        totals: list[float] = []
        starts = range(0, len(prompts), SCORED_TOGETHER)
        for start in self.track(starts, title):
            end = start + SCORED_TOGETHER
            scores = self.engine.score(prompts[start:end], outputs[start:end], adapter_strength=strength)
            totals += [score.total for score in scores]
        return totals

    def generation(self, task: str) -> GenerationOptions:
        """How the app chooses the tokens of a task."""
        return read_adapter_tasks(self.engine.info.adapter_folder).generation(task)

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, title: str) -> list[Completion]:
        """What becomes of each prompt."""
        done: list[Completion] = []
        starts = range(0, len(prompts), GENERATED_TOGETHER)
        for start in self.track(starts, title):
            *_, last = self.engine.stream(prompts[start : start + GENERATED_TOGETHER], options)
            assert last.completions is not None
            done += last.completions
        return done

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once for all probes."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made


def spread(values: Sequence[T], most: int) -> list[T]:
    """At most so many of the values, evenly spread."""
    count = min(len(values), max(1, most))
    return [values[at * len(values) // count] for at in range(count)]


def read_texts(name: str) -> Any:
    """One of the JSON files beside this module."""
    return json.loads((resources.files(__package__) / name).read_text(encoding="utf-8"))
