"""Finetuned against base over all sets of a task: what each set alone may be too small to tell.

A random-effects meta-analysis (DerSimonian and Laird, "Meta-analysis in clinical trials", 1986): the differences of the
sets, weighted by the inverse of their variances, which are what their 95 % intervals tell and how far the gains of the task
differ from set to set. It takes the sets to be independent. How far they differ is itself known from few sets: so interval
and p are of Student's t, and never narrower than what the sets really scatter by (Hartung and Knapp, "A refined method for
the meta-analysis of controlled clinical trials with binary outcome", 2001; the bound is that of Röver, Knapp and Friede,
"Hartung-Knapp-Sidik-Jonkman approach and its modification", 2015). Two or three sets seldom come to anything sure by it.
How much of what they differ by is more than chance, I squared tells (Higgins and Thompson, "Quantifying heterogeneity in a
meta-analysis", 2002).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from scipy.special import stdtr, stdtrit

from phi2demo.evaluation.report import in_cell
from phi2demo.evaluation.results import DifferenceValue, FigureValue, MeasureValue, gain_of
from phi2demo.evaluation.slices import LEAST_TO_RANK
from phi2demo.evaluation.wording import metric_title

EVEN = "no sure difference"
QUANTILE = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class TaskFigure:
    """One metric over all sets of one task."""

    task: str
    """What the names of its measures begin with."""
    title: str
    """Of the metric."""
    higher_is_better: bool
    digits: int
    sets: int
    """Those whose differences have an interval, or the first."""
    n: int
    """Items of these."""
    difference: DifferenceValue
    """Finetuned less the base's better form on each set; of a single set, its own."""
    heterogeneity: float
    """I squared, from 0 to 1: the share of what the sets differ by that is more than chance."""

    @property
    def gain(self) -> float:
        """The difference, positive where finetuning made it better."""
        return gain_of(self.difference, higher_is_better=self.higher_is_better)

    @property
    def verdict(self) -> str:
        """better, worse, or EVEN."""
        if not self.difference.is_clear or not self.gain:
            return EVEN
        return "better" if self.gain > 0 else "worse"


def by_task(measures: Sequence[MeasureValue]) -> tuple[TaskFigure, ...]:
    """The metrics that all sets of a task share, task by task; none of a task whose sets have too few items together."""
    found: list[TaskFigure] = []
    for task in dict.fromkeys(_task(measure) for measure in measures):
        own = [measure for measure in measures if _task(measure) == task and _compared(measure)]
        if sum(measure.n for measure in own) >= LEAST_TO_RANK:
            found += _of_task(task, own)
    return tuple(found)


def to_markdown(measures: Sequence[MeasureValue]) -> str:
    """A row for each task and metric; empty where no task has several sets."""
    figures = by_task(measures)
    if all(figure.sets < 2 for figure in figures):
        return ""
    head = ("task", "metric", "sets", "n", "difference", "p", "finetuned", "I²")
    rows = [head, ("---",) * len(head), *map(_cells, figures)]
    return "\n".join(f"| {' | '.join(map(in_cell, row))} |" for row in rows)


def _cells(figure: TaskFigure) -> tuple[str, ...]:
    value, low, high = (
        f"{each:+.{figure.digits}f}"
        for each in (figure.difference.value, figure.difference.low, figure.difference.high)
    )
    title = metric_title(figure.title, higher_is_better=figure.higher_is_better)
    difference, p = f"{value} ({low} to {high})", p_value(figure.difference.p)
    told = (figure.task, title, str(figure.sets), f"{figure.n:,}", difference, p, figure.verdict)
    return (*told, percent(figure))


def p_value(p: float) -> str:
    """To three digits; never as nothing."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def _of_task(task: str, measures: Sequence[MeasureValue]) -> Iterator[TaskFigure]:
    tables = [{figure.metric: figure for figure in _compared(measure)} for measure in measures]
    for metric, first in tables[0].items():
        if all(metric in table for table in tables):
            pairs = [(m.n, d) for m, table in zip(measures, tables, strict=True) if (d := table[metric].difference)]
            pairs = [(n, difference) for n, difference in pairs if _told([difference])] or pairs[:1]
            differences, n = [difference for _, difference in pairs], sum(n for n, _ in pairs)
            told = (combined(differences), heterogeneity(differences))
            yield TaskFigure(task, first.title, first.higher_is_better, first.digits, len(pairs), n, *told)


def combined(differences: Sequence[DifferenceValue]) -> DifferenceValue:
    """One difference of several; a set whose interval is a point tells nothing of its variance and is left out.

    Raises ValueError where there are none.
    """
    if not differences:
        raise ValueError("there is no difference to combine")
    told = _told(differences)
    if len(differences) == 1 or not told:
        return differences[0]
    between = _between(told)
    weights = [1 / (1 / _weight(each) + between) for each in told]
    value = sum(weight * each.value for weight, each in zip(weights, told, strict=True)) / sum(weights)
    if len(told) == 1:
        return told[0]
    free = len(told) - 1
    scatter = sum(weight * (each.value - value) ** 2 for weight, each in zip(weights, told, strict=True)) / free
    error = math.sqrt(max(1.0, scatter) / sum(weights))
    reach = float(stdtrit(free, 0.975)) * error
    return DifferenceValue(value, value - reach, value + reach, 2 * float(stdtr(free, -abs(value) / error)))


def heterogeneity(differences: Sequence[DifferenceValue]) -> float:
    """I squared, from Cochran's Q of those that have an interval; 0 where fewer than two have."""
    told = _told(differences)
    q = _q(told)
    return max(0.0, 1 - (len(told) - 1) / q) if q else 0.0


def percent(figure: TaskFigure) -> str:
    """I squared as it is shown; nothing for a single set."""
    return f"{100 * figure.heterogeneity:.0f} %" if figure.sets > 1 else ""


def _told(differences: Sequence[DifferenceValue]) -> list[DifferenceValue]:
    return [each for each in differences if each.high > each.low]


def _q(told: Sequence[DifferenceValue]) -> float:
    """Cochran's Q: squared distances from the mean of the sets, in variances of each."""
    weights = list(map(_weight, told))
    mean = sum(weight * each.value for weight, each in zip(weights, told, strict=True)) / sum(weights) if told else 0.0
    return sum(weight * (each.value - mean) ** 2 for weight, each in zip(weights, told, strict=True))


def _between(told: Sequence[DifferenceValue]) -> float:
    """The variance of the gains between sets."""
    if len(told) < 2:
        return 0.0
    weights = list(map(_weight, told))
    scale = sum(weights) - sum(weight**2 for weight in weights) / sum(weights)
    return max(0.0, (_q(told) - (len(told) - 1)) / scale)


def _weight(difference: DifferenceValue) -> float:
    """The inverse of its variance."""
    return (2 * QUANTILE / (difference.high - difference.low)) ** 2


def _compared(measure: MeasureValue) -> list[FigureValue]:
    return [figure for figure in measure.figures if figure.difference]


def _task(measure: MeasureValue) -> str:
    return measure.name.partition(".")[0]
