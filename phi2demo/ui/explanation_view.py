"""Escaped HTML of an explanation on the page: the output to pick tokens from, the heatmap, what stands around it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution, Curve, OutputToken, Trust
from phi2demo.explain.estimate import Estimate
from phi2demo.explain.job import Partial
from phi2demo.ui.markup import note

EMPTY = (
    '<div class="blank"><p>This tab answers which words of a text made the model write its output.</p>'
    "<ol><li>Press <strong>Why these words?</strong> under an answer on another tab, or fill in a text and an output here.</li>"
    "<li>Press <strong>Explain</strong>. The model is asked again and again with parts of the text hidden; what makes "
    "the output less likely when it is gone has spoken for it.</li></ol></div>"
)
"""The place of the heatmap while there is none."""
NO_OUTPUT = (
    '<div class="picker-head"><span>Output</span></div>'
    '<p class="blank-line">The output appears here, token by token.</p>'
)
WHOLE = "the whole output"
_PICK = "Pick a token to ask about it alone, a second one for all between them."


def picker(tokens: Sequence[OutputToken]) -> str:
    """The output as text, every token a button; tokens of the same characters are one. The page's script makes them work."""
    if not tokens:
        return NO_OUTPUT
    parts, at = [], 0
    while at < len(tokens):
        last = at + 1
        while last < len(tokens) and _place(tokens[last]) == _place(tokens[at]):
            last += 1
        begins = not at or tokens[at].piece != tokens[at - 1].piece
        text = tokens[at].text.lstrip(" ") or tokens[at].text if begins else tokens[at].text
        parts.append(("\n" if at and begins else "") + _button(text, at, last))
        at = last
    return (
        '<div class="picker-head"><span>Output</span>'
        '<button type="button" class="whole" disabled>Ask about the whole output</button></div>'
        '<div class="picker"><p class="tokens" role="group" aria-label="Tokens of the output" dir="auto">'
        f"{''.join(parts)}</p></div>"
    )


def _button(text: str, first: int, last: int) -> str:
    """White space alone could not be seen, nor clicked: it gets a sign that is not part of the text."""
    sign = (
        "" if text.strip() else f'<span class="sign" aria-label="white space">{"↵" if chr(10) in text else "␣"}</span>'
    )
    return (
        f'<span class="token" role="button" tabindex="{"-1" if first else "0"}" aria-pressed="false" '
        f'data-first="{first}" data-last="{last}">{sign}{escape(text)}</span>'
    )


def _place(token: OutputToken) -> tuple[int, int, int]:
    return token.piece, token.start, token.end


def hint(picked: str | None, *, found: bool) -> str:
    """What Explain will ask about, and what the heatmap shows of it."""
    if picked is None:
        return note(f"Explain asks about {WHOLE}. {_PICK}")
    if found:
        return note(
            f"Below: what spoke for {_quoted(picked)}, out of the same explanation. How far to believe it was measured "
            "for the whole of that. Press Explain to ask about this alone."
        )
    return note(f"Explain asks about {_quoted(picked)} alone.")


def narrowed(found: Attribution, first: int, last: int) -> Attribution | None:
    """The explanation of some of its output tokens, by their columns; None where it does not hold them all."""
    start = found.request.target[0] if found.request.target else 0
    count = sum(token.side == "output" for token in found.tokens)
    if first < start or last - start > count:
        return None
    columns = slice(first - start, last - start)
    return replace(
        found,
        request=replace(found.request, target=(first, last), instead=None),
        tokens=found.tokens[columns],
        values=found.values[:, columns],
        base_values=found.base_values[columns],
        full_values=found.full_values[columns],
    )


def ready(estimate: str = "") -> str:
    """The place of the heatmap once there is something to explain."""
    return f'<div class="blank"><p>Press <strong>Explain</strong> to see which words did it.</p>{estimate}</div>'


def so_far(partial: Partial, *, stopped: bool = False) -> str:
    """A heatmap on its way, or as far as it came."""
    title = "Stopped: as far as it came" if stopped else "So far"
    return _explanation(
        f"<h2>{title}</h2>{export.heatmap(partial.units, partial.totals)}{export.legend(export.strongest(partial.totals))}"
        + note("What is not measured down to single parts yet is split evenly between them.")
    )


def view(found: Attribution) -> str:
    """Question, heatmap, legend and what the numbers mean."""
    return _explanation(
        f"<h2>{escape(export.question(found))}</h2>"
        f"{export.heatmap(found.units, found.totals)}{_legend(found)}" + note(f"{_reading(found)} {_effect(found)}")
    )


def strongest(found: Attribution) -> str:
    """The bar chart."""
    return _explanation(f"<h2>Strongest {escape(found.kind)}</h2>{export.bars(found)}")


def every_unit(found: Attribution) -> str:
    """The table twin of the heatmap."""
    return _explanation(export.table(found))


def settings(found: Attribution) -> str:
    """How it was found."""
    return note(f"{export.settings(found)}; units: {found.kind}; seed {found.request.seed}.")


def estimated(estimate: Estimate) -> str:
    """What an explanation will take."""
    units = estimate.kind if estimate.units != 1 else estimate.kind.removesuffix("s")
    return note(
        f"At most {estimate.calls:,} model calls, {duration(estimate.seconds)} on this machine, for {estimate.units:,} {units}."
    )


def duration(seconds: float) -> str:
    """In the unit that a person would say it in."""
    if seconds < 1:
        return "under a second"
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} minutes"


def _legend(found: Attribution) -> str:
    scale = export.strongest(found.totals)
    if found.request.instead:
        return export.legend(
            scale,
            less=f"speaks for {_quoted(found.request.instead)}",
            more=f"speaks for {_quoted(found.output)}",
        )
    if found.request.of == "difference":
        return export.legend(scale, less="counts less than in the base", more="counts more since finetuning")
    return export.legend(scale)


def _reading(found: Attribution) -> str:
    if found.request.value == "log-odds":
        return "Values are log-odds of the output's tokens."
    if found.request.of == "difference":
        return "A value is how much more a part speaks for the output in the finetuned model than in the base."
    return "+0.7 makes the output twice as likely, +2.3 ten times."


def _effect(found: Attribution) -> str:
    full, base = float(found.full_values.sum()), float(found.base_values.sum())
    of = "Log-odds" if found.request.value == "log-odds" else "The log-probability of the output"
    if found.request.instead:
        of = f"The lead of the output over {_quoted(found.request.instead)}"
    if found.request.of == "difference":
        of = f"What finetuning added to {of[0].lower()}{of[1:]}"
    return f"{of}: {full:+.2f} with the whole text, {base:+.2f} with all of it hidden."


def _explanation(content: str) -> str:
    return f'<div class="explanation">{content}</div>'


def _quoted(text: str) -> str:
    return f"“{export.shown(text, longest=40)}”"


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
    return "".join(export.curve(curve, name) for name, curve in pairs if curve is not None)
