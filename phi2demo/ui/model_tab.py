"""The Model tab: the essentials of the loaded model, energy and CO2e, and the whole card."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from phi2demo.cards.essentials import CardScore, Essentials, Source, essentials_of
from phi2demo.cards.markdown import GLOSSARY
from phi2demo.cards.metadata import HUB
from phi2demo.cards.model_cards import ModelCards, ShownCard
from phi2demo.emissions.footprint import WORLD, Emissions, regions
from phi2demo.emissions.meter import METHOD, Meter, MeterReading, detect_hardware, estimate_reading
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError
from phi2demo.ui import markup
from phi2demo.ui.description import label_of
from phi2demo.ui.header import LOAD_PHI
from phi2demo.ui.markdown_html import COPY, code, render

_PRIVATE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class EmissionsPanel:
    """The components of the panel."""

    electricity: Any
    """The region whose electricity the app runs on."""
    update: Any
    used: Any


def build_emissions_panel() -> EmissionsPanel:
    """Lay out the panel."""
    gr.HTML('<h2 class="model-name">Energy and CO2e of this app</h2>', apply_default_css=False)
    used = gr.HTML("", apply_default_css=False, elem_classes="used")
    with gr.Row(elem_classes="used-actions"):
        electricity = gr.Dropdown(list(regions()), value=WORLD, label="Electricity of", elem_classes="region")
        update = gr.Button("Update", size="sm", min_width=0, scale=0)
    return EmissionsPanel(electricity, update, used)


def connect_emissions(panel: EmissionsPanel, handlers: "EmissionsHandlers") -> None:
    """Connect a new estimate with the region and the Update button."""
    for event in (panel.electricity.change, panel.update.click):
        event(handlers.used, panel.electricity, panel.used, **_PRIVATE)


class EmissionsHandlers:
    """Turns what the meter has counted into an estimate, or into an error in its place."""

    def __init__(self, loader: EngineLoader, meter: Meter) -> None:
        self._loader, self._meter = loader, meter

    def used(self, region: str) -> str:
        """Estimate what the app has used since it started, as HTML."""
        computed = self._meter.reading
        try:
            return _used(computed, self._estimate(computed, region))
        except Phi2DemoError as error:
            return markup.note(str(error), "warning")

    def _estimate(self, computed: MeterReading, region: str) -> Emissions:
        hardware = detect_hardware(self._loader.engine().info.device.partition(":")[0], 1)
        return estimate_reading(computed, hardware, region=region)


def _used(computed: MeterReading, estimate: Emissions) -> str:
    if not computed.calls:
        return "<p>The model has computed nothing yet. Ask it something on another tab, then come back.</p>"
    wh_per_batch = estimate.energy_kwh * 1000 / computed.calls
    return (
        f"<p>Since it started, its model has computed for {_amount(computed.busy_s)} s in {computed.calls:,} "
        f"batch{'es' * (computed.calls != 1)}, with {_amount(computed.processor_s)} s of processor time, on "
        f"{escape(estimate.hardware)}: <strong>{_amount(estimate.energy_kwh * 1000)} Wh</strong>, "
        f"<strong>{_amount(estimate.co2e_kg * 1000)} g CO2e</strong>, {_amount(wh_per_batch)} Wh a batch.</p>"
        f'<p class="note">An estimate, not a measurement at the plug. {escape(METHOD)} PUE {estimate.pue:g}. '
        f"{escape(_intensity(estimate))}</p>"
    )


def _intensity(estimate: Emissions) -> str:
    return f"Electricity: {estimate.region}, {estimate.intensity_g_per_kwh:g} g CO2e per kWh ({estimate.intensity_source})."


def _amount(value: float) -> str:
    """Write four significant digits, with commas between thousands."""
    if value == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 12)}f}"


LOAD_OWN = f"""{LOAD_PHI}
python app.py --adapter FOLDER_OR_HUB_ID"""
WRITE_CARD = "python -m phi2demo card --adapter FOLDER --report REPORT.json --output FOLDER"


def essentials_html(essentials: Essentials, notes: Sequence[str] = ()) -> str:
    """Write the essentials in sections."""
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<h2 class="model-name">{escape(essentials.name)}</h2><p>{escape(essentials.what)}</p>'
        + (f'<ul class="notes">{noted}</ul>' if noted else "")
        + '<div class="essentials">'
        + _section("What it is", _definitions(essentials.shape))
        + _section("Carbon", _definitions(essentials.carbon))
        + _section("Results", _figures(essentials.figures), wide=True)
        + _section("Trained on", _sources(essentials.sources), wide=True)
        + _section("Cite it", _citation(essentials), wide=True)
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


def _figures(figures: Sequence[CardScore]) -> str:
    """Write a row for each data set, with its first metric."""
    if not figures:
        return "<p>Not measured: the front matter of its card has no results.</p>"
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


def _score(figure: CardScore) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:g}"
    return f"{figure.value:g} ({figure.low:g} to {figure.high:g})"


def _sources(sources: Sequence[Source]) -> str:
    if not sources:
        return "<p>Not recorded: the model's folder holds no training record, and its card names no data.</p>"
    rows = [[source.title, source.licence, source.attribution, source.note] for source in sources]
    return _table("Training data", ["Texts", "Licence", "Source", "Description"], rows, words=4)


def _table(label: str, names: Sequence[str], rows: Iterable[Sequence[str]], *, words: int) -> str:
    lines = "".join(f"<tr>{markup.cells(names, map(escape, row), words=words)}</tr>" for row in rows)
    return (
        f'<div class="scroll stacks" role="region" aria-label="{escape(label)}" tabindex="0"><table>'
        f"{markup.head(names, words=words)}<tbody>{lines}</tbody></table></div>"
    )


def _citation(essentials: Essentials) -> str:
    source = (
        "As its card says."
        if essentials.cited_by_card
        else "Derived from the model's name, as its card gives no citation."
    )
    return (
        f"<p>{source}</p><h4>BibTeX</h4>{code(essentials.bibtex)}"
        f'<h4>APA</h4><div class="code">{COPY}<div class="cited">{render(essentials.apa).html}</div></div>'
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


ID = "model"
"""Of the tab."""
MADE = "This model's folder has no card of its own: this one was made from its files. What was not measured says so."
_SAVE = "(text) => window.phi2demoDownload('README.md', text)"

Updates = dict[Any, Any]


@dataclass(frozen=True)
class ModelTab:
    """The components of the tab."""

    variant: Any
    """The choice of a model; hidden where there is only the base."""
    essentials: Any
    emissions: EmissionsPanel
    card: Any
    save: Any
    markdown: Any
    """The card as hidden Markdown, for the download."""


def build_model_tab(opened: Any, model_cards: ModelCards, loader: EngineLoader, meter: Meter) -> ModelTab:
    """Lay out the tab and connect it; `opened` is gradio's tab around it. Cards are read when it is first opened."""
    with gr.Column(elem_classes="model"):
        variant = gr.Radio(
            [(label_of(offered), offered) for offered in model_cards.variants],
            value=model_cards.variants[0],
            label="Model",
            elem_classes="choice",
            visible=len(model_cards.variants) > 1,
        )
        essentials = gr.HTML("", apply_default_css=False, elem_classes="essentials-block")
        with gr.Column(elem_classes="emissions"):
            emissions = build_emissions_panel()
        with gr.Row(elem_classes="card-head"):
            gr.HTML('<h2 class="model-name">The whole card</h2>', apply_default_css=False)
            save = gr.Button("Download README.md", size="sm", min_width=0, scale=0)
        card = gr.HTML("", apply_default_css=False, elem_classes="card-text")
        markdown = gr.Textbox(visible="hidden", label="Card as Markdown", elem_id="card-markdown")
    tab = ModelTab(variant, essentials, emissions, card, save, markdown)
    using = EmissionsHandlers(loader, meter)
    handlers = ModelHandlers(tab, model_cards, using)
    shown = [essentials, card, markdown, emissions.used]
    for event in (opened.select, variant.change):
        event(handlers.show, [variant, emissions.electricity], shown, **_PRIVATE)
    connect_emissions(emissions, using)
    save.click(None, markdown, js=_SAVE, api_visibility="private")
    return tab


