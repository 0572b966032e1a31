"""An explanation as HTML: heatmap, legend, bars, table, curves. Everything from a person or a model is escaped; no script.

Colours are set by classes and by `--v`, the strength from 0 to 1; `STYLE` defines them for light and dark.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phi2demo.explain.attribution import Attribution, Curve, OutputToken
from phi2demo.explain.segments import Unit
from phi2demo.explain.words import shown

STRONGEST = 12
"""Units in the bar chart."""

STYLE = Path(__file__).with_name("heatmap.css").read_text(encoding="utf-8")


def heatmap(units: Sequence[Unit], totals: NDArray[np.float64], *, scale: float | None = None) -> str:
    """The text as typed, each unit on its colour; `scale` is the value of full colour, by default the greatest here.

    Give the scale of the whole output to compare views of single tokens with it.
    """
    full = scale or strongest(totals)
    spans = "".join(_unit(unit.text, float(value), full) for unit, value in zip(units, totals, strict=True))
    return f'<p class="heatmap" dir="auto">{spans}</p>'


def strongest(totals: NDArray[np.float64]) -> float:
    """The value of full colour: never zero."""
    return max(float(np.abs(totals).max(initial=0.0)), 1e-9)


def output_line(tokens: Sequence[OutputToken], *, chosen: range | None = None) -> str:
    """The output as typed, a span with `data-token` a token; tokens of one character are one span."""
    spans, at = [], 0
    while at < len(tokens):
        last = at
        while last + 1 < len(tokens) and _same_place(tokens[at], tokens[last + 1]):
            last += 1
        marked = ' aria-current="true"' if chosen and at in chosen else ""
        gap = "\n" if at and tokens[at].piece != tokens[at - 1].piece else ""
        spans.append(f'{gap}<span class="token" data-token="{at}"{marked}>{escape(tokens[at].text)}</span>')
        at = last + 1
    return f'<p class="heatmap output" dir="auto">{"".join(spans)}</p>'


def legend(scale: float, *, less: str = "less likely", more: str = "more likely") -> str:
    """What the colours mean."""
    return (
        f'<div class="legend"><span>{escape(less)} <span class="number">{-scale:+.2f}</span></span>'
        '<span class="scale" aria-hidden="true"></span>'
        f'<span><span class="number">{scale:+.2f}</span> {escape(more)}</span></div>'
    )


def bars(attribution: Attribution, *, count: int = STRONGEST) -> str:
    """The strongest units, to the right where they made the output likelier."""
    totals = attribution.totals
    full = strongest(totals)
    rows = "".join(
        f'<li><span class="name">{escape(shown(attribution.units[at].text))}</span>'
        '<span class="track" aria-hidden="true">'
        f'<span class="{_side(totals[at])}" style="--v:{abs(totals[at]) / full:.3f}"></span></span>'
        f'<span class="number">{totals[at]:+.2f}</span></li>'
        for at in attribution.ranked[:count]
    )
    return f'<ul class="effects" aria-label="Strongest units">{rows}</ul>'


def table(attribution: Attribution) -> str:
    """All units with their values, the strongest first: the heatmap for screen readers."""
    error = attribution.trust.standard_error
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("Rank", "Unit", "Value", *(("± error",) if error else ()))
    )
    rows = "".join(
        f'<tr><td class="number">{place}</td><td>{escape(attribution.units[at].text.strip())}</td>'
        f'<td class="number">{attribution.totals[at]:+.3f}</td>'
        + (f'<td class="number">{error[at]:.3f}</td>' if error else "")
        + "</tr>"
        for place, at in enumerate(attribution.ranked, 1)
    )
    return f"<table><caption>Units by strength, in nats</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def curve(curve: Curve, title: str) -> str:
    """A curve and that of random orderings, as an SVG of its own."""
    width, height, pad, side = 280, 130, 22, 2
    values = np.array([curve.values, curve.random])
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 1e-9)

    def path(ys: Sequence[float]) -> str:
        points = (
            f"{side + share * (width - 2 * side):.1f},{pad + (high - y) / span * (height - 2 * pad):.1f}"
            for share, y in zip(curve.share, ys, strict=True)
        )
        return " ".join(points)

    words = f"{title}: area {curve.area:.2f}, random orders {curve.random_area:.2f}"
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(words)}">'
        f'<polyline class="chance" points="{path(curve.random)}"/><polyline class="line" points="{path(curve.values)}"/>'
        f'<text x="{side}" y="14">{escape(words)}</text><text x="{side}" y="{height - 4}">0 %</text>'
        f'<text x="{width - side}" y="{height - 4}" text-anchor="end">100 % of the units</text></svg>'
    )


def _unit(text: str, value: float, scale: float) -> str:
    strength = min(abs(value) / scale, 1.0)
    core = text.strip()  # white space shows no colour
    at = text.index(core)
    return (
        f'{escape(text[:at])}<span class="unit {_side(value)}" style="--v:{strength:.3f}" title="{value:+.3f}">'
        f"{escape(core)}</span>{escape(text[at + len(core) :])}"
    )


def _side(value: float) -> str:
    return "more" if value >= 0 else "less"


def _same_place(first: OutputToken, second: OutputToken) -> bool:
    return (first.piece, first.side, first.start, first.end) == (second.piece, second.side, second.start, second.end)
