"""A table of what finetuning changed by length, genre, complexity and contamination, as escaped HTML."""

from collections.abc import Sequence
from html import escape

from phi2demo.data.contamination import CONTAMINATION_LABELS
from phi2demo.evaluation.metrics import number, title_of_test_set
from phi2demo.evaluation.report import Figure, Report, Slice, TestSetResult
from phi2demo.evaluation.slices import (
    COMPLEXITIES,
    CONFIDENCE_QUINTILES,
    DIMENSIONS,
    GENRES,
    LEAST_TO_RANK,
    LENGTHS,
    Dimension,
)
from phi2demo.ui import markup
from phi2demo.ui.markup import note, region

_Column = tuple[Dimension, str]
"""Dimension and label."""
_LABELS: dict[Dimension, tuple[str, ...]] = {
    "length": LENGTHS, "genre": GENRES, "complexity": COMPLEXITIES, "contamination": CONTAMINATION_LABELS,
}  # fmt: skip


def heat(report: Report) -> str:
    """Write a row for each test set and a column for each label; a note where the report has no slices."""
    test_sets = [
        test_set.model_copy(update={"slices": parts})
        for test_set in report.test_sets
        if (parts := tuple(part for part in test_set.slices if part.by in _LABELS))
    ]
    if not test_sets:
        return note("This report was made without slices by length, genre and complexity.")
    columns = _columns(test_sets)
    compared = any(figure.difference for m in test_sets for s in m.slices for figure in s.figures[:1])
    scales = _scales(test_sets)
    rows = "".join(_row(test_set, columns, scales) for test_set in test_sets)
    says = "Finetuned minus base for each part of a test set, in its first metric" if compared else "Scores by part"
    inner = f"<table><caption>{says}.</caption><thead>{_head(columns)}</thead><tbody>{rows}</tbody></table>"
    legend = _legend(compared=compared, few=any(not s.enough for m in test_sets for s in m.slices))
    return f'<div class="explanation slices">{region(inner, "Slices")}{legend}{_contamination(test_sets)}</div>'


def _columns(test_sets: Sequence[TestSetResult]) -> list[_Column]:
    """Return the labels that some test set has, in the order of their dimension; unknown ones come last."""
    names = {(part.by, part.name) for test_set in test_sets for part in test_set.slices}

    def place(column: _Column) -> tuple[int, int, str]:
        by, name = column
        known = _LABELS[by]
        return DIMENSIONS.index(by), known.index(name) if name in known else len(known), name

    return sorted(names, key=place)


def _scales(test_sets: Sequence[TestSetResult]) -> dict[bool, float]:
    """Return the difference of full colour: one for scores where higher is better, another for the others."""
    scales = {True: 1e-9, False: 1e-9}
    for part in (part for test_set in test_sets for part in test_set.slices if part.enough):
        for figure in part.figures[:1]:
            if figure.gain is not None:
                scales[figure.higher_is_better] = max(scales[figure.higher_is_better], abs(figure.gain))
    return scales


def _head(columns: Sequence[_Column]) -> str:
    groups = "".join(
        f'<th scope="colgroup" colspan="{sum(by == dimension for dimension, _ in columns)}">{by.capitalize()}</th>'
        for by in DIMENSIONS
        if any(by == dimension for dimension, _ in columns)
    )
    names = "".join(
        f'<th scope="col" class="{_edge(columns, index)}">{escape(name)}</th>'
        for index, (_, name) in enumerate(columns)
    )
    return f'<tr><td></td>{groups}</tr><tr><th scope="col">Test set</th>{names}</tr>'


def _edge(columns: Sequence[_Column], index: int) -> str:
    return "first" if index == 0 or columns[index - 1][0] != columns[index][0] else ""


def _row(test_set: TestSetResult, columns: Sequence[_Column], scales: dict[bool, float]) -> str:
    parts = {(part.by, part.name): part for part in test_set.slices}
    cells = "".join(
        _cell(parts.get(column), column, scales, _edge(columns, index)) for index, column in enumerate(columns)
    )
    title = test_set.figures[0].title if test_set.figures else ""
    metric = f'<span class="metric">{escape(title)}</span>'
    return f'<tr><th scope="row">{escape(title_of_test_set(test_set.name))}{metric}</th>{cells}</tr>'


