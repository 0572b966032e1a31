"""Scores against how much the measured models were trained: what more training brought, and may bring. Knows no file."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.figures import BASES
from phi2demo.evaluation.report import to_table
from phi2demo.evaluation.results import FigureValue, MeasureValue, ReportValue, ScoreValue, TrainingValue
from phi2demo.evaluation.wording import number

Along = Literal["operations", "tokens"]
"""All floating-point operations of the training, or the tokens of finetunings of one base."""

MILLION = 10**6

Targets = Mapping[tuple[str, str], float]
"""Scores to reach, by names of measure and metric."""


@dataclass(frozen=True)
class Trained:
    """Weights that were measured."""

    base_revision: str
    adapter_revision: str | None
    training: TrainingValue

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
        last = self.points[-1].finetuned.score
        return self.target is not None and (last >= self.target if self.higher_is_better else last <= self.target)

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


def learning_curves(reports: Sequence[ReportValue], *, targets: Targets | None = None) -> LearningCurves:
    """The curves of all measures with a finetuned score of at least two amounts of training, and of their targets.

    Reports of the same weights are taken together; a measure counts where its items are the same. Told are a measure's
    metrics that have a target, else its first. DataError where the reports do not say how much was trained or nothing compares,
    SettingsError for a target that nothing measures.
    """
    targets = targets or {}
    found: dict[tuple[str, str | None], tuple[Trained, list[MeasureValue]]] = {}
    for report in reports:
        if report.training is None:
            raise DataError(
                f"The report of {report.made_at} does not say how much its model was trained. Measure it again with "
                "python -m phi2demo evaluate."
            )
        trained = Trained(report.base_revision, report.adapter_revision, report.training)
        found.setdefault((report.base_revision, report.adapter_revision), (trained, []))[1].extend(report.measures)
    along = _along([trained for trained, _ in found.values()])
    ordered = sorted(found.values(), key=lambda each: (each[0].amount(along) or 0, each[0].training.parameters))
    curves = [
        curve
        for measure, metric in _to_tell([measures for _, measures in ordered], targets)
        if (curve := _curve(measure, metric, ordered, along, targets))
    ]
    if missing := [key for key in targets if key not in {(curve.measure, curve.metric) for curve in curves}]:
        measure, metric = missing[0]
        raise SettingsError(f"Nothing compares for the target of {measure}:{metric}: no two reports have it.")
    if not curves:
        raise DataError(
            "The reports have no measure in common on the same items. Measure the same files with each model."
        )
    return LearningCurves(along, tuple(trained for trained, _ in ordered), tuple(curves))


def _along(weights: Sequence[Trained]) -> Along:
    if all(each.amount("operations") for each in weights):
        return "operations"
    if len({each.base_revision for each in weights}) == 1 and all(each.amount("tokens") for each in weights):
        return "tokens"
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


def _curve(
    name: str,
    metric: str,
    weights: Sequence[tuple[Trained, Sequence[MeasureValue]]],
    along: Along,
    targets: Targets,
) -> LearningCurve | None:
    """None where fewer than two amounts of training were measured on the items that the best trained was."""
    asked = [
        (at, amount, measure, figure)
        for at, (trained, measures) in enumerate(weights)
        if (amount := trained.amount(along))
        for measure in measures
        for figure in measure.figures
        if (measure.name, figure.metric) == (name, metric) and "finetuned" in figure.scores
    ]
    if not asked:
        return None
    *_, last, figure = asked[-1]
    same = [each for each in asked if (each[2].data_sha256, each[2].n) == (last.data_sha256, last.n)]
    if len({amount for _, amount, *_ in same}) < 2:
        return None
    return LearningCurve(
        measure=name,
        metric=metric,
        title=figure.title,
        higher_is_better=figure.higher_is_better,
        digits=figure.digits,
        n=last.n,
        points=tuple(Point(at, amount, each.scores["finetuned"], _base(each)) for at, amount, _, each in same),
        people=next((score for each, score in last.people.figures if each.metric == metric), None)
        if last.people
        else None,
        target=targets.get((name, metric)),
    )


def _base(figure: FigureValue) -> ScoreValue | None:
    """The score of the base's better form."""
    sign = 1 if figure.higher_is_better else -1
    scores = [figure.scores[form] for form in BASES if form in figure.scores]
    return max(scores, key=lambda score: sign * score.score, default=None)


def to_markdown(told: LearningCurves) -> str:
    """Two tables: the weights, and what they score, with what finetuning added in brackets."""
    amounts = [each.amount(told.along) or 0.0 for each in told.weights]
    heads = [amount_text(amount) for amount in amounts]
    weights = to_table(
        [told.along, "parameters", "tokens of pretraining", "tokens of finetuning", "weights"],
        [
            [
                head,
                f"{each.training.parameters:,}",
                _tokens(each.training.pretraining_tokens),
                _tokens(each.training.finetuning_tokens),
                "-".join(part[:12] for part in (each.base_revision, each.adapter_revision) if part),
            ]
            for head, each in zip(heads, told.weights, strict=True)
        ],
    )
    head = ["measure", "metric", "n", *heads, "ten times as much brought", "people", "target", "training for it"]
    return f"{weights}\n\n{to_table(head, [_row(curve, len(amounts)) for curve in told.curves])}"


def _row(curve: LearningCurve, weights: int) -> list[str]:
    return [
        curve.measure,
        curve.title if curve.higher_is_better else f"{curve.title} (lower is better)",
        f"{curve.n:,}",
        *scores_of(curve, weights),
        number(curve.per_tenfold, curve.digits, signed=True),
        number(curve.people.score, curve.digits) if curve.people else "",
        number(curve.target, curve.digits) if curve.target is not None else "",
        needed(curve),
    ]


def scores_of(curve: LearningCurve, weights: int) -> list[str]:
    """Of each of so many weights, in brackets less that of the base; empty where they were not measured."""
    scores = {point.at: _score_of(point, curve.digits) for point in curve.points}
    return [scores.get(at, "") for at in range(weights)]


def _score_of(point: Point, digits: int) -> str:
    score = number(point.finetuned.score, digits)
    if point.base is None:
        return score
    return f"{score} ({number(point.finetuned.score - point.base.score, digits, signed=True)})"


def needed(curve: LearningCurve) -> str:
    """In words, what a target takes; empty without one."""
    if curve.target is None:
        return ""
    if curve.reached:
        return "reached"
    if curve.times is None:
        return "not by more of the same"
    if curve.times >= MILLION:
        return "over a million times the most"
    return f"{float(f'{curve.times:.2g}'):,g} times the most"


def amount_text(amount: float) -> str:
    """As 1.9e15."""
    mantissa, _, exponent = f"{amount:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _tokens(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
