"""An explanation as escaped HTML: the output with tokens to select, the heatmap, and the checks."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution, OutputToken
from phi2demo.explain.estimate import Estimate
from phi2demo.explain.job import Partial
from phi2demo.ui.markup import note

EMPTY = (
    '<div class="blank"><p>This tab shows which words of a text made the model write its output.</p>'
    "<ol><li>Press <strong>Why these words?</strong> under an answer on another tab, or fill in a text and an output here.</li>"
    "<li>Press <strong>Explain</strong>. Parts of the text are hidden in turn; a part "
    "speaks for the output where the output is less likely without it.</li></ol></div>"
)
"""The place of the heatmap while there is none."""
NO_OUTPUT = (
    '<div class="picker-head"><span>Output</span></div>'
    '<p class="blank-line">The output appears here, token by token.</p>'
)
WHOLE = "the whole output"
_PICK = "Select a token to explain it alone, and a second one for all between them."


def picker(tokens: Sequence[OutputToken]) -> str:
    """Write the output with every token as a button, which page.js makes work; tokens of the same characters are one."""
    if not tokens:
        return NO_OUTPUT
    parts, index = [], 0
    while index < len(tokens):
        last = index + 1
        while last < len(tokens) and _place(tokens[last]) == _place(tokens[index]):
            last += 1
        begins = not index or tokens[index].piece != tokens[index - 1].piece
        text = tokens[index].text.lstrip(" ") or tokens[index].text if begins else tokens[index].text
        parts.append(("\n" if index and begins else "") + _button(text, index, last))
        index = last
    return (
        '<div class="picker-head"><span>Output</span>'
        '<button type="button" class="whole" disabled>Explain the whole output</button></div>'
        '<div class="picker"><p class="tokens" role="group" aria-label="Tokens of the output" dir="auto">'
        f"{''.join(parts)}</p></div>"
    )


def _button(text: str, first: int, last: int) -> str:
    """Write a token. White space alone gets a visible sign, which is not part of the text."""
    sign = (
        "" if text.strip() else f'<span class="sign" aria-label="white space">{"↵" if chr(10) in text else "␣"}</span>'
    )
    return (
        f'<span class="token" role="button" tabindex="{"-1" if first else "0"}" aria-pressed="false" '
        f'data-first="{first}" data-last="{last}">{sign}{escape(text)}</span>'
    )


def _place(token: OutputToken) -> tuple[int, int, int]:
    return token.piece, token.start, token.end


def hint(picked: str | None, *, is_shown: bool) -> str:
    """Say what Explain will cover, and what the heatmap shows of it."""
    if picked is None:
        return note(f"Explain covers {WHOLE}. {_PICK}")
    if is_shown:
        return note(
            f"Below: the values for {_quoted(picked)} from the same explanation, whose checks are of the whole output. "
            "Press Explain to explain this part alone."
        )
    return note(f"Explain covers {_quoted(picked)} alone.")


def narrowed(attribution: Attribution, first: int, last: int) -> Attribution | None:
    """Return the explanation of some of its output tokens; None where it does not have them all."""
    start = attribution.request.target[0] if attribution.request.target else 0
    count = sum(token.side == "output" for token in attribution.tokens)
    if first < start or last - start > count:
        return None
    columns = slice(first - start, last - start)
    return replace(
        attribution,
        request=replace(attribution.request, target=(first, last), instead=None),
        tokens=attribution.tokens[columns],
        values=attribution.values[:, columns],
        base_values=attribution.base_values[columns],
        full_values=attribution.full_values[columns],
    )


def ready(estimate: str = "") -> str:
    """Write the place of the heatmap once there is something to explain."""
    return f'<div class="blank"><p>Press <strong>Explain</strong> to see which words did it.</p>{estimate}</div>'


def so_far(partial: Partial, *, stopped: bool = False) -> str:
    """Write the heatmap of partial values."""
    title = "Stopped: partial result" if stopped else "So far"
    return section(
        f"<h2>{title}</h2>{export.heatmap(partial.units, partial.totals)}{export.legend(export.strongest(partial.totals))}"
        + note("Parts that are not measured one by one yet share their value evenly.")
    )


def view(attribution: Attribution) -> str:
    """Write question, heatmap, legend and what the numbers mean."""
    return section(
        f"<h2>{escape(export.question(attribution))}</h2>"
        f"{export.heatmap(attribution.units, attribution.totals)}{_legend(attribution)}"
        + note(f"{_reading(attribution)} {_effect(attribution)}")
    )


def estimated(estimate: Estimate) -> str:
    """Say how long an explanation will take."""
    units = estimate.kind if estimate.units != 1 else estimate.kind.removesuffix("s")
    return note(
        f"At most {estimate.calls:,} model calls, {duration(estimate.seconds)} on this machine, for {estimate.units:,} {units}."
    )


def duration(seconds: float) -> str:
    """Say a duration in seconds or minutes."""
    if seconds < 1:
        return "under a second"
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} minutes"


def _legend(attribution: Attribution) -> str:
    scale = export.strongest(attribution.totals)
    if attribution.request.instead:
        return export.legend(
            scale,
            less=f"speaks for {_quoted(attribution.request.instead)}",
            more=f"speaks for {_quoted(attribution.output)}",
        )
    if attribution.request.of == "difference":
        return export.legend(scale, less="counts less than in the base", more="counts more since finetuning")
    return export.legend(scale)


def _reading(attribution: Attribution) -> str:
    if attribution.request.value == "log-odds":
        return "Values are log-odds of the output's tokens."
    if attribution.request.of == "difference":
        return "A value is how much more a part speaks for the output in the finetuned model than in the base."
    return "+0.7 makes the output twice as likely, +2.3 ten times."


def _effect(attribution: Attribution) -> str:
    full, base = float(attribution.full_values.sum()), float(attribution.base_values.sum())
    quantity = "Log-odds" if attribution.request.value == "log-odds" else "The log-probability of the output"
    if attribution.request.instead:
        quantity = f"The lead of the output over {_quoted(attribution.request.instead)}"
    if attribution.request.of == "difference":
        quantity = f"What finetuning added to {quantity[0].lower()}{quantity[1:]}"
    return f"{quantity}: {full:+.2f} with the whole text, {base:+.2f} with all of it hidden."


def section(content: str) -> str:
    """Write a part of an explanation."""
    return f'<div class="explanation">{content}</div>'


def _quoted(text: str) -> str:
    return f"“{export.shown(text, longest=40)}”"


def trust_panel(attribution: Attribution) -> str:
    """Write the notes, checks and curves of an explanation."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in attribution.notes)
    rows = "".join(
        f'<div><dt><abbr title="{escape(check.means)}">{escape(check.name)}</abbr></dt>'
        f'<dd><span class="value">{escape(check.value)}</span> {escape(check.says)}</dd></div>'
        for check in export.checks(attribution)
    )
    return (
        '<div class="explanation"><h2>Checks of this explanation</h2>'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + f'<dl class="trust">{rows}</dl><div class="curves">{export.curves(attribution.trust)}</div></div>'
    )
