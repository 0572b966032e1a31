"""What a live run has been answered so far, and the figures of it. Asks nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from phi2demo.evaluation.datasets import Item, Measure
from phi2demo.evaluation.examples import Example, examples_of
from phi2demo.evaluation.figures import Scored
from phi2demo.evaluation.forms import Answer, Form, FormName, confidences_in
from phi2demo.evaluation.metrics import metrics_for
from phi2demo.evaluation.statistics import Resamples


@dataclass(frozen=True)
class Drawn:
    """Items of one measure that are asked."""

    measure: Measure
    """Whole: it bounds how long answers may be."""
    items: tuple[Item, ...]

    def part(self, items: tuple[Item, ...]) -> Measure:
        """The measure of these items alone."""
        return replace(self.measure, items=items)


@dataclass(frozen=True)
class LiveRow:
    """One answer."""

    measure: str
    index: int
    """Of its item in the measure."""
    form: FormName
    output: str
    seconds: float
    """Its share of its batch's."""
    details: dict[str, Any]


@dataclass(frozen=True)
class PartialFigure:
    """A score so far, without interval."""

    measure: str
    title: str
    digits: int
    n: int
    scores: dict[FormName, float]


class Tally:
    """The answers of a run to the items of one measure, in some forms."""

    def __init__(self, drawn: Drawn, forms: Mapping[FormName, Form]) -> None:
        self.drawn, self.forms = drawn, forms
        self._rows: dict[FormName, dict[int, LiveRow]] = {name: {} for name in forms}

    def keep(self, name: FormName, items: Sequence[Item], answers: Sequence[Answer], seconds: float) -> None:
        """Add the answers to a batch, which took so long."""
        share = round(seconds / len(items), 6)
        for item, answer in zip(items, answers, strict=True):
            row = LiveRow(self.drawn.measure.name, item.index, name, answer.output, share, answer.details)
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
        metric = metrics_for(self.drawn.measure.kind, references)[0]
        scores = {
            form: metric.score(metric.statistics(outputs, references).sum(0))
            for form, outputs in self._outputs(items).items()
        }
        return PartialFigure(self.drawn.measure.name, metric.title, metric.digits, len(items), scores)

    def describe(self, *, resamples: int, seed: int) -> dict[str, Any]:
        """The measure as a report has it; there has to be something that can be compared."""
        items = self.common
        part, rows = self.drawn.part(items), [row for row in self.rows if row.index in {item.index for item in items}]
        scored = Scored.of(part, self._outputs(items))
        seconds = {name: sum(row.seconds for row in rows if row.form == name) for name in self.forms}
        return {
            "name": part.name,
            "task": part.task,
            "data": asdict(part.file),
            "n": len(items),
            "indexes": [item.index for item in items],
            "generation": next(iter(self.forms.values())).settings,
            "unanswered": {
                name: sum("unanswered" in row.details for row in rows if row.form == name) for name in self.forms
            },
            "figures": scored.figures(Resamples.draw(len(items), resamples=resamples, seed=seed), peers={}),
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

    def _outputs(self, items: Sequence[Item]) -> dict[FormName, list[str]]:
        return {name: [kept[item.index].output for item in items] for name, kept in self._rows.items()}
