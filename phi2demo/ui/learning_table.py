"""What more training brought, by earlier reports: pictures and a table, escaped HTML."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from phi2demo.cards.learning_picture import draw_learning
from phi2demo.errors import DataError
from phi2demo.evaluation.learning_curve import LearningCurve, LearningCurves, learning_curves
from phi2demo.evaluation.learning_words import amount_text, scores_of
from phi2demo.evaluation.results import ReportValue
from phi2demo.evaluation.wording import measure_title, metric_title, number
from phi2demo.ui import tables
from phi2demo.ui.markup import note

_TITLE = "Scores against the amount of training"


def growth(report: ReportValue, earlier: Sequence[ReportValue]) -> str:
    """A picture and a row for each measure that earlier reports have too; empty where nothing compares."""
    if not earlier:
        return ""
    try:
        told = learning_curves([*earlier, report], of=report)
    except DataError:  # of other items, or without a word on training
        return ""
    amounts = [each.amount(told.along) or 0.0 for each in told.weights]
    names = ("Measure", "Metric", *map(amount_text, amounts), "Tenfold", "People")
    rows = "".join(_row(curve, len(amounts), names) for curve in told.curves)
    what = "floating-point operations" if told.along == "operations" else "tokens of finetuning"
    return (
        f'<div class="figures below"><h2>What more training brought</h2>{_pictures(told)}</div>'
        + tables.region(f"<table>{tables.head(names)}<tbody>{rows}</tbody></table>", "Scores by amount of training")
        + note(
            f"The finetuned model’s score beside those of models that were trained less, by {what}. Tenfold is what ten times "
            "as much brought, the slope of a straight line, which may flatten towards what people score among themselves and "
            "as the same texts are seen again. In brackets: what finetuning added to the base’s better form."
        )
    )


def _pictures(told: LearningCurves) -> str:
    """One picture for wide screens, one for narrow ones."""
    wide, narrow = (_data(draw_learning(told, title=_TITLE, columns=columns)) for columns in (2, 1))
    return (
        f'<picture class="learning"><source media="(max-width: 640px)" srcset="{narrow}">'
        f'<img src="{wide}" alt="{escape(_TITLE)}; the table says the same."></picture>'
    )


def _data(picture: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}"


def _row(curve: LearningCurve, weights: int, names: Sequence[str]) -> str:
    title = metric_title(curve.title, higher_is_better=curve.higher_is_better)
    head = f'<th scope="row">{escape(measure_title(curve.measure))}</th><td>{escape(title)}</td>'
    people = number(curve.people.score, curve.digits) if curve.people else ""
    contents = (*scores_of(curve, weights), number(curve.per_tenfold, curve.digits, signed=True), people)
    return f"<tr>{head}{tables.cells(names[2:], contents)}</tr>"
