"""What is known of answers that a model is as unsure of as of this one, from an evaluation of the same weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phi2demo.engine.engine import ModelInfo
from phi2demo.evaluation.results import FigureValue, MeasureValue, ReportValue, SliceValue
from phi2demo.evaluation.shelf import SHELF, kept_reports
from phi2demo.evaluation.slices import FIFTHS
from phi2demo.evaluation.wording import measure_title, number
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.task import Result


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

    def __str__(self) -> str:
        there, over_all = (number(score, self.digits) for score in (self.score, self.all_score))
        return (
            f"The model is unsure of this. Of {measure_title(self.measure)}, the fifth that it was least sure of has "
            f"{self.title} {there}, all of it {over_all}; on texts unlike those it may do worse."
        )


def cautioned(results: tuple[Result, ...], info: ModelInfo, *, shelf: Path = SHELF) -> tuple[Result, ...]:
    """With a note on what an evaluation of the loaded weights, kept on the shelf, says of answers as unsure as these."""
    reports = [kept.report for kept in kept_reports(shelf, info=info) if kept.report.is_of(info)]
    found = [(result, caution(reports, result.receipt, result.confidence)) for result in results]
    return tuple(replace(each, notes=(*each.notes, str(told))) if told else each for each, told in found)


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
