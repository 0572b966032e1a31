"""SVG drawings as text: elements, scales and ticks. Knows no data and no colours; classes carry the style."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

XMLNS = "http://www.w3.org/2000/svg"


def element(name: str, content: str = "", **attributes: float | str) -> str:
    """Write an element; `class_` is the class, `text_anchor` is text-anchor, and a float gets one decimal.

    `content` is markup and is not escaped; see `text`.
    """
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def picture(content: str, *, label: str = "", **attributes: float | str) -> str:
    """Write an <svg> element, which screen readers call `label`; without one they skip it."""
    accessible = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return element("svg", content, **attributes, **accessible)


def text(words: str, **attributes: float | str) -> str:
    """Write a text, escaped."""
    return element("text", escape(words), **attributes)


def line(class_: str, x: tuple[float | str, float | str], y: tuple[float | str, float | str]) -> str:
    """Write a straight line from (x[0], y[0]) to (x[1], y[1])."""
    return element("line", class_=class_, x1=x[0], x2=x[1], y1=y[0], y2=y[1])


def polyline(class_: str, points: Iterable[tuple[float, float]]) -> str:
    """Write a line through points."""
    return element("polyline", class_=class_, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


@dataclass(frozen=True)
class LinearScale:
    """Maps values from `low` to `high` to places in a drawing from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from at most `low` to at least `high`."""
    span = max(high - low, abs(high) * 1e-3, 1e-9)
    power = 10 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [multiple * step for multiple in range(first, max(last, first + 1) + 1)]


def _value(value: float | str) -> str:
    return f"{value:.1f}" if isinstance(value, float) else escape(str(value), quote=True)
