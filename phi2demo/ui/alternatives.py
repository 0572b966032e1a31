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
    ("Output", "The chosen one first"),
    ("Forward", "Log-probability of this output given your text, in nats"),
    ("Back", "Log-probability of your text given this output, in nats"),
    ("Score", "What decides"),
)
_HEADS_OF_LISTED = (_HEADS[0], ("How likely", "Log-probability of this output given your text, in nats"))
_LEGEND = (
    "How likely the model by itself finds each output after your text: log-probability in nats, and as a share where that "
    "is not tiny. The search that found them also weighs the options, and what keeps to your text goes before what does not."
)
_LEGEND_OF_BOTH = (
    "Log-probabilities in nats: of each output given your text (forward), and of your text given the output (back). The "
    "score weighs both, adds a little for length and takes some off for words left as they were."
)


def alternatives(pieces: Sequence[Sequence[Alternative]], remark: Callable[[str], str] = lambda output: "") -> str:
    """A folded table, each piece's outputs together; empty where nothing else was weighed.

    `remark` says what is to be told of an output.
    """
    weighed = [piece for piece in pieces if piece]
    if not weighed:
        return ""
    both = any(isinstance(each, Ranked) for piece in weighed for each in piece)
    shown = _HEADS if both else _HEADS_OF_LISTED
    heads = "".join(f'<th scope="col" title="{escape(words)}">{escape(head)}</th>' for head, words in shown)
    bodies = "".join(_body(piece, remark) for piece in weighed[:SHOWN])
    left = len(weighed) - SHOWN
    legend = _LEGEND_OF_BOTH if both else _LEGEND
    more = f" {left:,} more pieces are not shown; the API and --json give all." if left > 0 else ""
    return (
        '<details class="alternatives"><summary>What else it could have said</summary>'
        f'<table><thead><tr>{heads}</tr></thead>{bodies}</table><p class="note">{legend}{more}</p></details>'
    )


def _body(piece: Sequence[Alternative], remark: Callable[[str], str]) -> str:
    likeliest = max(piece, key=_likeliness)
    rows = "".join(
        _row(each, remark(each.text), first=at == 0, likeliest=each is likeliest) for at, each in enumerate(piece)
    )
    return f"<tbody>{rows}</tbody>"


def _likeliness(each: Alternative) -> float:
    """A token, where lengths are weighed too."""
    return each.log_probability / (len(each.candidate.token_ids) if isinstance(each, Ranked) else 1)


def _row(each: Alternative, remark: str, *, first: bool, likeliest: bool) -> str:
    both = isinstance(each, Ranked)
    marks = [
        *(["chosen"] if first else []),
        *(["likeliest per token" if both else "likeliest"] if likeliest else []),
        *([remark] if remark else []),
    ]
    mark = f" <small>{escape(', '.join(marks))}</small>" if marks else ""
    if isinstance(each, Ranked):
        cells = [number(value, 1) for value in (each.log_probability, each.reverse_log_probability, each.score)]
    else:
        cells = [f"{number(each.log_probability, 1)}{_share(each.log_probability)}"]
    kind = "chosen" if first else "other"
    return (
        f'<tr class="{kind}"><th scope="row">{escape(each.text)}{mark}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _share(log_probability: float) -> str:
    """A probability that is large enough to be told in percent."""
    share = math.exp(log_probability)
    return f" ({share:.0%})" if share >= LEAST_SHARE else ""
