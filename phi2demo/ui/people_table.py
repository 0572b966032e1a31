"""What people score against one another, beside the models: a table, escaped HTML."""

from collections.abc import Iterator, Sequence
from html import escape

from phi2demo.evaluation.forms import FormName
from phi2demo.evaluation.report import FORM_TITLES
from phi2demo.evaluation.results import MeasureValue, PeopleValue, ReportValue
from phi2demo.evaluation.wording import measure_title
from phi2demo.ui import tables
from phi2demo.ui.figures import score_text
from phi2demo.ui.markup import note


def scores(report: ReportValue) -> str:
    """A row for each metric of each measure of which several people answered items; empty where there is none."""
    told = [(measure, measure.people) for measure in report.measures if measure.people]
    if not told:
        return ""
    forms = report.forms
    names = ("Measure", "Metric", "n", "Another person", *(FORM_TITLES[form].capitalize() for form in forms))
    bodies = "".join(f"<tbody>{''.join(_rows(measure, people, forms, names))}</tbody>" for measure, people in told)
    return (
        '<div class="figures below"><h2>What people score against one another</h2></div>'
        + tables.region(f"<table>{tables.head(names)}{bodies}</table>", "Scores of people")
        + note(
            "Where a set has several answers by people to the same, the second is scored against the others as if a model had "
            "given it; the models on the same items against the same others. A score that people do not reach either says "
            "little about quality above it."
        )
    )


def _rows(measure: MeasureValue, people: PeopleValue, forms: Sequence[FormName], names: Sequence[str]) -> Iterator[str]:
    name = escape(measure_title(measure.name))
    for at, (figure, person) in enumerate(people.figures):
        first = f'<th scope="rowgroup" rowspan="{len(people.figures)}">{name}</th>' if at == 0 else ""
        scores = (score_text(score, figure.digits) for score in (person, *map(figure.scores.get, forms)))
        cells = tables.cells(names[2:], (f"{people.n:,}", *scores))
        yield f"<tr>{first}<td>{escape(figure.title)}</td>{cells}</tr>"
