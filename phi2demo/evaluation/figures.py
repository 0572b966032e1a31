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
from phi2demo.evaluation.report import Bounds, Difference, Figure, Score, Slice, SourceFile, TestSetResult, better_base
from phi2demo.evaluation.slices import LEAST_TO_RANK, slices_of
from phi2demo.evaluation.statistics import Drawn, Resamples, Statistics
from phi2demo.evaluation.systems import Answer, System, SystemName, confidences_in

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

    def figures(self, resamples: Resamples, *, baselines: Mapping[str, Baseline]) -> tuple[Figure, ...]:
        """One figure for each metric; none where no item was scored.

        The outputs of a baseline are in the order of the items; a baseline that is a number is a score itself, without
        an interval. The better base is chosen for each metric by the score that it is compared by.
        """
        return tuple(
            figure.model_copy(
                update={
                    "signature": metric.signature,
                    "baselines": self._baselines(metric, baselines, resamples) if metric.of_baselines else {},
                }
            )
            for metric, statistics in zip(self.metrics, self.statistics, strict=True)
            if (figure := _figure(metric, statistics, resamples))
        )

    def slices(
        self,
        *,
        resamples: int,
        seed: int,
        contamination: Sequence[ContaminationLabel] | None = None,
        confidences: Sequence[float | None] | None = None,
    ) -> tuple[Slice, ...]:
        """The figures of each slice, as if its items were all there are; see `slices_of`."""
        return tuple(
            Slice(
                by=part.by,
                name=part.name,
                n=len(part.indexes),
                enough=part.enough,
                **({"bounds": Bounds(low=part.bounds[0], high=part.bounds[1])} if part.bounds else {}),
                figures=self._figures_of(
                    part.indexes, Resamples.draw(len(part.indexes), resamples=resamples, seed=seed)
                ),
            )
            for part in slices_of(self.test_set, contamination=contamination, confidences=confidences)
        )

    def _figures_of(self, indexes: Sequence[int], resamples: Resamples) -> tuple[Figure, ...]:
        chosen = list(indexes)
        return tuple(
            figure
            for metric, statistics in zip(self.metrics, self.statistics, strict=True)
            if (figure := _figure(metric, {system: rows[chosen] for system, rows in statistics.items()}, resamples))
        )

    def _baselines(self, metric: Metric, baselines: Mapping[str, Baseline], resamples: Resamples) -> dict[str, Score]:
        references = [item.references for item in self.test_set.items]
        return {
            name: Score(score=baseline, low=None, high=None)
            if isinstance(baseline, float)
            else Score(**asdict(resamples.estimate(metric.statistics(baseline, references), metric.score)))
            for name, baseline in baselines.items()
        }


def _count_scored(metric: Metric, statistics: Statistics) -> int:
    return int(np.count_nonzero(statistics[:, 1])) if metric.ratio else len(statistics)


def _figure(metric: Metric, statistics: Mapping[SystemName, Statistics], resamples: Resamples) -> Figure | None:
    """One metric of some items; None where a system has no finite score, for example because no item was scored.

    It has no difference where some items were scored, but too few to rank systems by.
    """
    drawn: dict[SystemName, Drawn] = {
        system: resamples.drawn(rows, metric.score) for system, rows in statistics.items()
    }
    scores = {system: sample.score for system, sample in drawn.items()}
    if not all(map(math.isfinite, scores.values())):
        return None
    scored = min(_count_scored(metric, rows) for rows in statistics.values())
    enough = scored >= LEAST_TO_RANK or scored == len(next(iter(statistics.values())))
    base = better_base(scores, higher_is_better=metric.higher_is_better)
    compared: dict[str, Any] = {}
    if base and "finetuned" in drawn and enough:
        compared = {"base": base, "difference": Difference(**asdict(drawn["finetuned"].less(drawn[base])))}
    return Figure(
        metric=metric.name,
        title=metric.title,
        higher_is_better=metric.higher_is_better,
        digits=metric.digits,
        scores={system: Score(**asdict(sample.estimate)) for system, sample in drawn.items()},
        **compared,
    )


def result_of(test_set: TestSet, **measured: Any) -> TestSetResult:
    """What was measured on a test set, with its name, task and file."""
    source = SourceFile(**asdict(test_set.file))
    return TestSetResult(name=test_set.name, task=test_set.task, data=source, **measured)


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

    def partial(self) -> TestSetResult | None:
        """The first metric of the items that can be compared, without intervals; None where there are no such items."""
        items = self.common
        if not items:
            return None
        references = [item.references for item in items]
        metric = metrics_for(self.drawn.test_set.kind, references)[0]
        scores = {
            system: metric.score(metric.statistics(outputs, references).sum(0))
            for system, outputs in self._outputs(items).items()
        }
        figure = Figure(
            metric=metric.name,
            title=metric.title,
            higher_is_better=metric.higher_is_better,
            digits=metric.digits,
            scores={system: Score(score=score) for system, score in scores.items()},
        )
        return result_of(self.drawn.test_set, n=len(items), figures=(figure,))

    def result(self, *, resamples: int, seed: int) -> TestSetResult:
        """The results so far, as a report has them; at least one item has to be answered by every system."""
        items = self.common
        part, rows = self.drawn.part(items), [row for row in self.rows if row.index in {item.index for item in items}]
        scored = Scored.of(part, self._outputs(items))
        seconds = {name: sum(row.seconds for row in rows if row.system == name) for name in self.systems}
        return result_of(
            part,
            n=len(items),
            indexes=tuple(item.index for item in items),
            generation=next(iter(self.systems.values())).settings,
            unanswered={
                name: sum("unanswered" in row.details for row in rows if row.system == name) for name in self.systems
            },
            figures=scored.figures(Resamples.draw(len(items), resamples=resamples, seed=seed), baselines={}),
            slices=scored.slices(
                resamples=resamples,
                seed=seed,
                confidences=confidences_in(
                    {name: [kept[item.index].details for item in items] for name, kept in self._rows.items()}
                ),
            ),
            seconds={name: round(value, 3) for name, value in seconds.items()},
        )

    def examples(self) -> list[Example]:
        """The items that can be compared, with what each form made of them."""
        outputs = {name: {index: row.output for index, row in kept.items()} for name, kept in self._rows.items()}
        return examples_of(self.drawn.part(self.common), outputs)

    def _outputs(self, items: Sequence[Item]) -> dict[SystemName, list[str]]:
        return {name: [kept[item.index].output for item in items] for name, kept in self._rows.items()}
