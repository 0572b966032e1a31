"""The loss curve as an SVG picture that can be read on light and dark pages. Knows no files."""

import math
from collections.abc import Sequence
from html import escape

from phi2demo.training.record import Record

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
    """Training loss, and loss on held-out examples as dots, over the tokens of all stages; None without a curve."""
    training, validation, ends = _points(record)
    if sum(map(len, training)) < 2:
        return None
    scale = _Scale(
        [x for line in training for x, _ in line] + [x for x, _ in validation],
        [y for line in training for _, y in line] + [y for _, y in validation],
    )
    lines = "\n".join(_grid(scale))
    for line in training:
        path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in line)
        lines += f'\n<polyline class="training" points="{path}"/>'
    dots = "\n".join(
        f'<circle class="validation" cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="3"/>' for x, y in validation
    )
    borders = "\n".join(
        f'<line class="stage" x1="{scale.x(x):.1f}" x2="{scale.x(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        for x in ends[:-1]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>\n{lines}\n{borders}\n{dots}\n{_legend(bool(validation))}\n'
        "</svg>\n"
    )


Pairs = list[tuple[float, float]]


def _points(record: Record) -> tuple[list[Pairs], Pairs, list[float]]:
    """Lines of (tokens, training loss) by stage, dots of (tokens, held-out loss), and the tokens at each stage's end."""
    training: list[Pairs] = []
    validation: Pairs = []
    ends: list[float] = []
    before = 0
    for stage in record.stages:
        line: Pairs = [(before + point.tokens, point.loss) for point in stage.curve]
        per_step = stage.tokens / stage.steps if stage.steps else 0
        validation += [
            (before + each.step * per_step, each.losses["all"]) for each in stage.validations if "all" in each.losses
        ]
        if line:
            training.append(line)
        before += stage.tokens
        ends.append(before)
    return training, validation, ends


class _Scale:
    """From tokens and losses to places in the picture, over round numbers."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.xs = ticks(0, max(xs))
        self.ys = ticks(min(ys), max(ys))

    def x(self, value: float) -> float:
        return LEFT + (value - self.xs[0]) / (self.xs[-1] - self.xs[0]) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.ys[0]) / (self.ys[-1] - self.ys[0]) * (HEIGHT - TOP - BOTTOM)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`."""
    span = max(high - low, abs(high) * 1e-3, 1e-9)
    power = 10 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [at * step for at in range(first, max(last, first + 1) + 1)]


def _grid(scale: _Scale) -> list[str]:
    unit, name = next(
        (size, word)
        for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand"), (1, ""))
        if scale.xs[-1] >= size
    )
    lines = []
    for value in scale.ys:
        y = scale.y(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in scale.xs:
        x = scale.x(value)
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value / unit:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">tokens seen{f",{name}s" if name else ""}</text>'
    )
    lines.append(
        f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        "nats per token</text>"
    )
    return lines


def _legend(validated: bool) -> str:
    parts = [
        f'<rect class="key" x="{LEFT}" y="17" width="18" height="3"/><text x="{LEFT + 24}" y="23">training loss</text>'
    ]
    if validated:
        parts.append(
            f'<circle class="validation" cx="{LEFT + 140}" cy="18" r="4"/>'
            f'<text x="{LEFT + 150}" y="23">loss on held-out examples</text>'
        )
    return "".join(parts)
