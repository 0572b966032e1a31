"""Parts of tables as HTML. Where the screen is narrow a row is a stack: every cell then says itself what it is of."""

from collections.abc import Iterable, Sequence
from html import escape


def head(names: Sequence[str], *, words: int = 2) -> str:
    """The names of the columns; those after the first `words` are of numbers."""
    cells = (f'<th scope="col"{_kind(at >= words)}>{escape(name)}</th>' for at, name in enumerate(names))
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def cells(names: Sequence[str], contents: Iterable[str], *, words: int = 0) -> str:
    """A row's cells under columns of these names, their HTML given; those after the first `words` are numbers."""
    return "".join(
        f'<td{_kind(at >= words)} data-label="{escape(name)}">{content}</td>'
        for at, (name, content) in enumerate(zip(names, contents, strict=True))
    )


def region(content: str, label: str) -> str:
    """Figures that may be wider than the screen, to be reached by keyboard."""
    return (
        f'<div class="figures scrolls stacks" role="region" tabindex="0" aria-label="{escape(label)}">{content}</div>'
    )


def _kind(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
