"""An explanation in sentences, as HTML and as CSV. All text from a person or a model is escaped; there is no script.

Colours are set by classes and by `--v`, the strength from 0 to 1; `STYLE` defines them for light and dark.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from phi2demo.data.files import csv_text
from phi2demo.explain.attribution import Attribution, Curve, OutputToken, Trust
from phi2demo.explain.request import METHODS, OF, VALUES
from phi2demo.explain.units import Unit, Values
from phi2demo.tasks.request import PROMPT_STYLES

STYLE = Path(__file__).with_name("heatmap.css").read_text(encoding="utf-8")
_PAGE_STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
BARS = 12
"""Units in the bar chart."""


def question(attribution: Attribution) -> str:
    """Return the question that the explanation answers, in one line."""
    request, output = attribution.request, shown(attribution.output)
    if request.of == "difference":
        sentence = f"What did finetuning change about how likely “{output}” is"
    else:
        model = f"{request.of} model" if request.of in OF else f"adapter {request.of}"
        sentence = f"Which {attribution.kind} made the {model} write “{output}”"
    return f"{sentence} rather than “{shown(request.instead)}”?" if request.instead else f"{sentence}?"


def settings(attribution: Attribution) -> str:
    """Describe the method and its settings in one line."""
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
    """Describe the effect of the whole text in one line."""
    base, full = float(attribution.base_values.sum()), float(attribution.full_values.sum())
    return (
        f"{full:.2f} with the whole text, {base:.2f} with all of it hidden: the text is worth {full - base:+.2f} nats"
    )


@dataclass(frozen=True)
class Check:
    """A check of an explanation."""

    name: str
    means: str
    """The definition, as a tooltip of the name."""
    value: str
    says: str
    """The value in plain words."""


def trust_lines(attribution: Attribution) -> tuple[str, ...]:
    """Return the checks of the explanation, one line for each."""
    return tuple(f"{check.name}: {check.value} {check.says}" for check in checks(attribution))


def checks(attribution: Attribution) -> Iterator[Check]:
    """Yield the checks that this explanation has."""
    trust = attribution.trust
    if trust.opened is not None and trust.split_evenly is not None:
        yield _tree(trust, attribution.kind)
    if attribution.request.method == "exact":
        yield Check(
            "Measured",
            "Exact Shapley values: every subset of the units was scored",
            "All",
            f"combinations of shown and hidden {attribution.kind} were scored; nothing is estimated",
        )
    if trust.standard_error is not None and attribution.units:
        index = attribution.ranked[0]
        yield Check(
            "Standard error",
            "Of the strongest value, over the random samples",
            f"± {trust.standard_error[index]:.2g}",
            f"on the strongest value, {attribution.totals[index]:+.2f}",
        )
    if trust.fit is not None:
        yield Check(
            "Fit",
            "Weighted R² of LIME's linear model over the masked texts",
            f"{trust.fit:.0%}",
            "of the variance is explained by adding up single parts",
        )
    if trust.deletion is not None:
        yield _area("Deletion", trust.deletion, lower_is_better=True)
    if trust.insertion is not None:
        yield _area("Insertion", trust.insertion, lower_is_better=False)
    if trust.agreement is not None:
        yield Check(
            "Agreement",
            "Spearman's rank correlation of the values by SHAP and by LIME: 1 is the same order, 0 none",
            f"{trust.agreement:.2f}",
            f"SHAP and LIME {_agreement(trust.agreement)} on the order",
        )
    yield Check(
        "Missing share",
        "The values' sum against the value of the whole text less that of the empty text",
        f"{trust.remainder:.1%}",
        "of the text's effect is missing from the sum of the values",
    )
    yield Check(
        "Cost",
        "Prompts that were scored for values and checks, and the seed of every random choice",
        f"{trust.calls:,}",
        f"model calls in {trust.seconds:.1f} s, seed {trust.seed}",
    )


def _tree(trust: Trust, kind: str) -> Check:
    assert trust.opened is not None
    assert trust.split_evenly is not None
    says = f"of the groups were split down to single {kind}"
    if trust.split_evenly >= 0.0005:
        says += f"; {trust.split_evenly:.1%} of the total value is shared evenly inside groups"
    return Check(
        "Measured",
        "Share of the inner nodes of the tree that were opened, and of the value below the others",
        f"{trust.opened:.0%}",
        says,
    )


def _area(name: str, curve: Curve, *, lower_is_better: bool) -> Check:
    better = curve.area < curve.random_area if lower_is_better else curve.area > curve.random_area
    doing = "hiding the strongest first" if lower_is_better else "adding the strongest first"
    return Check(
        name,
        f"Area under the curve; {'lower' if lower_is_better else 'higher'} is better (Petsiuk et al., 2018)",
        f"{curve.area:.2f}",
        f"against {curve.random_area:.2f} for random orders: {doing} {'changes' if better else 'does not change'} the output "
        f"{'faster' if better else 'any faster'} than chance",
    )


def _agreement(correlation: float) -> str:
    if correlation >= 0.8:
        return "agree"
    if correlation >= 0.5:
        return "mostly agree"
    return "hardly agree" if correlation > 0 else "disagree"


def shown(text: str, *, longest: int = 80) -> str:
    """Return a text in one line, cut to `longest` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def heatmap(units: Sequence[Unit], totals: Values, *, scale: float | None = None) -> str:
    """Render the text as typed, each unit on its colour. `scale` is the value of full colour, by default the largest here.

    Give the scale of the whole output to compare views of single tokens with it.
    """
    scale = scale or strongest(totals)
    spans = "".join(_unit(unit.text, float(value), scale) for unit, value in zip(units, totals, strict=True))
    return f'<p class="heatmap" dir="auto">{spans}</p>'


