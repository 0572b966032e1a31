"""The essentials of a model as escaped HTML: what it is, its data, results, carbon, citation, glossary, your own."""

from collections.abc import Iterable, Sequence
from html import escape

from phi2demo.cards.essentials import Essentials, Figure, Source
from phi2demo.cards.glossary import GLOSSARY
from phi2demo.ui import tables
from phi2demo.ui.header import LOAD_PHI
from phi2demo.ui.markdown_html import COPY, code, render

LOAD_OWN = f"""{LOAD_PHI}
python app.py --adapter FOLDER_OR_HUB_ID"""
WRITE_CARD = "python -m phi2demo card --adapter FOLDER --report REPORT.json --output FOLDER"


def essentials_html(found: Essentials, notes: Sequence[str] = ()) -> str:
    """All of them, in sections."""
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<h2 class="model-name">{escape(found.name)}</h2><p>{escape(found.what)}</p>'
        + (f'<ul class="notes">{noted}</ul>' if noted else "")
        + '<div class="essentials">'
        + _section("What it is", _definitions(found.shape))
        + _section("Carbon", _definitions(found.carbon))
        + _section("Results", _figures(found.figures), wide=True)
        + _section("Trained on", _sources(found.sources), wide=True)
        + _section("Cite it", _citation(found), wide=True)
        + _section("Show your own", _own(), wide=True)
        + _section("Glossary", _glossary(), wide=True)
        + "</div>"
    )


def _section(title: str, body: str, *, wide: bool = False) -> str:
    return f"<section{' class=wide' if wide else ''}><h3>{escape(title)}</h3>{body}</section>"


def _definitions(rows: Iterable[tuple[str, str]]) -> str:
    return (
        '<dl class="receipt">'
        + "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>" for term, value in rows)
        + "</dl>"
    )


def _figures(figures: Sequence[Figure]) -> str:
    """A row for each data set, its first metric."""
    if not figures:
        return "<p>Not measured: its card has no results in its front matter.</p>"
    head = ["Task", "Data", "Metric", "Score", "Base", "Against the base", "n"]
    rows = [
        [
            figure.task,
            figure.data,
            figure.metric + (" (lower is better)" if figure.lower_is_better else ""),
            _score(figure),
            "" if figure.base is None else f"{figure.base:g}",
            figure.against_base,
            "" if figure.n is None else f"{figure.n:,}",
        ]
        for figure in figures
    ]
    has_intervals = any(figure.low is not None for figure in figures)
    note = "In brackets: bootstrap 95 % intervals. " if has_intervals else "Its card gives no intervals. "
    return _table("Results", head, rows, words=3) + f'<p class="note">{note}Every metric stands in the card below.</p>'


def _score(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:g}"
    return f"{figure.value:g} ({figure.low:g} to {figure.high:g})"


def _sources(sources: Sequence[Source]) -> str:
    if not sources:
        return "<p>Not recorded: the model's folder holds no training record, and its card names no data.</p>"
    rows = [[source.title, source.licence, source.attribution, source.note] for source in sources]
    return _table("Training data", ["Texts", "Licence", "By", "What they are"], rows, words=4)


def _table(label: str, names: Sequence[str], rows: Iterable[Sequence[str]], *, words: int) -> str:
    lines = "".join(f"<tr>{tables.cells(names, map(escape, row), words=words)}</tr>" for row in rows)
    return (
        f'<div class="scroll stacks" role="region" aria-label="{escape(label)}" tabindex="0"><table>'
        f"{tables.head(names, words=words)}<tbody>{lines}</tbody></table></div>"
    )


def _citation(found: Essentials) -> str:
    source = "As its card says." if found.cited_by_card else "Made from the model's name: its card does not say how."
    return (
        f"<p>{source}</p><h4>BibTeX</h4>{code(found.bibtex)}"
        f'<h4>APA</h4><div class="code">{COPY}<div class="cited">{render(found.apa).html}</div></div>'
    )


def _own() -> str:
    return (
        "<p>Start the app with a base or a LoRA adapter of yours, from a folder or the hub; the adapter names its base. "
        f"This tab then shows its card, or makes one from its files.</p>{code(LOAD_OWN)}"
        f"<p>Write its card, with what you have measured:</p>{code(WRITE_CARD)}"
    )


def _glossary() -> str:
    terms = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(means)}</dd></div>" for term, means in GLOSSARY.items())
    return f'<details><summary>{len(GLOSSARY)} terms in plain words</summary><dl class="receipt">{terms}</dl></details>'
