"""An explanation as HTML: heatmap, legend, bars, table, curves. Everything from a person or a model is escaped; no script.

Colours are set by classes and by `--v`, the strength from 0 to 1; `STYLE` defines them for light and dark.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phi2demo.explain.attribution import Attribution, Curve, OutputToken
from phi2demo.explain.request import METHODS, VALUES
from phi2demo.explain.units import Unit
from phi2demo.tasks.request import PROMPT_STYLES


def question(attribution: Attribution) -> str:
    """What the explanation answers, in one line."""
    request, output = attribution.request, shown(attribution.output)
    if request.of == "difference":
        what = f"What did finetuning change about how likely “{output}” is"
    else:
        model = "second adapter" if request.of == "second" else f"{request.of} model"
        what = f"Which {attribution.kind} made the {model} write “{output}”"
    return f"{what} rather than “{shown(request.instead)}”?" if request.instead else f"{what}?"


def settings(attribution: Attribution) -> str:
    """How it was found, in one line."""
    request = attribution.request
    hidden = (
        f"hidden {attribution.kind} replaced by “{request.mask}”"
        if request.mask
        else f"hidden {attribution.kind} dropped"
    )
    base = f", the base asked {PROMPT_STYLES[request.base_prompt_style].lower()}" if "base" in request.variants else ""
    adapted = request.adapter_strength != 1 and request.variants != ("base",)
    strength = f", the adapter at {request.adapter_strength:g} of its strength" if adapted else ""
    read = ", the text read in sentence case" if request.is_recased else ""
    return f"{METHODS[request.method]}, {VALUES[request.value]} in nats, {hidden}{base}{strength}{read}"


def effect(attribution: Attribution) -> str:
    """What the text as a whole does, in one line."""
    base, full = float(attribution.base_values.sum()), float(attribution.full_values.sum())
    return (
        f"{full:.2f} with the whole text, {base:.2f} with all of it hidden: the text is worth {full - base:+.2f} nats"
    )


def trust_lines(attribution: Attribution) -> tuple[str, ...]:
    """The trust figures, a line each, with what is good."""
    trust = attribution.trust
    lines = [f"values and effect of the text differ by {trust.remainder:.1%}"]
    if trust.opened is not None and trust.split_evenly is not None:
        lines.append(f"tree opened {trust.opened:.0%}, {trust.split_evenly:.1%} of the credit only split evenly")
    if trust.standard_error is not None and attribution.units:
        strongest = attribution.ranked[0]
        lines.append(
            f"standard error of the strongest unit {trust.standard_error[strongest]:.2g}, "
            f"its value {attribution.totals[strongest]:+.2f}"
        )
    if trust.fit is not None:
        lines.append(f"the linear model explains {trust.fit:.0%} of the variance (R²)")
    if trust.deletion is not None:
        lines.append(_area("deletion", trust.deletion, better=trust.deletion.area < trust.deletion.random_area))
    if trust.insertion is not None:
        lines.append(_area("insertion", trust.insertion, better=trust.insertion.area > trust.insertion.random_area))
    if trust.agreement is not None:
        lines.append(f"SHAP and LIME agree {trust.agreement:.2f} (rank correlation)")
    lines.append(f"{trust.calls:,} prompts scored, {trust.seconds:.1f} s, seed {trust.seed}")
    return tuple(lines)


def shown(text: str, *, longest: int = 80) -> str:
    """A text in one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _area(name: str, curve: Curve, *, better: bool) -> str:
    verdict = "better" if better else "no better"
    return f"{name} area {curve.area:.2f}, random orders {curve.random_area:.2f}: {verdict} than chance"


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


_STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def page(attribution: Attribution) -> str:
    """The whole explanation: question, heatmap, output, strongest units, trust, all units."""
    trust, model = attribution.trust, attribution.model
    title = question(attribution)
    scale = strongest(attribution.totals)
    curves = "".join(
        curve(each, name)
        for name, each in (("Deletion", trust.deletion), ("Insertion", trust.insertion))
        if each is not None
    )
    adapter = f" with adapter {model.adapter} {model.adapter_revision}" if model.adapter else " alone"
    sections = [
        f"<h1>{escape(title)}</h1>",
        _quiet(settings(attribution), effect(attribution)),
        heatmap(attribution.units, attribution.totals),
        legend(scale),
        "<h2>Output explained</h2>",
        output_line([token for token in attribution.tokens if token.side == "this"]),
        "<h2>Strongest units</h2>",
        bars(attribution),
        "<h2>How far to believe it</h2>",
        _list((*trust_lines(attribution), *attribution.notes)),
        f'<div class="curves">{curves}</div>',
        "<h2>All units</h2>",
        table(attribution),
        _quiet(f"{model.base} {model.base_revision}{adapter}, {model.device} {model.dtype}"),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(shown(title))}</title>\n<style>{STYLE}{_STYLE}</style>\n</head>\n"
        f'<body class="explanation">\n{"".join(sections)}\n</body>\n</html>\n'
    )


def _quiet(*lines: str) -> str:
    return "".join(f'<p class="quiet">{escape(line)}</p>' for line in lines)


def _list(lines: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
