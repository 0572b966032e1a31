"""Figures of an evaluation as escaped HTML: which weights, dots with whiskers, and the table that says the same."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from phi2demo.cards import svg
from phi2demo.engine.engine import ModelInfo
from phi2demo.engine.revisions import short_revision
from phi2demo.evaluation.metrics import number, title_of_test_set
from phi2demo.evaluation.outputs import SYSTEM_TITLES, SystemName
from phi2demo.evaluation.report import Figure, Report, Score, TestSetResult
from phi2demo.evaluation.slices import LEAST_TO_RANK
from phi2demo.evaluation.tables import Cell, result_columns, rows_of, score_cell
from phi2demo.ui import markup
from phi2demo.ui.markup import note

LANE_PX = 15
"""Distance between the whiskers of one test set."""
_MARKS = {
    "finetuned": svg.element("circle", r=5),
    "base_template": svg.element("path", d="M0-5.5 5.5 0 0 5.5-5.5 0z"),
    "base_plain": svg.element("rect", x=-4, y=-4, width=8, height=8),
}
"""They differ in shape as well as in colour."""

NO_REPORT = (
    '<div class="blank"><p>There is no report of an evaluation here.</p><ol>'
    "<li>Make one: <code>python -m phi2demo evaluate --data DATA --output runs/report</code>, and open its "
    "<code>report.json</code> on the left.</li>"
    "<li>Or choose <strong>Run now</strong>, and ask the model a few items while you look.</li></ol></div>"
)
"""The place of the figures while there are none."""


def about(report: Report, *, info: ModelInfo | None, live: bool = False) -> str:
    """Say when and with which weights a report was made, and warn where others are loaded; `info` is None while they load."""
    model, limit = report.model, report.settings.limit
    weights = _weights(model.base, model.base_revision, model.adapter, model.adapter_revision)
    asked = f"{len(report.test_sets)} test set{'' if len(report.test_sets) == 1 else 's'}, {report.items:,} items"
    if limit:
        asked += f" (the first {limit:,} of each set)"
    day, _, clock = report.made_at.partition("T")
    parts = [f"Made {day} {clock[:5]}", f"of {weights}", f"on {model.device.upper()}, {model.dtype}", asked]
    line = f'<p class="facts">{"".join(f"<span>{escape(part)}</span>" for part in parts)}</p>'
    if report.environment.note:
        line += note(report.environment.note)
    if live:
        return line
    if info is None:
        return line + note(
            "The weights are still loading; this line then says whether the figures are of the same weights."
        )
    if not report.is_of(info):
        loaded = _weights(info.base, info.base_revision, info.adapter, info.adapter_revision)
        return line + note(f"These figures are of other weights than the loaded ones: {loaded}.", "warning")
    return line + note("These figures are of the loaded weights.", "good")


def plot(report: Report) -> str:
    """Write a row for each test set in its first metric: a dot for each system, with its 95 % interval."""
    rows = [(test_set, test_set.figures[0]) for test_set in report.test_sets if test_set.figures]
    if not rows:
        return ""
    panels = [_panel(title, list(group)) for title, group in groupby(sorted(rows, key=_scale_rank), key=_scale_title)]
    return f'<div class="figures"><h2>{_headline(report)}</h2>{_key(report.systems)}{"".join(panels)}</div>'


def so_far(partial: Sequence[TestSetResult]) -> str:
    """Write the scores so far, without intervals."""
    return (
        '<div class="figures"><h2>So far</h2></div>'
        + markup.region(f"<table>{_results(partial)}</table>", "Scores so far")
        + note("Over the items that every system has answered. Intervals follow at the end.")
    )


def table(report: Report) -> str:
    """Write all figures as a table."""
    words = "Scores with bootstrap 95 % intervals"
    if any(figure.difference for test_set in report.test_sets for figure in test_set.figures):
        words += "; the difference is finetuned minus the better of the two base systems, with a paired test"
    return markup.region(f"<table><caption>{words}.</caption>{_results(report.test_sets)}</table>", "All figures")


def _results(test_sets: Sequence[TestSetResult]) -> str:
    """Head and bodies of a table of results, a body for each test set."""
    columns = result_columns(list(rows_of(test_sets)))
    names = ["Test set", *(column.title if len(column.title) == 1 else column.title.capitalize() for column in columns)]
    bodies = []
    for test_set in test_sets:
        title = escape(title_of_test_set(test_set.name))
        first = f'<th scope="rowgroup" rowspan="{len(test_set.figures)}">{title}</th>'
        lines = []
        for row in rows_of([test_set]):
            metric, *numbers = (_cell(column.cell(row)) for column in columns)
            lines.append(f"<tr>{first}<td>{metric}</td>{markup.cells(names[2:], numbers)}</tr>")
            first = ""
        bodies.append(f"<tbody>{''.join(lines)}</tbody>")
    return markup.head(names) + "".join(bodies)


def _cell(cell: Cell) -> str:
    """The interval and the note stand below the text."""
    text = escape(cell.text)
    if cell.verdict:
        text = f'<span class="{_CLASSES[cell.verdict]}">{text}</span>'
    return " ".join([text, *(f"<small>{escape(part)}</small>" for part in (cell.interval, cell.note) if part)])


_CLASSES = {"better": "better", "worse": "worse", "unclear": "unclear", "too few": "unclear"}
_VERDICTS = {
    "better": "better",
    "worse": "worse",
    "unclear": "could be chance",
    "too few": "too few to tell",
}


def verdict(figure: Figure, n: int) -> tuple[str, str]:
    """Class and words of a difference on `n` items; both empty where nothing was compared."""
    verdict_name = figure.verdict(n)
    if figure.difference is None or verdict_name is None:
        return "", ""
    value = number(figure.difference.value, figure.digits, signed=True)
    return _CLASSES[verdict_name], f"{value}, {_VERDICTS[verdict_name]}"


def _weights(base: str, base_revision: str, adapter: str | None, adapter_revision: str | None) -> str:
    return f"{base} {short_revision(base_revision)}" + (
        f" with {adapter} {short_revision(adapter_revision or '')}" if adapter else ""
    )


def _headline(report: Report) -> str:
    verdicts = [verdict(m.figures[0], m.n)[0] for m in report.test_sets if m.figures and m.figures[0].difference]
    if not verdicts:
        return "Scores by test set"
    if all(m.n < LEAST_TO_RANK for m in report.test_sets):
        return f"Finetuned and base: fewer than {LEAST_TO_RANK} items per test set, too few to tell which is better"
    counts = {kind: verdicts.count(kind) for kind in ("better", "worse")}
    of = f"of {len(verdicts)} test set{'' if len(verdicts) == 1 else 's'}"
    return f"Finetuned against base: clearly better on {counts['better']}, clearly worse on {counts['worse']} {of}"


def _key(systems: Sequence[SystemName]) -> str:
    items = "".join(f"<li>{_mark_in_key(system)}{escape(SYSTEM_TITLES[system])}</li>" for system in systems)
    return f'<ul class="plot-key">{items}<li>whisker: 95 % interval</li></ul>'


def _mark_in_key(system: SystemName) -> str:
    mark = svg.element("g", _MARKS[system], transform="translate(7 7)")
    return svg.picture(mark, width=14, height=14, class_=system)


def _scale_rank(row: tuple[TestSetResult, Figure]) -> tuple[bool, str]:
    return not row[1].higher_is_better, "" if row[1].higher_is_better else row[1].title


def _scale_title(row: tuple[TestSetResult, Figure]) -> str:
    """Percentages and points share a scale from 0; what is better when lower has one of its own."""
    return "" if row[1].higher_is_better else f"{row[1].title}, lower is better"


def _panel(title: str, rows: Sequence[tuple[TestSetResult, Figure]]) -> str:
    ends = [end for _, figure in rows for score in figure.scores.values() for end in _ends(score)]
    top = nice_top(max((*ends, 0.0)))
    lines = "".join(_line(test_set, figure, top) for test_set, figure in rows)
    ticks = "".join(
        svg.text(number(top * share, 0 if top >= 4 else 1), x=f"{100 * share:g}%", y=12, text_anchor=anchor)
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    axis = svg.picture(ticks, width="100%", height=16)
    axis = f'<div class="plot-row axis" aria-hidden="true"><span></span>{axis}</div>'
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return f'{heading}<div class="plot">{lines}{axis}</div>'


def _line(test_set: TestSetResult, figure: Figure, top: float) -> str:
    height = LANE_PX * len(figure.scores) + 8
    grid = "".join(svg.line("grid", (f"{x}%", f"{x}%"), (0, height)) for x in (0, 50, 100))
    dots = "".join(
        _dot(system, score, top, y=LANE_PX * lane + LANE_PX / 2 + 4)
        for lane, (system, score) in enumerate(figure.scores.items())
    )
    scores = "; ".join(
        f"{SYSTEM_TITLES[system]} {score_cell(score, figure.digits)}" for system, score in figure.scores.items()
    )
    kind, words = verdict(figure, test_set.n)
    name = title_of_test_set(test_set.name)
    label = f"{name}, {figure.title}: {scores}"
    plot = svg.picture(grid + dots, width="100%", height=height, label=label)
    return (
        f'<div class="plot-row"><span class="name">{escape(name)}<span class="metric">{escape(figure.title)}'
        f", n {test_set.n:,}</span></span>{plot}"
        f'<span class="verdict {kind}">{escape(words)}</span></div>'
    )


def _dot(system: SystemName, score: Score, top: float, *, y: float) -> str:
    scale = svg.LinearScale(0, top, 0, 100)

    def place(value: float) -> str:
        return f"{min(max(scale(value), 0.0), 100.0):.2f}%"

    low, high = _ends(score)
    whisker = svg.element("line", x1=place(low), x2=place(high), y1=y, y2=y) if high > low else ""
    mark = svg.element("svg", _MARKS[system], x=place(score.score), y=y, overflow="visible")
    return svg.element("g", whisker + mark, class_=system)


def _ends(score: Score) -> tuple[float, float]:
    if score.low is None or score.high is None:
        return score.score, score.score
    return score.low, score.high


def nice_top(highest: float) -> float:
    """The end of a scale from 0: the next of 1, 2, 4, 10, 20, 40, 60, 80, 100, then hundreds."""
    steps = (1.0, 2.0, 4.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    return next((step for step in steps if highest <= step), 100.0 * -(-highest // 100))
