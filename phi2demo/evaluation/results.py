"""A report read back as values, every field checked: it may be a file that somebody uploaded. Knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from phi2demo.engine.engine import ModelInfo
from phi2demo.engine.revisions import same_adapter
from phi2demo.errors import DataError
from phi2demo.evaluation.fields import Fields, WrongError
from phi2demo.evaluation.figures import BASES
from phi2demo.evaluation.forms import FORMS, FormName
from phi2demo.evaluation.report import FORM_TITLES, read_report
from phi2demo.evaluation.slices import DIMENSIONS, IN_TRAINING, IN_VALIDATION, Dimension

MAX_MEASURES = 1000


@dataclass(frozen=True)
class ScoreValue:
    """A score and its 95 % interval; None where it was not drawn."""

    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DifferenceValue:
    """Finetuned less base."""

    value: float
    low: float
    high: float
    p: float

    @property
    def is_clear(self) -> bool:
        """Whether chance alone would seldom give it: p below 0.05."""
        return self.p < 0.05


def gain_of(difference: DifferenceValue, *, higher_is_better: bool) -> float:
    """The difference, positive where finetuning made it better."""
    return difference.value if higher_is_better else -difference.value


@dataclass(frozen=True)
class FigureValue:
    """One metric of one measure or slice."""

    metric: str
    title: str
    higher_is_better: bool
    digits: int
    scores: dict[FormName, ScoreValue]
    base: FormName | None
    """The form of the base that the difference is to."""
    difference: DifferenceValue | None

    @property
    def gain(self) -> float | None:
        """The difference, positive where finetuning made it better."""
        return None if self.difference is None else gain_of(self.difference, higher_is_better=self.higher_is_better)


@dataclass(frozen=True)
class SliceValue:
    """A part of a measure."""

    by: Dimension
    name: str
    n: int
    enough: bool
    figures: tuple[FigureValue, ...]
    bounds: tuple[float, float] | None = None
    """Of the confidence in its answers, where it is of those."""


@dataclass(frozen=True)
class ContaminationValue:
    """How many items stand in training or validation files beside the measured one."""

    in_training: int
    in_validation: int
    """And in no training file."""


@dataclass(frozen=True)
class MeasureValue:
    """What was measured on one set."""

    name: str
    task: str
    n: int
    figures: tuple[FigureValue, ...]
    """The first is the one that the measure is told by."""
    slices: tuple[SliceValue, ...]
    data_sha256: str
    contamination: ContaminationValue | None = None
    """None where it was not looked up."""
    adapter_strength: float = 1.0
    """That was asked with; reports did not say it at first."""


@dataclass(frozen=True)
class ReportValue:
    """A whole report."""

    made_at: str
    base: str
    base_revision: str
    adapter: str | None
    adapter_revision: str | None
    device: str
    dtype: str
    limit: int | None
    """Rows of each set, where not all were asked."""
    measures: tuple[MeasureValue, ...]
    note: str = ""
    """How it was made, where that takes more words."""

    @property
    def forms(self) -> tuple[FormName, ...]:
        """Those that any figure has, in their order."""
        seen = {form for measure in self.measures for figure in measure.figures for form in figure.scores}
        return tuple(form for form in FORMS if form in seen)

    @property
    def items(self) -> int:
        """Over all measures."""
        return sum(measure.n for measure in self.measures)

    def is_of(self, info: ModelInfo) -> bool:
        """Whether it was made of these very weights, with these settings where it says which."""
        same = same_adapter(info.adapter_revision, self.adapter_revision) is not False
        return same and self.base_revision == info.base_revision


def load_report(path: Path) -> ReportValue:
    """The report in a file; DataError where it is none."""
    try:
        return as_report(read_report(path), name=path.name)
    except RecursionError as error:
        raise DataError(
            f"{path.name} is nested too deeply to be a report of an evaluation. Give another file."
        ) from error


def as_report(report: object, *, name: str = "The file") -> ReportValue:
    """A report as `evaluate` gives it, checked; DataError says which field is missing or wrong."""
    try:
        found = Fields(report, "report")
        model, settings = found.inner("model"), found.inner("settings")
        environment = found.optional("environment", found.inner)
        return ReportValue(
            made_at=found.text("made_at"),
            base=model.text("base"),
            base_revision=model.text("base_revision"),
            adapter=model.optional("adapter", model.text),
            adapter_revision=model.optional("adapter_revision", model.text),
            device=model.text("device"),
            dtype=model.text("dtype"),
            limit=settings.optional("limit", settings.count),
            measures=tuple(_measure(each) for each in found.several("measures", at_most=MAX_MEASURES)),
            note=(environment and environment.optional("note", environment.text)) or "",
        )
    except WrongError as error:
        raise DataError(
            f"{name} is no report of an evaluation: {error}. Give a report.json of python -m phi2demo evaluate."
        ) from error


def as_measures(measures: Sequence[object], *, name: str = "The file") -> tuple[MeasureValue, ...]:
    """The measures of one or several reports, checked; DataError says which field is missing or wrong."""
    try:
        return tuple(_measure(Fields(each, f"measures[{at}]")) for at, each in enumerate(measures))
    except WrongError as error:
        raise DataError(f"{name} has a measure that is none of an evaluation: {error}.") from error


def _measure(found: Fields) -> MeasureValue:
    data, decoding = found.inner("data"), found.optional("generation", found.inner)
    strength = decoding.optional("adapter_strength", decoding.number) if decoding else None
    return MeasureValue(
        name=found.text("name"),
        task=found.text("task"),
        n=found.count("n"),
        figures=tuple(_figure(each) for each in found.several("figures")),
        slices=tuple(_slice(each) for each in found.optional("slices", found.several) or ()),
        data_sha256=data.text("sha256"),
        contamination=_contamination(standing) if (standing := found.optional("contamination", found.inner)) else None,
        adapter_strength=1.0 if strength is None else strength,
    )


def _contamination(found: Fields) -> ContaminationValue:
    return ContaminationValue(found.count(IN_TRAINING), found.count(IN_VALIDATION))


def _slice(found: Fields) -> SliceValue:
    by = found.text("by")
    if by not in DIMENSIONS:
        raise WrongError(f"{found.where}.by is {by!r}")
    figures = tuple(_figure(each) for each in found.several("figures"))
    bounds = found.optional("bounds", found.inner)
    return SliceValue(
        by,
        found.text("name"),
        found.count("n"),
        found.flag("enough"),
        figures,
        (bounds.number("low"), bounds.number("high")) if bounds else None,
    )


def _figure(found: Fields) -> FigureValue:
    scores = found.inner("scores")
    base = found.optional("base", found.text)
    difference = found.optional("difference", found.inner)
    values = {form: _score(scores.inner(form)) for form in FORMS if form in scores}
    if base is not None and (base not in BASES or base not in values):
        raise WrongError(f"{found.where}.base is {base!r}")
    return FigureValue(
        metric=found.text("metric"),
        title=found.text("title"),
        higher_is_better=found.flag("higher_is_better"),
        digits=min(found.count("digits"), 6),
        scores=values,
        base=base,
        difference=_difference(difference) if difference and base and "finetuned" in values else None,
    )


def _score(found: Fields) -> ScoreValue:
    return ScoreValue(found.number("score"), found.optional("low", found.number), found.optional("high", found.number))


def _difference(found: Fields) -> DifferenceValue:
    return DifferenceValue(found.number("value"), found.number("low"), found.number("high"), found.number("p"))


assert set(FORM_TITLES) == set(get_args(FormName))
