"""What an answer was chosen among, as HTML: each output with how likely it is, and how likely the text is given it."""

from collections.abc import Sequence
from html import escape

from phi2demo.tasks.reranking import Ranked

SHOWN = 20
"""Pieces of a long text; a program gets those of all."""
_HEADS = (
    ("Output", "The best first"),
    ("Given the text", "Log-probability of this output given your text, in nats"),
    ("Way back", "Log-probability of your text given this output, in nats"),
    ("Score", "What decides: both, the second at its weight, a bonus for length, less for words left as they were"),
)


def alternatives(pieces: Sequence[Sequence[Ranked]]) -> str:
    """A folded table a piece; empty where nothing else was weighed."""
    weighed = [piece for piece in pieces if piece]
    if not weighed:
        return ""
    tables = "".join(map(_table, weighed[:SHOWN]))
    left = len(weighed) - SHOWN
    more = f'<p class="note">{left:,} more sentences: the API and --json give all.</p>' if left > 0 else ""
    return f'<details class="alternatives"><summary>What else it could have said</summary>{tables}{more}</details>'


def _table(piece: Sequence[Ranked]) -> str:
    heads = "".join(f'<th scope="col" title="{escape(words)}">{escape(head)}</th>' for head, words in _HEADS)
    likeliest = max(piece, key=lambda each: each.log_probability / len(each.candidate.token_ids))
    rows = "".join(_row(each, first=at == 0, likeliest=each is likeliest) for at, each in enumerate(piece))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _row(each: Ranked, *, first: bool, likeliest: bool) -> str:
    marks = [*(["chosen"] if first else []), *(["likeliest a token"] if likeliest else [])]
    mark = f" <small>{', '.join(marks)}</small>" if marks else ""
    numbers = (each.log_probability, each.reverse_log_probability, each.score)
    cells = "".join(f"<td>{_signed(value)}</td>" for value in numbers)
    return f'<tr{" class=chosen" if first else ""}><th scope="row">{escape(each.text)}{mark}</th>{cells}</tr>'


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")
