"""An explanation as one standalone HTML file: no script, nothing loaded from elsewhere."""

from html import escape
from pathlib import Path

from phi2demo.explain import html, words
from phi2demo.explain.attribution import Attribution

_STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def page(attribution: Attribution) -> str:
    """The whole explanation: question, heatmap, output, strongest units, trust, all units."""
    trust, model = attribution.trust, attribution.model
    title = words.question(attribution)
    scale = html.strongest(attribution.totals)
    curves = "".join(
        html.curve(each, name)
        for name, each in (("Deletion", trust.deletion), ("Insertion", trust.insertion))
        if each is not None
    )
    adapter = f" with adapter {model.adapter} {model.adapter_revision}" if model.adapter else " alone"
    sections = [
        f"<h1>{escape(title)}</h1>",
        _quiet(words.settings(attribution), words.effect(attribution)),
        html.heatmap(attribution.units, attribution.totals),
        html.legend(scale),
        "<h2>Output explained</h2>",
        html.output_line([token for token in attribution.tokens if token.side == "this"]),
        "<h2>Strongest units</h2>",
        html.bars(attribution),
        "<h2>How far to believe it</h2>",
        _list((*words.trust_lines(attribution), *attribution.notes)),
        f'<div class="curves">{curves}</div>',
        "<h2>All units</h2>",
        html.table(attribution),
        _quiet(f"{model.base} {model.base_revision}{adapter}, {model.device} {model.dtype}"),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(words.shown(title))}</title>\n<style>{html.STYLE}{_STYLE}</style>\n</head>\n"
        f'<body class="explanation">\n{"".join(sections)}\n</body>\n</html>\n'
    )


def _quiet(*lines: str) -> str:
    return "".join(f'<p class="quiet">{escape(line)}</p>' for line in lines)


def _list(lines: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
