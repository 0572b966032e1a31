"""What is known of answers that a model is as unsure of as of this one, from an evaluation of the same weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from phi2demo.evaluation.results import FigureValue, MeasureValue, ReportValue, SliceValue
from phi2demo.evaluation.slices import FIFTHS
from phi2demo.tasks.receipt import Receipt


@dataclass(frozen=True)
class Caution:
    """An answer is among those that the model is least sure of, as measured on one set."""

    measure: str
    title: str
    """Of the metric."""
    digits: int
    score: float
    """Of the fifth that the model was least sure of."""
    all_score: float
    """Of the whole set."""


def caution(reports: Sequence[ReportValue], receipt: Receipt, confidence: float | None) -> Caution | None:
    """What the largest set of the same task and languages says; None where the answer is surer than its least sure fifth.

    `reports` are of the weights that answered. Only what the finetuned model said is measured so, at one strength.
    """
    if confidence is None or receipt.use != "finetuned":
        return None
    found = max(_measured(reports, receipt), key=lambda each: each[0].n, default=None)
    if found is None:
        return None
    measure, part = found
    if part.bounds is None or confidence > part.bounds[1]:
        return None
    there, over_all = _finetuned(part.figures), _finetuned(measure.figures)
    if there is None or over_all is None:
        return None
    figure = measure.figures[0]
    return Caution(measure.name, figure.title, figure.digits, there, over_all)


def _measured(reports: Sequence[ReportValue], receipt: Receipt) -> Iterator[tuple[MeasureValue, SliceValue]]:
    """Measures of what a receipt says was asked, each with its least sure fifth."""
    strength = receipt.generation.get("adapter_strength", 1.0)
    ends = f".{receipt.options.get('source')}-{receipt.options.get('target')}" if receipt.task == "translation" else ""
    for report in reports:
        for measure in report.measures:
            if (measure.task, measure.adapter_strength) == (receipt.task, strength) and measure.name.endswith(ends):
                for part in measure.slices:
                    if (part.by, part.name) == ("confidence", FIFTHS[0]):
                        yield measure, part


def _finetuned(figures: Sequence[FigureValue]) -> float | None:
    score = figures[0].scores.get("finetuned") if figures else None
    return score.score if score else None
