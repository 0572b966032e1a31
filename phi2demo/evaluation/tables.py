"""Tables of a report: each cell is worked out here once, for the page's HTML, for Markdown and for CSV."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from phi2demo.data.contamination import CONTAMINATION_LABELS
from phi2demo.data.files import csv_text
from phi2demo.evaluation.metrics import metric_title, number
from phi2demo.evaluation.outputs import SYSTEM_TITLES, SystemName
from phi2demo.evaluation.report import Figure, Report, Score, Slice, TestSetResult, Verdict, systems_in

BASELINE_TITLES = {
    "first_sentence": "first sentence",
}


@dataclass(frozen=True)
class Row:
    """One figure of a test set, or of a slice of it."""

    test_set: TestSetResult
    slice: Slice | None
    figure: Figure

    @property
    def n(self) -> int:
        """The number of items."""
        return self.slice.n if self.slice else self.test_set.n

    @property
    def verdict(self) -> Verdict | None:
        """What the difference says about the finetuned model; None where nothing was compared."""
        return self.figure.verdict(self.n)


def rows_of(test_sets: Sequence[TestSetResult]) -> Iterator[Row]:
    """The figures of each test set as a whole."""
    for test_set in test_sets:
        yield from (Row(test_set, None, figure) for figure in test_set.figures)


def slice_rows_of(test_sets: Sequence[TestSetResult]) -> Iterator[Row]:
    """The figures of each slice."""
    for test_set in test_sets:
        for part in test_set.slices:
            yield from (Row(test_set, part, figure) for figure in part.figures)


@dataclass(frozen=True)
class Cell:
    """What a cell says."""

    text: str = ""
    interval: str = ""
    """The 95 % interval of the number in `text`."""
    note: str = ""
    verdict: Verdict | None = None

    def __str__(self) -> str:
        interval = f"({self.interval})" if self.interval else ""
        return " ".join(filter(None, (self.text, interval, self.note)))


@dataclass(frozen=True)
class Column:
    """A column of the results."""

    title: str
    cell: Callable[[Row], Cell]


def result_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns of the results after the test set; those in which no row has anything are left out."""
    systems = systems_in([row.test_set for row in rows])
    columns = [
        Column("slice", lambda row: Cell(f"{row.slice.by}: {row.slice.name}" if row.slice else "")),
        Column("metric", lambda row: Cell(title_of_metric(row.figure))),
        Column("n", lambda row: Cell(f"{row.n:,}")),
        *(Column(SYSTEM_TITLES[system], _score_column(system)) for system in systems),
        Column("baselines", lambda row: Cell(_baselines(row.figure))),
        Column("difference", _difference),
        Column("p", _p),
    ]
    return [column for column in columns if any(column.cell(row) != Cell() for row in rows)]


def results_to_markdown(test_sets: Sequence[TestSetResult], *, slices: bool = False) -> str:
    """A row for each test set and metric; with `slices` a second table for the slices, where there are any.

    Empty where nothing was measured.
    """
    tables = [list(rows_of(test_sets)), list(slice_rows_of(test_sets)) if slices else []]
    return "\n\n".join(_to_markdown(rows) for rows in tables if rows)


def _to_markdown(rows: Sequence[Row]) -> str:
    columns = result_columns(rows)
    return to_table(
        ["test set", *(column.title for column in columns)],
        [[row.test_set.name, *(str(column.cell(row)) for column in columns)] for row in rows],
    )


def title_of_metric(figure: Figure) -> str:
    """The metric's title, which says where lower is better."""
    return metric_title(figure.title, higher_is_better=figure.higher_is_better)


def score_cell(score: Score | None, digits: int) -> Cell:
    """A score with its interval."""
    if score is None:
        return Cell()
    if score.low is None or score.high is None:
        return Cell(number(score.score, digits))
    return Cell(number(score.score, digits), f"{number(score.low, digits)} to {number(score.high, digits)}")


def _score_column(system: SystemName) -> Callable[[Row], Cell]:
    return lambda row: score_cell(row.figure.scores.get(system), row.figure.digits)


def _baselines(figure: Figure) -> str:
    return "; ".join(
        f"{BASELINE_TITLES.get(name, name)} {score_cell(score, figure.digits)}"
        for name, score in figure.baselines.items()
    )


def _difference(row: Row) -> Cell:
    """The finetuned model's score minus the better base's."""
    difference, base, digits = row.figure.difference, row.figure.base, row.figure.digits
    if difference is None or base is None:
        return Cell()
    value, low, high = (
        number(value, digits, signed=True) for value in (difference.value, difference.low, difference.high)
    )
    return Cell(value, f"{low} to {high}", f"to {SYSTEM_TITLES[base]}", row.verdict)


def _p(row: Row) -> Cell:
    if row.figure.difference is None:
        return Cell()
    return Cell("too few" if row.verdict == "too few" else f"{row.figure.difference.p:.3f}")


def contamination_to_markdown(test_sets: Sequence[TestSetResult]) -> str:
    """A row for each test set with items in training or validation files, and a sentence about the others.

    Empty where nothing was looked up.
    """
    looked_up = [(test_set.name, test_set.contamination) for test_set in test_sets if test_set.contamination]
    if not looked_up:
        return ""
    rows = [
        [name, *(f"{count:,}" for count in counts.counts), "; ".join(f"{f} {n:,}" for f, n in counts.files.items())]
        for name, counts in looked_up
        if not counts.is_clean
    ]
    says = (
        f"In {len(looked_up) - len(rows)} of the {len(looked_up)} test sets that were looked up, no item appears there."
    )
    if others := [test_set.name for test_set in test_sets if test_set.contamination is None]:
        says += f" Not looked up: {', '.join(others)}."
    return f"{to_table(['test set', *CONTAMINATION_LABELS, 'found in'], rows)}\n\n{says}" if rows else says


def to_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines: tuple[Sequence[str], ...] = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(in_cell, cells))} |" for cells in lines)


def in_cell(text: str) -> str:
    """Text as it may stand in a table: one line, with its bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def to_csv(report: Report) -> str:
    """A line for each test set and metric, followed by one for each slice; numbers in full."""
    head = ["test_set", "slice_by", "slice", "metric", "n", "higher_is_better"]
    for system in report.systems:
        head += [system, f"{system}_low", f"{system}_high"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*head, "base", "difference", "difference_low", "difference_high", "p"])
    for test_set in report.test_sets:
        for row in (*rows_of([test_set]), *slice_rows_of([test_set])):
            figure, difference = row.figure, row.figure.difference
            by, name = (row.slice.by, row.slice.name) if row.slice else ("", "")
            line = [csv_text(test_set.name), by, csv_text(name), csv_text(figure.title), row.n, figure.higher_is_better]
            for system in report.systems:
                score = figure.scores.get(system)
                line += [score.score, score.low, score.high] if score else [None] * 3
            line += (
                [figure.base, difference.value, difference.low, difference.high, difference.p]
                if difference
                else [None] * 5
            )
            writer.writerow(line)
    return file.getvalue()
