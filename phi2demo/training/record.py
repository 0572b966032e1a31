"""What a training run tells about itself: `pretraining.json` or `finetuning.json`, whole without any other file.

A base that was trained on from another one has the stages of that one first. The form of earlier versions, one flat
object with `log.jsonl` and `corpus/` beside it, is read too.
"""

import json
import platform
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from phi2demo.data.corpus import FILE_NAME, CleaningReport
from phi2demo.data.files import sha256_of
from phi2demo.emissions.footprint import WORLD, Emissions, Hardware, estimate
from phi2demo.engine.sources import find_base
from phi2demo.errors import DataError, SettingsError
from phi2demo.training.log import read_log

Kind = Literal["pretraining", "finetuning"]
KINDS: tuple[Kind, ...] = ("pretraining", "finetuning")

CURVE_POINTS = 200
"""Of the loss curve, at most."""


@dataclass(frozen=True)
class Point:
    """Of the loss curve."""

    step: int
    tokens: int
    """Seen so far in this stage."""
    loss: float
    """Training loss in nats per target token, a mean over the steps before."""
    learning_rate: float
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Validation:
    """Losses on held-out examples."""

    step: int
    losses: dict[str, float]
    """In nats per target token, by data set or task; "all" is their mean by weight."""


@dataclass(frozen=True)
class Stage:
    """One training run. What a run did not record is None or empty."""

    kind: Kind
    settings: dict[str, Any]
    """As the command was told, with the learning rate that was used; folders by their last names."""
    steps: int | None
    tokens: int
    hours: float
    processes: int | None = None
    hardware: Hardware | None = None
    device: str | None = None
    """cpu, cuda or mps."""
    precision: str | None = None
    """Of the autocast: bf16, fp16 or no."""
    versions: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    """Share of the blocks or examples drawn from each data set; they add up to 1."""
    tasks: dict[str, float] = field(default_factory=dict)
    """Share of the examples of each task, in finetuning."""
    cleaning: tuple[CleaningReport, ...] = ()
    curve: tuple[Point, ...] = ()
    validations: tuple[Validation, ...] = ()
    emissions: Emissions | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def tokens_per_s(self) -> float | None:
        """Over the whole run."""
        return self.tokens / (3600 * self.hours) if self.hours else None


@dataclass(frozen=True)
class Record:
    """All the training of one folder's weights, in its order."""

    stages: tuple[Stage, ...]

    @property
    def last(self) -> Stage:
        """The run that made the weights what they are."""
        return self.stages[-1]

    @property
    def tokens(self) -> int:
        """Seen in all stages."""
        return sum(stage.tokens for stage in self.stages)

    @property
    def hours(self) -> float:
        """Of all stages."""
        return sum(stage.hours for stage in self.stages)


def make_stage(
    kind: Kind,
    settings: Mapping[str, Any],
    told: Mapping[str, Any],
    log: Path,
    *,
    hardware: Hardware,
    region: str = WORLD,
    versions: Mapping[str, str],
    weights: Mapping[str, float],
    tasks: Mapping[str, float] | None = None,
    cleaning: tuple[CleaningReport, ...] = (),
) -> Stage:
    """The stage of a run that has ended. `told` is what `loop.describe` gives, `log` its `log.jsonl`."""
    curve, validations = read_curve(log)
    return Stage(
        kind=kind,
        settings=_without_folders(settings),
        hardware=hardware,
        versions=dict(versions),
        weights=_shares(weights),
        tasks=_shares(tasks or {}),
        cleaning=cleaning,
        curve=curve,
        validations=validations,
        emissions=estimate(hardware, told["hours"], region=region),
        **told,
    )


def write(folder: Path, record: Record) -> Path:
    """Write the record into the file of its last stage's kind; returns that file."""
    path = folder / f"{record.last.kind}.json"
    told = {"stages": [stage.as_dict() for stage in record.stages]}
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    return path


def read(folder: Path) -> Record | None:
    """The record in a folder; None where there is none. DataError where it is malformed."""
    for kind in KINDS:
        path = folder / f"{kind}.json"
        if path.is_file():
            try:
                return _parse(json.loads(path.read_text(encoding="utf-8")), kind, folder)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{folder.name}/{path.name} is no training record ({error!r}). Restore it from the training's "
                    "output folder, or remove it."
                ) from error
    return None


