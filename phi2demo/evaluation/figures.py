"""From answers to figures: scores with intervals for each form and peer, and the finetuned model against its base.

What each item contributes to a score is computed once, and resampled for the whole measure and for every slice of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from phi2demo.data.contamination import ContaminationLabel
from phi2demo.data.test_sets import Item, TestSet
from phi2demo.evaluation.examples import Example, examples_of
from phi2demo.evaluation.metrics import Metric, metrics_for
from phi2demo.evaluation.slices import LEAST_TO_RANK, slices_of
from phi2demo.evaluation.statistics import Drawn, Resamples, Statistics
from phi2demo.evaluation.systems import Answer, System, SystemName, confidences_in

BASES: tuple[SystemName, ...] = ("base_template", "base_plain")

Baseline = Sequence[str] | float


@dataclass(frozen=True)
class Scored:
    """The answers to a measure as sufficient statistics: one row for each item, by metric and form."""

    test_set: TestSet
    metrics: tuple[Metric, ...]
    statistics: tuple[Mapping[SystemName, Statistics], ...]
    """Of each metric."""

    @classmethod
    def of(cls, test_set: TestSet, outputs: Mapping[SystemName, Sequence[str]]) -> "Scored":
        """`outputs` are in the order of the items."""
        references = [item.references for item in test_set.items]
        metrics = metrics_for(test_set.kind, references)
        statistics = tuple(
            {system: metric.statistics(texts, references) for system, texts in outputs.items()} for metric in metrics
        )
        return cls(test_set, metrics, statistics)

    def figures(self, resamples: Resamples, *, baselines: Mapping[str, Baseline]) -> list[dict[str, Any]]:
        """One for each metric, as JSON values; none where no item was scored.

        `baselines` are in the order of the items; a peer that is a number is a score itself, without interval. The base's
        better form is chosen for each metric by the very score that it is compared by.
        """
        return [
            figure
            | {"signature": metric.signature}
            | {"baselines": self._baselines(metric, baselines, resamples) if metric.of_baselines else {}}
            for metric, statistics in zip(self.metrics, self.statistics, strict=True)
            if (figure := _figure(metric, statistics, resamples))
        ]

    def slices(
        self,
        *,
        resamples: int,
        seed: int,
        contamination: Sequence[ContaminationLabel] | None = None,
        confidences: Sequence[float | None] | None = None,
    ) -> list[dict[str, Any]]:
        """The figures of each slice, as JSON values, as if its items were all there are; see `slices_of`."""
        return [
            {
                "by": each.by,
                "name": each.name,
                "n": len(each.indexes),
                "enough": each.enough,
                **({"bounds": dict(zip(("low", "high"), each.bounds, strict=True))} if each.bounds else {}),
                "figures": self._figures_of(
                    each.indexes, Resamples.draw(len(each.indexes), resamples=resamples, seed=seed)
                ),
            }
            for each in slices_of(self.test_set, contamination=contamination, confidences=confidences)
        ]

    def _figures_of(self, indexes: Sequence[int], resamples: Resamples) -> list[dict[str, Any]]:
        chosen = list(indexes)
        return [
            figure
            for metric, statistics in zip(self.metrics, self.statistics, strict=True)
            if (figure := _figure(metric, {system: found[chosen] for system, found in statistics.items()}, resamples))
        ]

    def _baselines(self, metric: Metric, baselines: Mapping[str, Baseline], resamples: Resamples) -> dict[str, Any]:
        references = [item.references for item in self.test_set.items]
        return {
            name: {"score": baseline, "low": None, "high": None}
            if isinstance(baseline, float)
            else asdict(resamples.estimate(metric.statistics(baseline, references), metric.score))
            for name, baseline in baselines.items()
        }


def figures_of(
    test_set: TestSet,
    outputs: Mapping[SystemName, Sequence[str]],
    *,
    baselines: Mapping[str, Baseline],
    resamples: Resamples,
) -> list[dict[str, Any]]:
    """Those of a whole measure; see `Scored`."""
    return Scored.of(test_set, outputs).figures(resamples, baselines=baselines)


def _scored(metric: Metric, statistics: Statistics) -> int:
    return int(np.count_nonzero(statistics[:, 1])) if metric.ratio else len(statistics)


def better_base(scores: Mapping[SystemName, float], *, higher_is_better: bool) -> SystemName | None:
    """The form in which the base scores better; None where it was not asked."""
    asked = [system for system in BASES if system in scores]
    sign = 1 if higher_is_better else -1
    return max(asked, key=lambda system: sign * scores[system], default=None)


def _figure(metric: Metric, statistics: Mapping[SystemName, Statistics], resamples: Resamples) -> dict[str, Any]:
    """Empty where a form has no score that can be told, as where none of the items was scored.

    Of fewer scored items than can be ranked, where there are others, it says no difference: the items would say more.
    """
    drawn: dict[SystemName, Drawn] = {
        system: resamples.drawn(found, metric.score) for system, found in statistics.items()
    }
    if not all(math.isfinite(each.score) for each in drawn.values()):
        return {}
    scored = min(_scored(metric, found) for found in statistics.values())
    figure: dict[str, Any] = {
        "metric": metric.name,
        "title": metric.title,
        "higher_is_better": metric.higher_is_better,
        "digits": metric.digits,
        "scores": {system: asdict(each.estimate) for system, each in drawn.items()},
    }
    scores = {system: each.score for system, each in drawn.items()}
    base = better_base(scores, higher_is_better=metric.higher_is_better)
    told = scored >= LEAST_TO_RANK or scored == len(next(iter(statistics.values())))
    if base and "finetuned" in drawn and told:
        figure |= {"base": base, "difference": asdict(drawn["finetuned"].less(drawn[base]))}
    return figure


@dataclass(frozen=True)
class ItemSample:
    """Items of one measure that are asked."""

    test_set: TestSet
    """Whole: it bounds how long answers may be."""
    items: tuple[Item, ...]

    def part(self, items: tuple[Item, ...]) -> TestSet:
        """The measure of these items alone."""
        return replace(self.test_set, items=items)


@dataclass(frozen=True)
class LiveRow:
    """One answer."""

    test_set: str
    index: int
    """Of its item in the measure."""
    system: SystemName
    output: str
    seconds: float
    """Its share of its batch's."""
    details: dict[str, Any]


