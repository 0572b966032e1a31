"""The record of a training run, `pretraining.json` or `finetuning.json`: complete without any other file.

The record of a base that was trained on from another one begins with the stages of that one. Records of an earlier
format are read too: one flat object, with `log.jsonl` and `corpus/` beside it. Knows no model.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from phi2demo.data.corpus import CleaningReport
from phi2demo.data.files import write_atomically
from phi2demo.emissions.footprint import Emissions, Hardware, estimate
from phi2demo.emissions.meter import detect_hardware
from phi2demo.errors import DataError
from phi2demo.training.checkpoints import TrainingState, describe_flaw
from phi2demo.training.settings import FinetuneSettings, LoopSettings, PretrainSettings

if TYPE_CHECKING:
    from accelerate import Accelerator


class Log:
    """Writes `log.jsonl` and shows the progress bar until a run ends or is stopped; writes nothing unless `is_main`."""

    def __init__(self, path: Path, state: TrainingState, settings: LoopSettings, *, is_main: bool, label: str) -> None:
        from tqdm import tqdm

        self._path, self._state, self._settings, self._is_main = path, state, settings, is_main
        self._tokens, self._seconds = 0, 0.0
        if is_main:
            _drop_after(path, state.step)
        self._bar = tqdm(
            total=settings.steps, initial=state.step, desc=label, unit="step", disable=not is_main, mininterval=2
        )

    def add(self, loss: float, *, tokens: int, seconds: float) -> None:
        """Count a step; the mean of every `log_every` steps is written."""
        state, settings = self._state, self._settings
        state.pending_losses.append(loss)
        self._tokens += tokens
        self._seconds += seconds
        self._bar.update()
        if state.step % settings.log_every and state.step != settings.steps:
            return
        row = {
            "step": state.step,
            "tokens": state.tokens,
            "loss": sum(state.pending_losses) / len(state.pending_losses),
            "learning_rate": settings.learning_rate_at(state.step - 1),
            "tokens_per_s": self._tokens / max(self._seconds, 1e-9),
            "elapsed_s": state.elapsed_s,
        }
        self._write(row)
        self._bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['tokens_per_s']:,.0f} tokens/s")
        state.pending_losses.clear()
        self._tokens, self._seconds = 0, 0.0

    def add_validation(self, losses: dict[str, float]) -> None:
        """Write the losses on held-out examples."""
        self._write({"step": self._state.step, "validation": losses})
        self._bar.set_postfix_str(f"validation loss {losses['all']:.3f}")

    def show_validation(self, done: int, parts: int) -> None:
        """Show the progress of a validation."""
        self._bar.set_postfix_str(f"validation, part {min(done + 1, parts)} of {parts}")

    def close(self) -> None:
        """Stop updating the progress bar."""
        self._bar.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._is_main:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log, without a last line that is incomplete because the run was killed."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _drop_after(path: Path, step: int) -> None:
    """Drop the rows after the checkpoint from which a run resumes."""
    rows = [row for row in read_log(path) if row["step"] <= step]
    write_atomically(path, "".join(f"{json.dumps(row)}\n" for row in rows))


StageKind = Literal["pretraining", "finetuning"]
STAGE_KINDS: tuple[StageKind, ...] = ("pretraining", "finetuning")

CURVE_POINTS = 200
"""Most points of a recorded loss curve."""
PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers")
"""Packages whose versions are recorded."""


@dataclass(frozen=True)
class CurvePoint:
    """A point of the loss curve."""

    step: int
    tokens: int
    """Training tokens of this stage so far."""
    loss: float
    """Mean training loss of the steps since the point before, in nats per target token."""
    learning_rate: float
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Validation:
    """Losses on held-out examples at one step."""

    step: int
    losses: dict[str, float]
    """In nats per target token, by data set or task; "all" is their weighted mean."""


@dataclass(frozen=True)
class Stage:
    """One training run. What it did not record is None or empty."""

    kind: StageKind
    settings: dict[str, Any]
    """Options of the command and settings of the loop, with the learning rate that was used; folders by name only."""
    steps: int | None
    tokens: Annotated[int, Field(strict=True, ge=0)]
    hours: float
    processes: int | None = None
    hardware: Hardware | None = None
    device: str | None = None
    """cpu, cuda or mps."""
    precision: str | None = None
    """Precision of the autocast: bf16, fp16 or no."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of Python and of the packages used."""
    weights: dict[str, float] = field(default_factory=dict)
    """Share of the blocks or examples that is drawn from each data set; they add up to 1."""
    tasks: dict[str, float] = field(default_factory=dict)
    """In finetuning, share of the examples of each task."""
    cleaning: tuple[CleaningReport, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    validations: tuple[Validation, ...] = ()
    emissions: Emissions | None = None

    @property
    def tokens_per_s(self) -> float | None:
        """Mean speed of the whole run."""
        return self.tokens / (3600 * self.hours) if self.hours else None


@dataclass(frozen=True)
class Record:
    """All training of the weights in one folder, in order."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @property
    def last(self) -> Stage:
        """The run that produced the weights."""
        return self.stages[-1]

    @property
    def tokens(self) -> int:
        """Training tokens of all stages."""
        return sum(stage.tokens for stage in self.stages)

    @property
    def hours(self) -> float:
        """Hours of all stages."""
        return sum(stage.hours for stage in self.stages)


def make_stage(
    kind: StageKind,
    settings: PretrainSettings | FinetuneSettings,
    loop: LoopSettings,
    state: TrainingState,
    accelerator: "Accelerator",
    *,
    further_settings: Mapping[str, Any],
    weights: Mapping[str, float],
    tasks: Mapping[str, float] | None = None,
    cleaning: tuple[CleaningReport, ...],
) -> Stage:
    """Describe a run that has ended; its loss curve is read from the log in its output folder."""
    curve, validations = read_curve(settings.output / "log.jsonl")
    hours, processes, device = state.elapsed_s / 3600, accelerator.num_processes, accelerator.device.type
    hardware = detect_hardware(device, processes)
    return Stage(
        kind=kind,
        settings=_without_folders(asdict(settings) | asdict(loop) | dict(further_settings)),
        steps=state.step,
        tokens=state.tokens,
        hours=hours,
        processes=processes,
        hardware=hardware,
        device=device,
        precision=accelerator.mixed_precision,
        versions={"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        weights=_shares(weights),
        tasks=_shares(tasks or {}),
        cleaning=cleaning,
        curve=curve,
        validations=validations,
        emissions=estimate(hardware, hours, region=settings.region),
    )


def write_record(folder: Path, record: Record) -> Path:
    """Write the record into a file named after the kind of its last stage; returns that file."""
    path = folder / f"{record.last.kind}.json"
    text = json.dumps(asdict(record), indent=1, ensure_ascii=False, default=str)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read_record(folder: Path) -> Record | None:
    """Read the record in a folder; None if there is none. Raises DataError if it is malformed."""
    for kind in STAGE_KINDS:
        path = folder / f"{kind}.json"
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                return _RECORD.validate_python(content) if "stages" in content else _read_flat(content, kind, folder)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{folder.name}/{path.name} is no training record ({describe_flaw(error)}). "
                    "Restore it from the training's output folder, or remove it."
                ) from error
    return None


def read_curve(log: Path) -> tuple[tuple[CurvePoint, ...], tuple[Validation, ...]]:
    """Return the loss curve in a `log.jsonl`, thinned to `CURVE_POINTS`, and all validations."""
    rows = read_log(log)
    points = [
        CurvePoint(row["step"], row["tokens"], row["loss"], row["learning_rate"], row.get("tokens_per_s"))
        for row in rows
        if "loss" in row
    ]
    validations = tuple(Validation(row["step"], row["validation"]) for row in rows if "validation" in row)
    return thin(points), validations


def thin(points: list[CurvePoint], limit: int = CURVE_POINTS) -> tuple[CurvePoint, ...]:
    """Return at most `limit` of the points, evenly spaced, with the first and the last."""
    if len(points) <= limit:
        return tuple(points)
    return tuple(points[round(index * (len(points) - 1) / (limit - 1))] for index in range(limit))


_RECORD = TypeAdapter(Record)


def _read_flat(content: dict[str, Any], kind: StageKind, folder: Path) -> Record:
    """Read the earlier format without stages; what it lacks is taken from the files beside it."""
    curve, validations = read_curve(folder / "log.jsonl")
    settings = dict(content["settings"])
    if settings.get("learning_rate") is None and curve:
        settings["learning_rate"] = max(point.learning_rate for point in curve)
    corpus = folder / "corpus"
    streams = _read_json(corpus / "streams.json") or {}
    previous = read_record(Path(settings["start"])) if settings.get("start") else None
    stage = {
        "kind": kind,
        "settings": _without_folders(settings),
        "steps": content.get("steps") or (curve[-1].step if curve else None),
        "tokens": content["tokens"],
        "hours": content["hours"],
        "processes": content.get("processes"),
        "device": content.get("device") or settings.get("device"),
        "precision": content.get("precision"),
        "weights": _shares(streams.get("weights", {})),
        "cleaning": content.get("cleaning") or _read_json(corpus / "cleaning.json") or [],
        "curve": curve,
        "validations": validations,
    }
    return _RECORD.validate_python({"stages": (*(previous.stages if previous else ()), stage)})


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def _without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace paths by their last names, as the folders are those of one machine only; a hub id stays."""
    kept = dict(settings)
    for name in ("data", "output", "start", "model", "tasks"):
        value = kept.get(name)
        if value is not None and (name != "model" or Path(value).is_absolute() or Path(value).exists()):
            kept[name] = Path(value).name
    return {name: str(value) if isinstance(value, Path) else value for name, value in kept.items()}
