"""Small pieces of Markdown. Knows nothing of models."""

import re
from collections.abc import Iterable, Sequence

from phi2demo.evaluation.report import in_cell

NOT_MEASURED = "Not measured"
NOT_RECORDED = "Not recorded"
_LINE_BREAKS = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
"""What Unicode and `str.splitlines` take for the end of a line, a reader's program perhaps too."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; empty text where there are no rows."""
    lines = [[cell(value) for value in row] for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {' | '.join(line)} |" for line in ([cell(name) for name in head], ["---"] * len(head), *lines))


def cell(value: object) -> str:
    """What stands in a table: one line, without bars."""
    return in_cell(number(value))


def number(value: object) -> str:
    """As a reader wants it: thousands apart, four significant digits of a fraction; other values as they are."""
    if value is None or value == "" or value == ():
        return NOT_RECORDED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def plain(text: str) -> str:
    """A text that is shown as it is, in one paragraph: nothing in it is markup."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", text.strip())
    return re.sub(rf"\s*[{_LINE_BREAKS}]\s*", "<br>", escaped)


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)