@dataclass(frozen=True)
class PartialFigure:
    """A score so far, without interval."""

    test_set: str
    title: str
    digits: int
    n: int
    scores: dict[SystemName, float]


class Tally:
    """The answers of a run to the items of one measure, in some forms."""

    def __init__(self, drawn: ItemSample, systems: Mapping[SystemName, System]) -> None:
        self.drawn, self.systems = drawn, systems
        self._rows: dict[SystemName, dict[int, LiveRow]] = {name: {} for name in systems}

    def keep(self, name: SystemName, items: Sequence[Item], answers: Sequence[Answer], seconds: float) -> None:
        """Add the answers to a batch, which took so long."""
        share = round(seconds / len(items), 6)
        for item, answer in zip(items, answers, strict=True):
            row = LiveRow(self.drawn.test_set.name, item.index, name, answer.output, share, answer.details)
            self._rows[name][item.index] = row

    @property
    def rows(self) -> list[LiveRow]:
        """All answers, form by form, in the order of the items."""
        return [kept[index] for kept in self._rows.values() for index in sorted(kept)]

    @property
    def common(self) -> tuple[Item, ...]:
        """The items that every form has answered: only these can be compared."""
        return tuple(item for item in self.drawn.items if all(item.index in kept for kept in self._rows.values()))

    def partial(self) -> PartialFigure | None:
        """The first metric of what can be compared; None where that is nothing."""
        items = self.common
        if not items:
            return None
        references = [item.references for item in items]
        metric = metrics_for(self.drawn.test_set.kind, references)[0]
        scores = {
            system: metric.score(metric.statistics(outputs, references).sum(0))
            for system, outputs in self._outputs(items).items()
        }
        return PartialFigure(self.drawn.test_set.name, metric.title, metric.digits, len(items), scores)

    def describe(self, *, resamples: int, seed: int) -> dict[str, Any]:
        """The measure as a report has it; there has to be something that can be compared."""
        items = self.common
        part, rows = self.drawn.part(items), [row for row in self.rows if row.index in {item.index for item in items}]
        scored = Scored.of(part, self._outputs(items))
        seconds = {name: sum(row.seconds for row in rows if row.system == name) for name in self.systems}
        return {
            "name": part.name,
            "task": part.task,
            "data": asdict(part.file),
            "n": len(items),
            "indexes": [item.index for item in items],
            "generation": next(iter(self.systems.values())).settings,
            "unanswered": {
                name: sum("unanswered" in row.details for row in rows if row.system == name) for name in self.systems
            },
            "figures": scored.figures(Resamples.draw(len(items), resamples=resamples, seed=seed), baselines={}),
            "slices": scored.slices(
                resamples=resamples,
                seed=seed,
                confidences=confidences_in(
                    {name: [kept[item.index].details for item in items] for name, kept in self._rows.items()}
                ),
            ),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        }

    def examples(self) -> list[Example]:
        """The items that can be compared, with what each form made of them."""
        outputs = {name: {index: row.output for index, row in kept.items()} for name, kept in self._rows.items()}
        return examples_of(self.drawn.part(self.common), outputs)

    def _outputs(self, items: Sequence[Item]) -> dict[SystemName, list[str]]:
        return {name: [kept[item.index].output for item in items] for name, kept in self._rows.items()}
