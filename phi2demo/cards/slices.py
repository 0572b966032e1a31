"""The part of a card that tells how results differ by text length, genre, complexity, contamination and how sure the model is."""

from collections.abc import Sequence
from typing import Any

from phi2demo.cards.facts import Facts
from phi2demo.cards.markdown import table
from phi2demo.cards.results import base_form, measures_of
from phi2demo.evaluation.slices import COMPLEXITIES, FIFTHS, GENRES, LENGTHS, STANDINGS

_TITLES = {
    "length": "text length",
    "genre": "genre",
    "complexity": "complexity",
    "contamination": "contamination",
    "confidence": "mean token probability",
}
_NAMES = {
    "length": LENGTHS,
    "genre": GENRES,
    "complexity": COMPLEXITIES,
    "contamination": STANDINGS,
    "confidence": FIFTHS,
}
"""Of the slices, in their order; others come behind them."""


def slices_tables(facts: Facts) -> str:
    """A table for each way to slice: a row for each measure's first metric, a column for each slice.

    Empty text where nothing was sliced.
    """
    sliced = [measure for measure in measures_of(facts) if measure.get("slices")]
    parts = [_table(by, title, sliced) for by, title in _TITLES.items()]
    return "\n\n".join(part for part in parts if part)


def slicing_lines(facts: Facts) -> str:
    """What the slices mean, as the reports say it."""
    told = next((report["slicing"] for report in facts.reports if report.get("slicing")), None)
    if told is None:
        return ""
    lines = []
    if told.get("length", {}).get("up_to"):
        ends = "; ".join(_bounds(kind, told["length"]) for kind in told["length"]["up_to"])
        lines.append(f"Length is in {told['length']['measure']}: {ends}.")
    if told.get("complexity", {}).get("from"):
        steps = ", ".join(
            f"{name} from {least:g}"
            for name, least in zip(told["complexity"]["names"][1:], told["complexity"]["from"], strict=False)
        )
        lines.append(f"Complexity is {told['complexity']['measure']}: {steps}.")
    if told.get("contamination", {}).get("measure"):
        lines.append(f"Contamination is {told['contamination']['measure']}.")
    if told.get("confidence", {}).get("measure"):
        lines.append(f"How sure the model is, is told by {told['confidence']['measure']}.")
    if told.get("least_to_rank"):
        lines.append(f"A slice of fewer than {told['least_to_rank']} examples is shown and not ranked.")
    return " ".join(lines)


def _bounds(kind: str, told: dict[str, Any]) -> str:
    steps = (f"{name} up to {most}" for name, most in zip(told["names"], told["up_to"][kind], strict=False))
    return f"of {kind} {', '.join(steps)}, then {told['names'][-1]}"


def _table(by: str, title: str, measures: Sequence[dict[str, Any]]) -> str:
    names = {each["name"] for measure in measures for each in measure["slices"] if each["by"] == by}
    if not names:
        return ""
    known = _NAMES[by]
    head = sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))
    rows = []
    for measure in measures:
        found = {each["name"]: each for each in measure["slices"] if each["by"] == by and each["figures"]}
        if found:
            metric = next(iter(found.values()))["figures"][0]["title"]
            rows.append((measure["name"], metric, *(_cell(found.get(name)) for name in head)))
    return table((f"by {title}", "metric", *head), rows)


def _cell(told: dict[str, Any] | None) -> str:
    """Finetuned against the base's better form, and on how many examples."""
    if told is None:
        return "none"
    figure = told["figures"][0]
    forms = [form for form in ("finetuned", base_form(figure)) if form in figure["scores"]]
    scores = " against ".join(f"{figure['scores'][form]['score']:.{figure['digits']}f}" for form in forms)
    return f"{scores} (n {told['n']}{'' if told['enough'] else ', too few'})"