def read_curve(log: Path) -> tuple[tuple[Point, ...], tuple[Validation, ...]]:
    """The loss curve in a `log.jsonl`, thinned to `CURVE_POINTS`, and all validations."""
    rows = read_log(log)
    points = [
        Point(row["step"], row["tokens"], row["loss"], row["learning_rate"], row.get("tokens_per_s"))
        for row in rows
        if "loss" in row
    ]
    validations = tuple(Validation(row["step"], row["validation"]) for row in rows if "validation" in row)
    return thin(points), validations


def thin(points: list[Point], limit: int = CURVE_POINTS) -> tuple[Point, ...]:
    """At most `limit` of the points, evenly taken, the first and the last among them."""
    if len(points) <= limit:
        return tuple(points)
    return tuple(points[round(at * (len(points) - 1) / (limit - 1))] for at in range(limit))


def _parse(told: dict[str, Any], kind: Kind, folder: Path) -> Record:
    if "stages" in told:
        return Record(tuple(_stage(each) for each in told["stages"]))
    return _parse_flat(told, kind, folder)


def _stage(told: dict[str, Any]) -> Stage:
    parsed: dict[str, Any] = {
        "hardware": told["hardware"] and Hardware(**told["hardware"]),
        "emissions": told["emissions"] and Emissions(**told["emissions"]),
        "cleaning": tuple(CleaningReport(**each) for each in told["cleaning"]),
        "curve": tuple(Point(**each) for each in told["curve"]),
        "validations": tuple(Validation(**each) for each in told["validations"]),
    }
    if not isinstance(told["tokens"], int) or told["tokens"] < 0:
        raise ValueError(f"tokens is {told['tokens']!r}")
    known = {each.name for each in fields(Stage)}
    return Stage(**{name: value for name, value in told.items() if name in known} | parsed)


def _parse_flat(told: dict[str, Any], kind: Kind, folder: Path) -> Record:
    """The form without stages; what it does not tell is taken from the files beside it."""
    curve, validations = read_curve(folder / "log.jsonl")
    settings = dict(told["settings"])
    if settings.get("learning_rate") is None and curve:
        settings["learning_rate"] = max(point.learning_rate for point in curve)
    corpus = folder / "corpus"
    cleaning = told.get("cleaning") or _json(corpus / "cleaning.json") or []
    streams = _json(corpus / "streams.json") or {}
    before = read(Path(settings["start"])) if settings.get("start") else None
    stage = Stage(
        kind=kind,
        settings=_without_folders(settings),
        steps=told.get("steps") or (curve[-1].step if curve else None),
        tokens=told["tokens"],
        hours=told["hours"],
        processes=told.get("processes"),
        device=told.get("device") or settings.get("device"),
        precision=told.get("precision"),
        weights=_shares(streams.get("weights", {})),
        cleaning=tuple(CleaningReport(**each) for each in cleaning),
        curve=curve,
        validations=validations,
    )
    return Record((*(before.stages if before else ()), stage))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def _without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Folders by their last names: the others are of one machine only. A hub id stays."""
    told = dict(settings)
    for name in ("data", "output", "start", "model"):
        value = told.get(name)
        if value is not None and (name != "model" or Path(value).is_absolute() or Path(value).exists()):
            told[name] = Path(value).name
    return {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}


def data_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every data file below a folder, by its path there."""
    return _hashes(folder, (path for path in folder.rglob("*.jsonl*") if FILE_NAME.fullmatch(path.name)))


def base_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of a base's weights, config and tokenizer."""
    weights = find_base(str(folder), revision=None, token=None).files
    return _hashes(folder, (folder / name for name in (*weights, "config.json", "tokenizer.json")))


def _hashes(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(paths) if path.is_file()}


PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers")


def versions() -> dict[str, str]:
    """Of Python and of the packages that train."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def make_output(folder: Path) -> None:
    """Make the folder where it is not there; SettingsError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"--output {folder} is no folder that can be written into ({error.strerror or error}). Give another one."
        ) from error
