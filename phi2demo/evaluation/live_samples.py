"""The items that a live run asks, and the answers of each system to them. Knows no model and no page."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from phi2demo.data.test_sets import Item, TestSet
from phi2demo.errors import SettingsError
from phi2demo.evaluation.examples import Example, examples_of
from phi2demo.evaluation.figures import Scored, result_of
from phi2demo.evaluation.metrics import metrics_for
from phi2demo.evaluation.outputs import Answer, SystemName
from phi2demo.evaluation.report import (
    Figure,
    Score,
    TestSetResult,
)
from phi2demo.evaluation.statistics import SEED, Resamples
from phi2demo.evaluation.systems import System, confidences_in


@dataclass(frozen=True)
class ItemSample:
    """Items of one test set that are asked."""

    test_set: TestSet
    """The whole test set, because it bounds how long answers may be."""
    items: tuple[Item, ...]

    def part(self, items: tuple[Item, ...]) -> TestSet:
        """Restrict the test set to some items."""
        return replace(self.test_set, items=items)


@dataclass(frozen=True)
class LiveRow:
    """One answer."""

    test_set: str
    index: int
    """Of the item in its test set."""
    system: SystemName
    output: str
    seconds: float
    """Its share of the seconds of its batch."""
    details: dict[str, Any]


class Tally:
    """The answers of a live run to the items of one test set, by system."""

    def __init__(self, sample: ItemSample, systems: Mapping[SystemName, System]) -> None:
        self.sample, self.systems = sample, systems
        self._rows: dict[SystemName, dict[int, LiveRow]] = {name: {} for name in systems}

    def add(self, name: SystemName, items: Sequence[Item], answers: Sequence[Answer], seconds: float) -> None:
        """Add the answers to a batch, which took `seconds`."""
        share = round(seconds / len(items), 6)
        for item, answer in zip(items, answers, strict=True):
            row = LiveRow(self.sample.test_set.name, item.index, name, answer.output, share, answer.details)
            self._rows[name][item.index] = row

    @property
    def rows(self) -> list[LiveRow]:
        """All answers, system by system, in the order of the items."""
        return [rows[index] for rows in self._rows.values() for index in sorted(rows)]

    @property
    def common(self) -> tuple[Item, ...]:
        """The items that every system has answered: only these can be compared."""
        return tuple(item for item in self.sample.items if all(item.index in rows for rows in self._rows.values()))

    def partial(self) -> TestSetResult | None:
        """Score the items that can be compared by their first metric, without intervals; None where there are no such items."""
        items = self.common
        if not items:
            return None
        references = [item.references for item in items]
        metric = metrics_for(self.sample.test_set.kind, references)[0]
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
        return result_of(self.sample.test_set, n=len(items), figures=(figure,))

    def result(self, *, resamples: int, seed: int) -> TestSetResult:
        """Compute the results so far; at least one item has to be answered by every system."""
        items = self.common
        part, rows = self.sample.part(items), [row for row in self.rows if row.index in {item.index for item in items}]
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
                    {name: [answered[item.index].details for item in items] for name, answered in self._rows.items()}
                ),
            ),
            seconds={name: round(value, 3) for name, value in seconds.items()},
        )

    def examples(self) -> list[Example]:
        """Collect the items that can be compared, with the answer of each system."""
        outputs = {name: {index: row.output for index, row in rows.items()} for name, rows in self._rows.items()}
        return examples_of(self.sample.part(self.common), outputs)

    def _outputs(self, items: Sequence[Item]) -> dict[SystemName, list[str]]:
        return {name: [rows[item.index].output for item in items] for name, rows in self._rows.items()}


MAX_ITEMS = 100


def draw(test_sets: Sequence[TestSet], count: int, *, seed: int = SEED) -> list[ItemSample]:
    """Draw `count` items as evenly as possible over tasks, and within a task over its test sets; in a test set at random."""
    if not 1 <= count <= MAX_ITEMS:
        raise SettingsError(f"The number of items is {count}; give a whole number from 1 to {MAX_ITEMS}.")
    chance = random.Random(seed)
    remaining = {test_set.name: chance.sample(test_set.items, len(test_set.items)) for test_set in test_sets}
    drawn: dict[str, list[Item]] = {test_set.name: [] for test_set in test_sets}
    tasks = list(dict.fromkeys(test_set.task for test_set in test_sets))
    while count and any(remaining.values()):
        for task in tasks:
            names = [test_set.name for test_set in test_sets if test_set.task == task and remaining[test_set.name]]
            if names and count:
                name = min(names, key=lambda name: len(drawn[name]))
                drawn[name].append(remaining[name].pop())
                count -= 1
    return [
        ItemSample(test_set, tuple(sorted(drawn[test_set.name], key=lambda item: item.index)))
        for test_set in test_sets
        if drawn[test_set.name]
    ]
