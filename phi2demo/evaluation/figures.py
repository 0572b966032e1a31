"""From answers to figures: scores with intervals for each system and baseline, and the finetuned model against its base.

What each item contributes to a score is computed once, and resampled for the whole test set and for each of its slices.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from phi2demo.data.contamination import ContaminationLabel
from phi2demo.data.test_sets import TestSet
from phi2demo.evaluation.metrics import Metric, metrics_for
from phi2demo.evaluation.outputs import SystemName
from phi2demo.evaluation.report import Bounds, Difference, Figure, Score, Slice, SourceFile, TestSetResult, better_base
from phi2demo.evaluation.slices import LEAST_TO_RANK, slices_of
from phi2demo.evaluation.statistics import Drawn, Resamples, Statistics

Baseline = Sequence[str] | float


@dataclass(frozen=True)
class Scored:
    """The answers to a test set as sufficient statistics: one row for each item, by metric and system."""

    test_set: TestSet
    metrics: tuple[Metric, ...]
    statistics: tuple[Mapping[SystemName, Statistics], ...]
    """One mapping for each metric."""

    @classmethod
    def of(cls, test_set: TestSet, outputs: Mapping[SystemName, Sequence[str]]) -> "Scored":
        """Compute the statistics of `outputs`, which are in the order of the items."""
        references = [item.references for item in test_set.items]
        metrics = metrics_for(test_set.kind, references)
        statistics = tuple(
            {system: metric.statistics(texts, references) for system, texts in outputs.items()} for metric in metrics
        )
        return cls(test_set, metrics, statistics)

    def figures(self, resamples: Resamples, *, baselines: Mapping[str, Baseline]) -> tuple[Figure, ...]:
        """Compute one figure for each metric; none where no item was scored.

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
        """Compute the figures of each slice as if its items were the whole test set; see `slices_of`."""
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
    """Compute one metric of some items; None where a system has no finite score, for example because no item was scored.

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
    """Put what was `measured` on a test set together with its name, task and file."""
    source = SourceFile(**asdict(test_set.file))
    return TestSetResult(name=test_set.name, task=test_set.task, data=source, **measured)
