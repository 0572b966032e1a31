"""What an answer was chosen among, as HTML: each output with how likely it is, and what else was weighed."""

import math
from collections.abc import Callable, Sequence
from html import escape

from phi2demo.evaluation.metrics import number
from phi2demo.tasks.candidates import Ranked
from phi2demo.tasks.result import Alternative

SHOWN = 20
"""Pieces of a long text; a program gets those of all."""
LEAST_SHARE = 0.005
"""Of a probability that is told in percent."""
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
    """A folded table, each piece's outputs together; empty where nothing else was weighed.

    `remark` says what is to be told of an output.
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
    """A token, where lengths are weighed too."""
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
    """A probability that is large enough to be told in percent."""
    share = math.exp(log_probability)
    return f" ({share:.0%})" if share >= LEAST_SHARE else ""
