"""What the mean token probability of an answer is worth: scores by fifths of it, a table, escaped HTML."""

from html import escape

from phi2demo.evaluation.results import MeasureValue, ReportValue, SliceValue
from phi2demo.evaluation.slices import FIFTHS
from phi2demo.evaluation.wording import measure_title, number
from phi2demo.ui import tables
from phi2demo.ui.markup import note

_HEADS = ("Measure", "Metric", *(name.capitalize() for name in FIFTHS))


def scores(report: ReportValue) -> str:
    """A row for each measure that was cut so, in its first metric; empty where none was."""
    told = [(measure, fifths) for measure in report.measures if (fifths := _fifths(measure))]
    if not told:
        return ""
    rows = "".join(_row(measure, fifths) for measure, fifths in told)
    return (
        '<div class="figures below"><h2>Does it know where it is wrong?</h2></div>'
        + tables.region(
            f"<table>{tables.head(_HEADS)}<tbody>{rows}</tbody></table>", "Scores by mean token probability"
        )
        + note(
            "Each set in fifths by the mean token probability of the answers, or the probability of the label, which ends as "
            "said below the score."
        )
    )


def _fifths(measure: MeasureValue) -> dict[str, SliceValue]:
    return {part.name: part for part in measure.slices if part.by == "confidence" and part.figures}


def _row(measure: MeasureValue, fifths: dict[str, SliceValue]) -> str:
    title = escape(measure.figures[0].title) if measure.figures else ""
    cells = tables.cells(_HEADS[2:], (_content(fifths.get(name)) for name in FIFTHS))
    return f'<tr><th scope="row">{escape(measure_title(measure.name))}</th><td>{title}</td>{cells}</tr>'


def _content(part: SliceValue | None) -> str:
    """Of the finetuned model, or of the base where it alone was asked."""
    if part is None:
        return ""
    figure = part.figures[0]
    score = next(iter(figure.scores.values()), None)
    bounds = f"<small>to {part.bounds[1]:.0%}</small>" if part.bounds else ""
    return f"{number(score.score, figure.digits)} {bounds}" if score else bounds
