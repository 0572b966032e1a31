"""SVG drawings as text: elements, scales and ticks. Knows no data and no colours; classes carry the style."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from phi2demo.training.record import Record

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


WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 40, 48

_STYLE = """
 .back { fill: #ffffff } text { fill: #24292f; font: 13px sans-serif } .grid { stroke: #d0d7de; stroke-width: 1 }
 .training { fill: none; stroke: #0969da; stroke-width: 1.6 } .validation { fill: #bc4c00 } .key { fill: #0969da }
 .stage { stroke: #6e7781; stroke-dasharray: 4 4 }
 @media (prefers-color-scheme: dark) { .back { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d }
 .training { stroke: #58a6ff } .validation { fill: #f0883e } .key { fill: #58a6ff } .stage { stroke: #8b949e } }
"""
"""The background is opaque: the picture follows the reader's system, which the page around it may not."""


def draw_curve(record: Record, *, title: str) -> str | None:
    """Draw training loss as lines and held-out loss as dots, over the tokens of all stages; None without a curve."""
    training, validation, ends = _points(record)
    if sum(map(len, training)) < 2:
        return None
    points = [*(point for stage in training for point in stage), *validation]
    losses = [loss for _, loss in points]
    x_ticks = ticks(0, max(tokens for tokens, _ in points))
    y_ticks = ticks(min(losses), max(losses))
    x = LinearScale(x_ticks[0], x_ticks[-1], LEFT, WIDTH - RIGHT)
    y = LinearScale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [
        f"<style>{_STYLE}</style>",
        element("rect", class_="back", width=WIDTH, height=HEIGHT),
        *_axes(x, x_ticks, y, y_ticks),
        *(polyline("training", [(x(tokens), y(loss)) for tokens, loss in stage]) for stage in training),
        *(line("stage", (x(tokens), x(tokens)), (TOP, HEIGHT - BOTTOM)) for tokens in ends[:-1]),
        *(element("circle", class_="validation", cx=x(tokens), cy=y(loss), r=3) for tokens, loss in validation),
        _legend(bool(validation)),
    ]
    content = "\n".join(["", *parts, ""])
    view_box = f"0 0 {WIDTH} {HEIGHT}"
    return picture(content, label=title, xmlns=XMLNS, viewBox=view_box, width=WIDTH, height=HEIGHT) + "\n"


Pairs = list[tuple[float, float]]


def _points(record: Record) -> tuple[list[Pairs], Pairs, list[float]]:
    """Return pairs of (tokens, training loss) by stage, pairs of (tokens, held-out loss), and where each stage ends."""
    training: list[Pairs] = []
    validation: Pairs = []
    ends: list[float] = []
    before = 0
    for stage in record.stages:
        line: Pairs = [(before + point.tokens, point.loss) for point in stage.curve]
        per_step = stage.tokens / stage.steps if stage.steps else 0
        validation += [
            (before + held_out.step * per_step, held_out.losses["all"])
            for held_out in stage.validations
            if "all" in held_out.losses
        ]
        if line:
            training.append(line)
        before += stage.tokens
        ends.append(before)
    return training, validation, ends


def _axes(x: LinearScale, x_ticks: list[float], y: LinearScale, y_ticks: list[float]) -> list[str]:
    unit, name = next(
        (size, word)
        for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand"), (1, ""))
        if x_ticks[-1] >= size
    )
    parts = []
    for loss in y_ticks:
        parts.append(line("grid", (LEFT, WIDTH - RIGHT), (y(loss), y(loss))))
        parts.append(text(f"{loss:g}", x=LEFT - 8, y=y(loss) + 4, text_anchor="end"))
    for tokens in x_ticks:
        parts.append(line("grid", (x(tokens), x(tokens)), (TOP, HEIGHT - BOTTOM)))
        parts.append(text(f"{tokens / unit:g}", x=x(tokens), y=HEIGHT - BOTTOM + 18, text_anchor="middle"))
    tokens_seen = f"tokens seen{f',{name}s' if name else ''}"
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(text(tokens_seen, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 10, text_anchor="middle"))
    upwards = f"translate(16 {middle}) rotate(-90)"
    parts.append(text("nats per token", transform=upwards, text_anchor="middle"))
    return parts


def _legend(validated: bool) -> str:
    key = element("rect", class_="key", x=LEFT, y=17, width=18, height=3)
    legend = key + text("training loss", x=LEFT + 24, y=23)
    if validated:
        legend += element("circle", class_="validation", cx=LEFT + 140, cy=18, r=4)
        legend += text("loss on held-out examples", x=LEFT + 150, y=23)
    return legend