class ModelHandlers:
    """The handlers of the tab."""

    def __init__(self, tab: ModelTab, model_cards: ModelCards, using: EmissionsHandlers) -> None:
        self._tab, self._model_cards, self._using = tab, model_cards, using

    def show(self, variant: str, region: str) -> Updates:
        """Show the essentials, the card and the energy used; an error takes the place of the essentials."""
        tab = self._tab
        used = {tab.emissions.used: self._using.used(region)}
        try:
            card = self._model_cards.card(variant)
            essentials = essentials_of(card)
        except Phi2DemoError as error:
            return used | {tab.essentials: markup.status(str(error), "error"), tab.card: "", tab.markdown: ""}
        return used | {
            tab.essentials: essentials_html(essentials, card.notes),
            tab.card: card_html(card),
            tab.markdown: card.text,
        }


def card_html(card: ShownCard) -> str:
    """Write a card as safe HTML, with a list of its sections."""

    def find(name: str) -> tuple[str, bytes] | None:
        picture = card.picture(name)
        return (picture.media_type, picture.data) if picture else None

    hub_id = card.facts.model.hub_id
    rendered = render(card.body, find_picture=find, home=f"{HUB}{hub_id}/blob/main" if hub_id else "")
    links = "".join(
        f'<li><a href="#{escape(to, quote=True)}">{escape(title)}</a></li>' for to, title in rendered.sections
    )
    nav = f'<nav class="card-sections" aria-label="Sections of the card"><ul>{links}</ul></nav>' if links else ""
    made = markup.note(MADE) if card.is_generated else ""
    return f'{made}{nav}<article class="model-card">{rendered.html}</article>'
