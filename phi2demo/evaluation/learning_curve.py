"""Scores against how much the measured models were trained: what more training brought, and may bring. Knows no file."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.figures import BASES
from phi2demo.evaluation.results import FigureValue, MeasureValue, ReportValue, ScoreValue, TrainingValue

Along = Literal["operations", "tokens"]
"""All floating-point operations of the training, or the tokens of finetunings of one base."""

Targets = Mapping[tuple[str, str], float]
"""Scores to reach, by names of measure and metric."""


@dataclass(frozen=True)
class Trained:
    """Weights that were measured."""

    base_revision: str
    adapter_revision: str | None
    training: TrainingValue

    def is_of(self, report: ReportValue) -> bool:
        """Whether these are the weights of a report."""
        return (self.base_revision, self.adapter_revision) == (report.base_revision, report.adapter_revision)

    def amount(self, along: Along) -> float | None:
        """How much training; None where the records do not tell.

        A token takes six operations for each parameter forward and back (Kaplan et al., "Scaling laws for neural language
        models", 2020), and four in finetuning with LoRA, where the base's weights get no gradients.
        """
        training = self.training
        finetuned = training.finetuning_tokens if self.adapter_revision else 0
        if along == "tokens":
            return finetuned
        if training.pretraining_tokens is None or finetuned is None:
            return None
        return training.parameters * (6.0 * training.pretraining_tokens + 4.0 * finetuned)


@dataclass(frozen=True)
class Point:
    """What weights score."""

    at: int
    """Their place among all weights, from the least trained on."""
    amount: float
    finetuned: ScoreValue
    base: ScoreValue | None
    """In its better form."""


@dataclass(frozen=True)
class LearningCurve:
    """One metric of one measure, from the least training to the most."""

    measure: str
    metric: str
    title: str
    higher_is_better: bool
    digits: int
    n: int
    points: tuple[Point, ...]
    people: ScoreValue | None
    """What people score against one another on those of the items that several answered."""
    target: float | None

    @property
    def reached(self) -> bool:
        """Whether the best trained has the target."""
        return self._reaches(self.points[-1])

    @property
    def reached_before(self) -> bool:
        """Whether one that was trained less has it."""
        return any(map(self._reaches, self.points[:-1]))

    def _reaches(self, point: Point) -> bool:
        score = point.finetuned.score
        return self.target is not None and (score >= self.target if self.higher_is_better else score <= self.target)

    @property
    def per_tenfold(self) -> float:
        """What ten times the training brought: the slope of the least squares line over log10 of the amounts."""
        xs = [math.log10(point.amount) for point in self.points]
        ys = [point.finetuned.score for point in self.points]
        x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
        return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / sum(
            (x - x_mean) ** 2 for x in xs
        )

    @property
    def times(self) -> float | None:
        """How often the most training is needed for the target if the line goes straight on; None where it never comes."""
        if self.target is None or self.reached:
            return None
        tenfolds = (self.target - self.points[-1].finetuned.score) / self.per_tenfold if self.per_tenfold else -1.0
        return float(10**tenfolds) if 0 < tenfolds < 30 else None


@dataclass(frozen=True)
class LearningCurves:
    """All that several reports tell together."""

    along: Along
    weights: tuple[Trained, ...]
    """From the least training to the most."""
    curves: tuple[LearningCurve, ...]


def learning_curves(
    reports: Sequence[ReportValue], *, targets: Targets | None = None, of: ReportValue | None = None
) -> LearningCurves:
    """The curves of all measures with a finetuned score of at least two amounts of training, and of their targets.

    Reports of the same weights are taken together; a measure counts where items and strength of the adapter are the
    same. Told are a measure's metrics that have a target, else its first; with `of` only what its weights have a score
    of. DataError where the reports do not say how much was trained or nothing compares, SettingsError for a target that
    nothing measures.
    """
    targets = targets or {}
    found: dict[tuple[str, str | None], tuple[Trained, list[MeasureValue]]] = {}
    for report in filter(_has_finetuned, reports):
        if report.training is None:
            raise DataError(
                f"The report of {report.made_at} does not say how much its model was trained. Measure it again with "
                "python -m phi2demo evaluate."
            )
        trained = Trained(report.base_revision, report.adapter_revision, report.training)
        found.setdefault((report.base_revision, report.adapter_revision), (trained, []))[1].extend(report.measures)
    along = _along([trained for trained, _ in found.values()])
    ordered = sorted(found.values(), key=lambda each: (each[0].amount(along) or 0, each[0].training.parameters))
    place = None if of is None else next((at for at, (trained, _) in enumerate(ordered) if trained.is_of(of)), -1)
    curves = [
        curve
        for measure, metric in _to_tell([measures for _, measures in ordered], targets)
        if (
            curve := _curve(
                measure, metric, _measured(measure, metric, ordered, along, place), targets.get((measure, metric))
            )
        )
    ]
    if missing := [key for key in targets if key not in {(curve.measure, curve.metric) for curve in curves}]:
        measure, metric = missing[0]
        raise SettingsError(f"Nothing compares for the target of {measure}:{metric}: no two reports have it.")
    if not curves:
        raise DataError(
            "The reports have no measure in common on the same items. Measure the same files with each model."
        )
    return LearningCurves(along, tuple(trained for trained, _ in ordered), tuple(curves))


def _has_finetuned(report: ReportValue) -> bool:
    return any("finetuned" in figure.scores for measure in report.measures for figure in measure.figures)


def _along(weights: Sequence[Trained]) -> Along:
    """Tokens where they are all that differs: what one base has seen would hide it."""
    if len({each.base_revision for each in weights}) == 1 and all(each.amount("tokens") for each in weights):
        return "tokens"
    if all(each.amount("operations") for each in weights):
        return "operations"
    raise DataError(
        "The reports do not say how much each model was trained: without the records of pretraining they have to be of "
        "finetunings of one base, each with its finetuning.json beside the adapter."
    )


def _to_tell(measures: Iterable[Sequence[MeasureValue]], targets: Targets) -> list[tuple[str, str]]:
    """Names of measure and metric, in the order of the reports."""
    told: dict[tuple[str, str], None] = {}
    for each in (measure for several in measures for measure in several):
        metrics = [figure.metric for figure in each.figures]
        for metric in [name for name in metrics if (each.name, name) in targets] or metrics[:1]:
            told[each.name, metric] = None
    return list(told)


@dataclass(frozen=True)
class _Measured:
    """A figure of some weights, which are those `at` a place among all."""

    at: int
    amount: float
    measure: MeasureValue
    figure: FigureValue

    @property
    def items(self) -> tuple[str, int, float]:
        """What has to be the same for two scores to compare: the file, how much of it, and the strength."""
        return self.measure.data_sha256, self.measure.n, self.measure.adapter_strength


def _measured(
    name: str, metric: str, weights: Sequence[tuple[Trained, Sequence[MeasureValue]]], along: Along, place: int | None
) -> list[_Measured]:
    """One of each of the weights that compare, from the least training on.

    Of several sets of items of one name that one which the most weights were measured on, those at `place` among them
    where it is given.
    """
    sets: dict[tuple[str, int, float], dict[int, _Measured]] = {}
    for at, (trained, measures) in enumerate(weights):
        for measure in measures:
            for figure in measure.figures:
                if (measure.name, figure.metric) == (name, metric) and "finetuned" in figure.scores:
                    found = _Measured(at, trained.amount(along) or 0.0, measure, figure)
                    sets.setdefault(found.items, {})[at] = found
    fitting = [found for found in sets.values() if place is None or place in found]
    return list(max(fitting, key=len, default={}).values())


def _curve(name: str, metric: str, measured: Sequence[_Measured], target: float | None) -> LearningCurve | None:
    """None of fewer than two amounts of training."""
    if len({round(math.log10(each.amount), 6) for each in measured}) < 2:
        return None
    last, figure = measured[-1].measure, measured[-1].figure
    return LearningCurve(
        measure=name,
        metric=metric,
        title=figure.title,
        higher_is_better=figure.higher_is_better,
        digits=figure.digits,
        n=last.n,
        points=tuple(
            Point(each.at, each.amount, each.figure.scores["finetuned"], _base(each.figure)) for each in measured
        ),
        people=next((score for each, score in last.people.figures if each.metric == metric), None)
        if last.people
        else None,
        target=target,
    )


def _base(figure: FigureValue) -> ScoreValue | None:
    """The score of the base's better form."""
    sign = 1 if figure.higher_is_better else -1
    scores = [figure.scores[form] for form in BASES if form in figure.scores]
    return max(scores, key=lambda score: sign * score.score, default=None)
