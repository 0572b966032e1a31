"""How far an explanation can be believed, in plain words with the figures beside them. Escaped HTML."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from phi2demo.explain import html
from phi2demo.explain.attribution import Attribution, Curve, Trust


@dataclass(frozen=True)
class Figure:
    """One row."""

    name: str
    means: str
    """In the field's terms: the tooltip of the name."""
    value: str
    says: str
    """In plain words."""


def trust_panel(found: Attribution) -> str:
    """Notes, figures and curves of an explanation."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    rows = "".join(
        f'<div><dt><abbr title="{escape(figure.means)}">{escape(figure.name)}</abbr></dt>'
        f'<dd><span class="value">{escape(figure.value)}</span> {escape(figure.says)}</dd></div>'
        for figure in figures(found)
    )
    return (
        '<div class="explanation"><h2>How far to believe it</h2>'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + f'<dl class="trust">{rows}</dl><div class="curves">{_curves(found.trust)}</div></div>'
    )


def figures(found: Attribution) -> Iterator[Figure]:
    """The rows, those that this explanation has."""
    trust = found.trust
    if trust.opened is not None and trust.split_evenly is not None:
        yield _tree(trust, found.kind)
    if found.request.method == "exact":
        yield Figure(
            "Measured",
            "Exact Shapley values: every subset of the units was scored",
            "All",
            f"combinations of shown and hidden {found.kind} were asked for: nothing is estimated",
        )
    if trust.standard_error is not None and found.units:
        at = found.ranked[0]
        yield Figure(
            "Standard error",
            "Of the strongest value, over the random samples",
            f"± {trust.standard_error[at]:.2g}",
            f"on the strongest value, {found.totals[at]:+.2f}",
        )
    if trust.fit is not None:
        yield Figure(
            "Fit",
            "Weighted R² of LIME's linear model over the masked texts",
            f"{trust.fit:.0%}",
            "of what the model did is caught by adding up single parts",
        )
    if trust.deletion is not None:
        yield _area("Deletion", trust.deletion, lower_is_better=True)
    if trust.insertion is not None:
        yield _area("Insertion", trust.insertion, lower_is_better=False)
    if trust.agreement is not None:
        yield Figure(
            "Second opinion",
            "Spearman's rank correlation of the values by SHAP and by LIME: 1 is the same order, 0 none",
            f"{trust.agreement:.2f}",
            f"SHAP and LIME {_agreement(trust.agreement)} on the order",
        )
    yield Figure(
        "Adds up",
        "The values' sum against the value of the whole text less that of the empty text",
        f"{trust.remainder:.1%}",
        "of the text's effect is missing from the sum of the values",
    )
    yield Figure(
        "Cost",
        "Prompts that were scored for values and figures, and the seed of all that was drawn",
        f"{trust.calls:,}",
        f"model calls in {trust.seconds:.1f} s, seed {trust.seed}",
    )


def _tree(trust: Trust, kind: str) -> Figure:
    assert trust.opened is not None
    assert trust.split_evenly is not None
    says = f"of the groups were measured down to single {kind}"
    if trust.split_evenly >= 0.0005:
        says += f"; {trust.split_evenly:.1%} of the credit is only split evenly inside a group"
    return Figure(
        "Measured",
        "Share of the tree's inner nodes that were opened, and of the credit below those that were not",
        f"{trust.opened:.0%}",
        says,
    )


def _area(name: str, curve: Curve, *, lower_is_better: bool) -> Figure:
    better = curve.area < curve.random_area if lower_is_better else curve.area > curve.random_area
    doing = "taking the strongest away first" if lower_is_better else "putting the strongest in first"
    return Figure(
        name,
        f"Area under the curve; {'lower' if lower_is_better else 'higher'} is better (Petsiuk et al., 2018)",
        f"{curve.area:.2f}",
        f"against {curve.random_area:.2f} at random: {doing} {'moves' if better else 'does not move'} the output "
        f"{'faster' if better else 'any faster'} than chance",
    )


def _agreement(correlation: float) -> str:
    if correlation >= 0.8:
        return "agree"
    if correlation >= 0.5:
        return "mostly agree"
    return "hardly agree" if correlation > 0 else "disagree"


def _curves(trust: Trust) -> str:
    pairs = (("Deletion", trust.deletion), ("Insertion", trust.insertion))
    return "".join(html.curve(curve, name) for name, curve in pairs if curve is not None)