def strongest(totals: Values) -> float:
    """Return the value of full colour, the largest of `totals` (units,); never zero."""
    return max(float(np.abs(totals).max(initial=0.0)), 1e-9)


def output_line(tokens: Sequence[OutputToken], *, chosen: range | None = None) -> str:
    """Render the output as typed, each token in a span with its index in `data-token`; tokens of one place share a span."""
    spans = []
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else token
        if index and token.place == before.place:
            continue
        marked = ' aria-current="true"' if chosen and index in chosen else ""
        gap = "\n" if token.piece != before.piece else ""
        spans.append(f'{gap}<span class="token" data-token="{index}"{marked}>{escape(token.text)}</span>')
    return f'<p class="heatmap output" dir="auto">{"".join(spans)}</p>'


def legend(scale: float, *, less: str = "less likely", more: str = "more likely") -> str:
    """Render what the colours mean."""
    return (
        f'<div class="legend"><span>{escape(less)} <span class="number">{-scale:+.2f}</span></span>'
        '<span class="scale" aria-hidden="true"></span>'
        f'<span><span class="number">{scale:+.2f}</span> {escape(more)}</span></div>'
    )


def bars(attribution: Attribution, *, count: int = BARS) -> str:
    """Render the strongest units as bars, to the right where they made the output likelier."""
    units, totals = attribution.units, attribution.totals
    scale = strongest(totals)
    rows = "".join(
        f'<li><span class="name">{escape(shown(units[index].text))}</span>'
        '<span class="track" aria-hidden="true">'
        f'<span class="{_side(totals[index])}" style="--v:{abs(totals[index]) / scale:.3f}"></span></span>'
        f'<span class="number">{totals[index]:+.2f}</span></li>'
        for index in attribution.ranked[:count]
    )
    return f'<ul class="effects" aria-label="Strongest units">{rows}</ul>'


