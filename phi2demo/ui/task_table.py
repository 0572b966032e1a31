"""What finetuning changed over all sets of a task: a table, escaped HTML."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from phi2demo.evaluation.by_task import TaskFigure, by_task, p_value, percent
from phi2demo.evaluation.results import ReportValue
from phi2demo.evaluation.wording import metric_title, number
from phi2demo.ui import tables
from phi2demo.ui.markup import note

_HEADS = ("Task", "Metric", "Sets", "n", "Difference", "p", "I²")


def gains(report: ReportValue) -> str:
    """A row for each task and metric; empty where no task has several sets."""
    figures = by_task(report.measures)
    if all(figure.sets < 2 for figure in figures):
        return ""
    bodies = (
        f"<tbody>{''.join(_rows(list(group)))}</tbody>" for _, group in groupby(figures, key=lambda each: each.task)
    )
    table = f"<table>{tables.head(_HEADS)}{''.join(bodies)}</table>"
    return (
        '<div class="figures below"><h2>Finetuned against base, over all sets of a task</h2></div>'
        + tables.region(table, "Figures by task")
        + note(
            "The sets’ differences, weighted by how surely each is known and how far they differ: a random-effects "
            "meta-analysis with Hartung and Knapp’s intervals, which ask whether other sets of the task would gain too. Two or "
            "three sets seldom tell. I² is the share of what they differ by that is more than chance: where it is high, look "
            "at the sets themselves."
        )
    )


def _rows(figures: Sequence[TaskFigure]) -> Iterator[str]:
    """Of one task."""
    name = escape(figures[0].task.replace("_", " ").capitalize())
    for at, figure in enumerate(figures):
        first = f'<th scope="rowgroup" rowspan="{len(figures)}">{name}</th>' if at == 0 else ""
        title = metric_title(figure.title, higher_is_better=figure.higher_is_better)
        found = figure.difference
        value, low, high = (number(each, figure.digits, signed=True) for each in (found.value, found.low, found.high))
        kind = figure.verdict if figure.verdict in ("better", "worse") else "unclear"
        contents = (
            str(figure.sets),
            f"{figure.n:,}",
            f'<span class="{kind}">{value}</span> <small>{low} to {high}</small>',
            escape(p_value(found.p)),
            percent(figure),
        )
        yield f"<tr>{first}<td>{escape(title)}</td>{tables.cells(_HEADS[2:], contents)}</tr>"