def _cell(part: Slice | None, column: _Column, scales: dict[bool, float], edge: str) -> str:
    label = f'data-label="{escape(column[1])}"'
    if part is None or not part.figures:
        return f'<td class="none {edge}"></td>'
    figure = part.figures[0]
    text, kind, strength = _shown(figure)
    size = f"<small>n {part.n:,}</small>"
    if not part.enough:
        few = '<span class="sr-only"> too few to rank</span>'
        return f'<td class="few {edge}" {label} title="Too few to rank">{text} {size}{few}</td>'
    colour = f'style="--v:{min(strength / scales[figure.higher_is_better], 1.0):.3f}"'
    return f'<td class="cell {kind} {edge}" {label} {colour}>{text} {size}</td>'


def _shown(figure: Figure) -> tuple[str, str, float]:
    """Return text, CSS class and absolute gain."""
    if figure.difference is None or figure.gain is None:
        score = figure.main_score
        return (number(score.score, figure.digits) if score else ""), "", 0.0
    text = number(figure.difference.value, figure.digits, signed=True)
    if figure.difference.is_clear:
        text = f"<strong>{text}</strong>"
    return text, "more" if figure.gain >= 0 else "less", abs(figure.gain)


def _contamination(test_sets: Sequence[TestSetResult]) -> str:
    """Say what an empty cell of contamination means."""
    looked_up = [test_set.contamination for test_set in test_sets if test_set.contamination]
    if not looked_up:
        return ""
    clean = sum(contamination.is_clean for contamination in looked_up)
    words = (
        "Contamination: whether an item, or its reference answer, appears in the files that the model was trained or selected "
        f"on. In {clean} of {len(looked_up)} test sets that were checked, none does."
    )
    return note(words)


def _legend(*, compared: bool, few: bool) -> str:
    scale = (
        '<div class="legend"><span>base is better</span><span class="scale" aria-hidden="true"></span>'
        "<span>finetuned is better</span></div>"
        if compared
        else ""
    )
    words = "Bold: p below 0.05. " if compared else ""
    if few:
        words += f"Grey: fewer than {LEAST_TO_RANK} items, too few to rank."
    return scale + note(words.strip())


_HEADS = ("Test set", "Metric", *(name.capitalize() for name in CONFIDENCE_QUINTILES))


def scores(report: Report) -> str:
    """Write scores by confidence, a row for each test set that has them; empty where none has."""
    by_confidence = [(test_set, quintiles) for test_set in report.test_sets if (quintiles := _quintiles(test_set))]
    if not by_confidence:
        return ""
    rows = "".join(_confidence_row(test_set, quintiles) for test_set, quintiles in by_confidence)
    return (
        '<div class="figures below"><h2>Scores by confidence</h2></div>'
        + markup.region(
            f"<table>{markup.head(_HEADS)}<tbody>{rows}</tbody></table>", "Scores by mean token probability"
        )
        + note(
            "Each test set is split into quintiles by the mean token probability of the answers, or the probability of the "
            "label. The small figure is the upper bound of the quintile."
        )
    )


def _quintiles(test_set: TestSetResult) -> dict[str, Slice]:
    return {part.name: part for part in test_set.slices if part.by == "confidence" and part.figures}


def _confidence_row(test_set: TestSetResult, quintiles: dict[str, Slice]) -> str:
    title = escape(test_set.figures[0].title) if test_set.figures else ""
    cells = markup.cells(_HEADS[2:], (_content(quintiles.get(name)) for name in CONFIDENCE_QUINTILES))
    return f'<tr><th scope="row">{escape(title_of_test_set(test_set.name))}</th><td>{title}</td>{cells}</tr>'


def _content(part: Slice | None) -> str:
    """Write the score of the finetuned model, or of the base where only the base was asked."""
    if part is None:
        return ""
    figure = part.figures[0]
    score = figure.main_score
    bounds = f"<small>to {part.bounds.high:.0%}</small>" if part.bounds else ""
    return f"{number(score.score, figure.digits)} {bounds}" if score else bounds
