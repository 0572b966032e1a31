"""Learning curves as one SVG of small pictures that share their horizontal axis. Knows no files."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from phi2demo.cards.curve import ticks
from phi2demo.evaluation.learning_curve import LearningCurve, LearningCurves
from phi2demo.evaluation.results import ScoreValue
from phi2demo.evaluation.wording import measure_title

PANEL_WIDTH, PANEL_HEIGHT = 380, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 22, 42, 44

_ALONG = {"operations": "floating-point operations of training", "tokens": "tokens of finetuning"}
_STYLE = """
 .back { fill: #ffffff } text { fill: #24292f; font: 12px sans-serif } .small { font-size: 11px } .grid { stroke: #d0d7de }
 .finetuned { stroke: #0969da; fill: #0969da } .base { stroke: #bc4c00; fill: #ffffff } .path { fill: none; stroke-width: 1.6 }
 .target { stroke: #24292f; stroke-dasharray: 6 4 } .people { stroke: #6e7781; stroke-dasharray: 1 4; stroke-width: 2 }
 @media (prefers-color-scheme: dark) { .back { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d }
 .finetuned { stroke: #58a6ff; fill: #58a6ff } .base { stroke: #f0883e; fill: #0d1117 } .path { fill: none }
 .target { stroke: #e6edf3 } .people { stroke: #8b949e } }
"""
"""The background is opaque: the picture follows the reader's system, which the page around it may not."""


def draw_learning(told: LearningCurves, *, title: str, columns: int = 2) -> str:
    """Each curve with its intervals, the base's better form, the target and what people score; amounts by powers of ten."""
    rows = math.ceil(len(told.curves) / columns)
    width = columns * PANEL_WIDTH
    legend, top = _legend(told.curves, width)
    height = rows * PANEL_HEIGHT + top
    amounts = [point.amount for curve in told.curves for point in curve.points]
    low, high = math.floor(2 * math.log10(min(amounts))) / 2, math.ceil(2 * math.log10(max(amounts))) / 2
    panels = "\n".join(
        f'<g transform="translate({at % columns * PANEL_WIDTH} {top + at // columns * PANEL_HEIGHT})">'
        f"{''.join(_panel(curve, low, max(high, low + 0.5), _ALONG[told.along]))}</g>"
        for at, curve in enumerate(told.curves)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect class="back" width="{width}" height="{height}"/>\n{legend}\n{panels}\n</svg>\n'
    )


@dataclass(frozen=True)
class _Scale:
    """From a logarithm and a score to places in a panel."""

    low: float
    high: float
    ys: list[float]

    def x(self, log10: float) -> float:
        return LEFT + (log10 - self.low) / (self.high - self.low) * (PANEL_WIDTH - LEFT - RIGHT)

    def y(self, score: float) -> float:
        share = (score - self.ys[0]) / (self.ys[-1] - self.ys[0])
        return PANEL_HEIGHT - BOTTOM - share * (PANEL_HEIGHT - TOP - BOTTOM)


def _panel(curve: LearningCurve, low: float, high: float, along: str) -> Iterator[str]:
    people = curve.people.score if curve.people else None
    levels = {name: level for name, level in (("people", people), ("target", curve.target)) if level is not None}
    scores = [score for point in curve.points for score in (point.finetuned, point.base) if score]
    shown = [bound for each in scores for bound in (each.score, each.low, each.high) if bound is not None]
    scale = _Scale(low, high, ticks(min(*shown, *levels.values()), max(*shown, *levels.values()), 4))
    yield f'<text x="{LEFT}" y="16">{escape(measure_title(curve.measure))}</text>'
    yield f'<text class="small" x="{LEFT}" y="32">{escape(curve.title)}</text>'
    yield from _grid(scale, along)
    for name, level in levels.items():
        yield _line(name, LEFT, scale.y(level), PANEL_WIDTH - RIGHT, scale.y(level))
    yield from _series("base", [(point.amount, point.base) for point in curve.points], scale)
    yield from _series("finetuned", [(point.amount, point.finetuned) for point in curve.points], scale)


def _grid(scale: _Scale, along: str) -> Iterator[str]:
    for score in scale.ys:
        y = scale.y(score)
        yield _line("grid", LEFT, y, PANEL_WIDTH - RIGHT, y)
        yield f'<text class="small" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{score:g}</text>'
    bottom = PANEL_HEIGHT - BOTTOM
    for power in range(math.ceil(scale.low), math.floor(scale.high) + 1):
        yield _line("grid", scale.x(power), TOP, scale.x(power), bottom)
        yield f'<text class="small" x="{scale.x(power):.1f}" y="{bottom + 15}" text-anchor="middle">1e{power}</text>'
    middle = (LEFT + PANEL_WIDTH - RIGHT) / 2
    yield f'<text class="small" x="{middle}" y="{bottom + 30}" text-anchor="middle">{along}</text>'


def _series(name: str, scores: Sequence[tuple[float, ScoreValue | None]], scale: _Scale) -> Iterator[str]:
    places = [(scale.x(math.log10(amount)), score) for amount, score in scores if score]
    path = " ".join(f"{x:.1f},{scale.y(score.score):.1f}" for x, score in places)
    yield f'<polyline class="{name} path" points="{path}"/>'
    for x, score in places:
        if score.low is not None and score.high is not None:
            yield _line(name, x, scale.y(score.low), x, scale.y(score.high))
        yield f'<circle class="{name}" cx="{x:.1f}" cy="{scale.y(score.score):.1f}" r="3.5"/>'


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _legend(curves: Sequence[LearningCurve], width: int) -> tuple[str, int]:
    """What is drawn anywhere, and the height that it takes."""
    shown = {
        "finetuned": ("finetuned", True),
        "base": ("base, its better form", any(point.base for curve in curves for point in curve.points)),
        "target": ("target", any(curve.target is not None for curve in curves)),
        "people": ("people among themselves", any(curve.people for curve in curves)),
    }
    parts: list[str] = []
    x, y = LEFT, 15
    for name, (words, drawn) in shown.items():
        if not drawn:
            continue
        wide = 44 + 7 * len(words)
        if x + wide > width and parts:
            x, y = LEFT, y + 20
        mark = _line(name, x, y, x + 22, y)
        if name in ("finetuned", "base"):
            mark += f'<circle class="{name}" cx="{x + 11}" cy="{y}" r="3.5"/>'
        parts.append(f'{mark}<text x="{x + 28}" y="{y + 4}">{words}</text>')
        x += wide
    return "".join(parts), y + 17