def table(attribution: Attribution) -> str:
    """Render all units with their values as a table, the strongest first. It says what the heatmap shows."""
    totals, error = attribution.totals, attribution.trust.standard_error
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("Rank", "Unit", "Value", *(("± error",) if error else ()))
    )
    rows = "".join(
        f'<tr><td class="number">{rank}</td><td>{escape(attribution.units[index].text.strip())}</td>'
        f'<td class="number">{totals[index]:+.3f}</td>'
        + (f'<td class="number">{error[index]:.3f}</td>' if error else "")
        + "</tr>"
        for rank, index in enumerate(attribution.ranked, 1)
    )
    return f"<table><caption>Units by strength, in nats</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def curves(trust: Trust) -> str:
    """Render the curves that were measured."""
    pairs = (("Deletion", trust.deletion), ("Insertion", trust.insertion))
    return "".join(_curve(curve, name) for name, curve in pairs if curve is not None)


def _curve(curve: Curve, title: str) -> str:
    """Render a curve and the mean of random orderings as an SVG."""
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

    label = f"{title}: area {curve.area:.2f}, random orders {curve.random_area:.2f}"
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(label)}">'
        f'<polyline class="chance" points="{path(curve.random)}"/><polyline class="line" points="{path(curve.values)}"/>'
        f'<text x="{side}" y="14">{escape(label)}</text><text x="{side}" y="{height - 4}">0 %</text>'
        f'<text x="{width - side}" y="{height - 4}" text-anchor="end">100 % of the units</text></svg>'
    )


def _unit(text: str, value: float, scale: float) -> str:
    strength = min(abs(value) / scale, 1.0)
    core = text.strip()  # white space shows no colour
    start = text.index(core)
    return (
        f'{escape(text[:start])}<span class="unit {_side(value)}" style="--v:{strength:.3f}" title="{value:+.3f}">'
        f"{escape(core)}</span>{escape(text[start + len(core) :])}"
    )


def _side(value: float) -> str:
    return "more" if value >= 0 else "less"


def page(attribution: Attribution) -> str:
    """Render the whole explanation as one HTML file: question, heatmap, output, strongest units, trust figures, all units."""
    model = attribution.model
    title = question(attribution)
    scale = strongest(attribution.totals)
    adapter = f" with adapter {model.adapter} {model.adapter_revision}" if model.adapter else " alone"
    sections = [
        f"<h1>{escape(title)}</h1>",
        _quiet(settings(attribution), effect(attribution)),
        heatmap(attribution.units, attribution.totals),
        legend(scale),
        "<h2>Output explained</h2>",
        output_line([token for token in attribution.tokens if token.side == "output"]),
        "<h2>Strongest units</h2>",
        bars(attribution),
        "<h2>How reliable this is</h2>",
        _list((*trust_lines(attribution), *attribution.notes)),
        f'<div class="curves">{curves(attribution.trust)}</div>',
        "<h2>All units</h2>",
        table(attribution),
        _quiet(f"{model.base} {model.base_revision}{adapter}, {model.device} {model.dtype}"),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(shown(title))}</title>\n<style>{STYLE}{_PAGE_STYLE}</style>\n</head>\n"
        f'<body class="explanation">\n{"".join(sections)}\n</body>\n</html>\n'
    )


def _quiet(*lines: str) -> str:
    return "".join(f'<p class="quiet">{escape(line)}</p>' for line in lines)


def _list(lines: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def to_csv(attribution: Attribution) -> str:
    """Return CSV with one row for each unit: rank, unit, start, end, value, and a column for each output token."""
    units, tokens, totals = attribution.units, attribution.tokens, attribution.totals
    ranks = {index: rank for rank, index in enumerate(attribution.ranked, 1)}
    names = [f"{'not ' if token.side == 'contrast' else ''}{index}: {token.text}" for index, token in enumerate(tokens)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["rank", "unit", "start", "end", "value", *map(csv_text, names)])
    for index, (unit, row) in enumerate(zip(units, attribution.values, strict=True)):
        numbers = (f"{value:.6g}" for value in (totals[index], *row))
        writer.writerow([ranks[index], csv_text(unit.text), unit.start, unit.end, *numbers])
    return buffer.getvalue()
