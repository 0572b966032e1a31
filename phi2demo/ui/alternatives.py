"""The candidates that an answer was chosen from, as HTML, each with its log-probability and what its score is made of."""

import math
from collections.abc import Callable, Sequence
from html import escape

from phi2demo.evaluation.metrics import number
from phi2demo.tasks.candidates import Ranked
from phi2demo.tasks.result import Alternative

SHOWN = 20
"""Parts of a long text whose candidates are shown; the API gives all."""
LEAST_SHARE = 0.005
"""The least probability that is written as a percentage."""
_HEADS = (
    ("Candidate", "The chosen one comes first"),
    ("Forward", "Log-probability of this output given your text, in nats"),
    ("Backward", "Log-probability of your text given this output, in nats"),
    ("Score", "The candidate with the highest score is chosen"),
)
_HEADS_OF_LISTED = (_HEADS[0], ("Log-probability", "Log-probability of this output given your text, in nats"))
_LEGEND = (
    "Log-probability of each output given your text, in nats, and as a percentage where it is not tiny. Beam search also "
    "applies the options, and candidates that keep to your text go first."
)
_LEGEND_OF_BOTH = (
    "Log-probabilities in nats: of each output given your text (forward), and of your text given the output (backward). "
    "The score combines both, with a bonus for length and a penalty for words left untranslated."
)


def alternatives(pieces: Sequence[Sequence[Alternative]], remark: Callable[[str], str] = lambda output: "") -> str:
    """Write a folded table, grouped by part of the text; empty where there was no choice.

    `remark` gives a note on an output.
    """
    weighed = [piece for piece in pieces if piece]
    if not weighed:
        return ""
    both = any(isinstance(alternative, Ranked) for piece in weighed for alternative in piece)
    shown = _HEADS if both else _HEADS_OF_LISTED
    heads = "".join(f'<th scope="col" title="{escape(words)}">{escape(head)}</th>' for head, words in shown)
    bodies = "".join(_body(piece, remark) for piece in weighed[:SHOWN])
    left = len(weighed) - SHOWN
    legend = _LEGEND_OF_BOTH if both else _LEGEND
    more = f" {left:,} more parts are not shown; the API and --json give all." if left > 0 else ""
    return (
        '<details class="alternatives"><summary>Other candidates</summary>'
        f'<table><thead><tr>{heads}</tr></thead>{bodies}</table><p class="note">{legend}{more}</p></details>'
    )


def _body(piece: Sequence[Alternative], remark: Callable[[str], str]) -> str:
    likeliest = max(piece, key=_likeliness)
    rows = "".join(
        _row(alternative, remark(alternative.text), first=rank == 0, is_most_probable=alternative is likeliest)
        for rank, alternative in enumerate(piece)
    )
    return f"<tbody>{rows}</tbody>"


def _likeliness(alternative: Alternative) -> float:
    """Return the log-probability; per token where the score takes length into account."""
    return alternative.log_probability / (
        len(alternative.candidate.token_ids) if isinstance(alternative, Ranked) else 1
    )


def _row(alternative: Alternative, remark: str, *, first: bool, is_most_probable: bool) -> str:
    both = isinstance(alternative, Ranked)
    marks = [
        *(["chosen"] if first else []),
        *(["most probable per token" if both else "most probable"] if is_most_probable else []),
        *([remark] if remark else []),
    ]
    mark = f" <small>{escape(', '.join(marks))}</small>" if marks else ""
    if isinstance(alternative, Ranked):
        cells = [
            number(value, 1)
            for value in (alternative.log_probability, alternative.reverse_log_probability, alternative.score)
        ]
    else:
        cells = [f"{number(alternative.log_probability, 1)}{_share(alternative.log_probability)}"]
    kind = "chosen" if first else "other"
    return (
        f'<tr class="{kind}"><th scope="row">{escape(alternative.text)}{mark}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _share(log_probability: float) -> str:
    """Write a probability as a percentage where it is large enough."""
    share = math.exp(log_probability)
    return f" ({share:.0%})" if share >= LEAST_SHARE else ""
