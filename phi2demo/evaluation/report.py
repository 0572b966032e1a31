"""A report as tables in Markdown. Knows no model: what it says stands in `report.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phi2demo.errors import DataError
from phi2demo.evaluation.slices import IN_TRAINING, IN_VALIDATION, STANDINGS
from phi2demo.evaluation.wording import metric_title

FORM_TITLES = {
    "finetuned": "finetuned",
    "base_template": "base, template",
    "base_plain": "base, plain form",
}
TOO_FEW = "too few to rank"
PEER_TITLES = {
    "first_sentence": "first sentence",
}


def read_report(path: Path) -> dict[str, Any]:
    """What `evaluate` wrote; DataError where it cannot be read."""
    try:
        report: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _no_report(path, (error.strerror or "it cannot be read").lower()) from error
    except ValueError as error:
        raise _no_report(path, "it is not JSON") from error
    if not isinstance(report, dict) or not isinstance(report.get("measures"), list):
        raise _no_report(path, "it has no list of measures")
    return report


def _no_report(path: Path, why: str) -> DataError:
    """Without the folders of a machine: the page shows it."""
    return DataError(
        f"{path.name} is no report of an evaluation: {why}. Give a report.json of python -m phi2demo evaluate."
    )


def to_markdown(report: dict[str, Any], *, slices: bool = False) -> str:
    """One row for each measure and metric: n, every form with its 95 % interval, peers, and the difference with its p.

    With `slices` a second table says the same of each slice, where the report has any.
    """
    forms = [f for f in FORM_TITLES if any(f in g["scores"] for m in report["measures"] for g in m["figures"])]
    titles = [FORM_TITLES[form] for form in forms]
    rows = []
    for measure in report["measures"]:
        for figure in measure["figures"]:
            peers = (f"{PEER_TITLES.get(p, p)} {_estimate(e, figure['digits'])}" for p, e in figure["peers"].items())
            cells = [measure["name"], _title(figure), f"{measure['n']:,}", *_scores(figure, forms)]
            rows.append([*cells, "; ".join(peers), *_difference(figure)])
    table = to_table(["measure", "metric", "n", *titles, "peers", "difference", "p"], rows)
    sliced = _slice_rows(report, forms) if slices else []
    if not sliced:
        return table
    return f"{table}\n\n{to_table(['measure', 'slice', 'metric', 'n', *titles, 'difference', 'p'], sliced)}"


def contamination_to_markdown(measures: Sequence[dict[str, Any]]) -> str:
    """A row for each measure of which items stand in training or validation files, and a line on the others.

    Empty where nothing was looked up.
    """
    told = {measure["name"]: measure["contamination"] for measure in measures if measure.get("contamination")}
    if not told:
        return ""
    found = [name for name, each in told.items() if each[IN_TRAINING] or each[IN_VALIDATION]]
    clean, left = len(told) - len(found), [measure["name"] for measure in measures if measure["name"] not in told]
    says = f"Of {clean} of the {len(told)} measures that were looked up no item stands there."
    if left:
        says += f" Not looked up: {', '.join(left)}."
    head = ["measure", *STANDINGS, "held by"]
    rows = [
        [name, *(f"{told[name][standing]:,}" for standing in STANDINGS), _holders(told[name]["files"])]
        for name in found
    ]
    return f"{to_table(head, rows)}\n\n{says}" if rows else says


def _holders(files: dict[str, int]) -> str:
    return "; ".join(f"{name} {count:,}" for name, count in files.items())


def _slice_rows(report: dict[str, Any], forms: list[str]) -> list[list[str]]:
    """Of every measure that was sliced; what has too few items is not compared."""
    return [
        [measure["name"], f"{each['by']}: {each['name']}", _title(figure), f"{each['n']:,}"]
        + _scores(figure, forms)
        + (_difference(figure) if each["enough"] else [TOO_FEW, ""])
        for measure in report["measures"]
        for each in measure.get("slices", ())
        for figure in each["figures"]
    ]


def _title(figure: dict[str, Any]) -> str:
    return metric_title(str(figure["title"]), higher_is_better=figure["higher_is_better"])


def _scores(figure: dict[str, Any], forms: list[str]) -> list[str]:
    return [_estimate(figure["scores"].get(form), figure["digits"]) for form in forms]


def _estimate(estimate: dict[str, Any] | None, digits: int) -> str:
    if estimate is None:
        return ""
    score = f"{estimate['score']:.{digits}f}"
    if estimate["low"] is None:
        return score
    return f"{score} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"


def _difference(figure: dict[str, Any]) -> list[str]:
    """Finetuned less the base's better form, which has a name where there are two."""
    if "difference" not in figure:
        return ["", ""]
    difference, digits = figure["difference"], figure["digits"]
    return [f"{difference['value']:+.{digits}f} to {FORM_TITLES[figure['base']]}", f"{difference['p']:.3f}"]


def to_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines: tuple[Sequence[str], ...] = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(in_cell, cells))} |" for cells in lines)


def in_cell(text: str) -> str:
    """As it may stand in a table: one line, without bars."""
    return " ".join(text.split()).replace("|", "\\|")
