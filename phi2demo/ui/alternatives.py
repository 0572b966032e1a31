"""What an answer was chosen among, as HTML: each output with how likely it is, and how likely the text is given it."""

from collections.abc import Sequence
from html import escape

from phi2demo.tasks.reranking import Ranked

SHOWN = 20
"""Pieces of a long text; a program gets those of all."""
_HEADS = (
    ("Output", "The best first"),
    ("Forward", "Log-probability of this output given your text, in nats"),
    ("Back", "Log-probability of your text given this output, in nats"),
    ("Score", "What decides"),
)
_LEGEND = (
    "Log-probabilities in nats: of each output given your text (forward), and of your text given the output (back). The "
    "score weighs both, adds a little for length and takes some off for words left as they were."
)


def alternatives(pieces: Sequence[Sequence[Ranked]]) -> str:
    """A folded table, each piece's outputs together; empty where nothing else was weighed."""
    weighed = [piece for piece in pieces if piece]
    if not weighed:
        return ""
    heads = "".join(f'<th scope="col" title="{escape(words)}">{escape(head)}</th>' for head, words in _HEADS)
    bodies = "".join(map(_body, weighed[:SHOWN]))
    left = len(weighed) - SHOWN
    more = f" {left:,} more sentences are not shown; the API and --json give all." if left > 0 else ""
    return (
        '<details class="alternatives"><summary>What else it could have said</summary>'
        f'<table><thead><tr>{heads}</tr></thead>{bodies}</table><p class="note">{_LEGEND}{more}</p></details>'
    )


def _body(piece: Sequence[Ranked]) -> str:
    likeliest = max(piece, key=lambda each: each.log_probability / len(each.candidate.token_ids))
    rows = "".join(_row(each, first=at == 0, likeliest=each is likeliest) for at, each in enumerate(piece))
    return f"<tbody>{rows}</tbody>"


def _row(each: Ranked, *, first: bool, likeliest: bool) -> str:
    marks = [*(["chosen"] if first else []), *(["likeliest per token"] if likeliest else [])]
    mark = f" <small>{', '.join(marks)}</small>" if marks else ""
    numbers = (each.log_probability, each.reverse_log_probability, each.score)
    cells = "".join(f"<td>{_signed(value)}</td>" for value in numbers)
    kind = "chosen" if first else "other"
    return f'<tr class="{kind}"><th scope="row">{escape(each.text)}{mark}</th>{cells}</tr>'


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")
