"""Escaped HTML of an explanation on the page: the output to pick tokens from, the heatmap, what stands around it."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from phi2demo.explain import html, words
from phi2demo.explain.attribution import Attribution, OutputToken
from phi2demo.explain.progress import Estimate, Partial
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
    count = sum(token.side == "this" for token in found.tokens)
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
        f"<h2>{title}</h2>{html.heatmap(partial.units, partial.totals)}{html.legend(html.strongest(partial.totals))}"
        + note("What is not measured down to single parts yet is split evenly between them.")
    )


def view(found: Attribution) -> str:
    """Question, heatmap, legend and what the numbers mean."""
    return _explanation(
        f"<h2>{escape(words.question(found))}</h2>"
        f"{html.heatmap(found.units, found.totals)}{_legend(found)}" + note(f"{_reading(found)} {_effect(found)}")
    )


def strongest(found: Attribution) -> str:
    """The bar chart."""
    return _explanation(f"<h2>Strongest {escape(found.kind)}</h2>{html.bars(found)}")


def every_unit(found: Attribution) -> str:
    """The table twin of the heatmap."""
    return _explanation(html.table(found))


def settings(found: Attribution) -> str:
    """How it was found."""
    return note(f"{words.settings(found)}; units: {found.kind}; seed {found.request.seed}.")


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
    scale = html.strongest(found.totals)
    if found.request.instead:
        return html.legend(
            scale,
            less=f"speaks for {_quoted(found.request.instead)}",
            more=f"speaks for {_quoted(found.output)}",
        )
    if found.request.of == "difference":
        return html.legend(scale, less="counts less than in the base", more="counts more since finetuning")
    return html.legend(scale)


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
    return f"“{words.shown(text, longest=40)}”"
