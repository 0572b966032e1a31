"""The Model tab: the essentials of what is loaded, energy and CO2e, and the whole card."""

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from phi2demo.cards.citation import HUB
from phi2demo.cards.essentials import essentials_of
from phi2demo.cards.shelf import Shelf, ShelfCard
from phi2demo.emissions.meter import Meter
from phi2demo.engine.loader import EngineLoader
from phi2demo.errors import Phi2DemoError
from phi2demo.ui import markup
from phi2demo.ui.emissions_panel import EmissionsHandlers, EmissionsPanel, build_emissions_panel, connect_emissions
from phi2demo.ui.essentials import essentials_html
from phi2demo.ui.markdown_html import render

ID = "model"
"""Of the tab."""
MADE = "This model's folder has no card of its own: this one was made from its files. What was not measured says so."
LABELS = {"finetuned": "Finetuned", "base": "Base", "second": "Second adapter"}
_SAVE = "(text) => window.phi2demoDownload('README.md', text)"
_PRIVATE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

Updates = dict[Any, Any]


@dataclass(frozen=True)
class ModelTab:
    """Its components."""

    use: Any
    """Whose card; one choice only for a bare base."""
    essentials: Any
    emissions: EmissionsPanel
    card: Any
    save: Any
    markdown: Any
    """The card as it is, out of sight: what is downloaded."""


def build_model_tab(opened: Any, shelf: Shelf, loader: EngineLoader, meter: Meter) -> ModelTab:
    """Lay out the tab and connect it; `opened` is gradio's tab around it. Cards are read when it is first opened."""
    with gr.Column(elem_classes="model"):
        use = gr.Radio(
            [(LABELS[each], each) for each in shelf.uses],
            value=shelf.uses[0],
            label="Model",
            elem_classes="choice",
            visible=len(shelf.uses) > 1,
        )
        essentials = gr.HTML("", apply_default_css=False, elem_classes="essentials-block")
        with gr.Column(elem_classes="emissions"):
            emissions = build_emissions_panel()
        with gr.Row(elem_classes="card-head"):
            gr.HTML('<h2 class="model-name">The whole card</h2>', apply_default_css=False)
            save = gr.Button("Download README.md", size="sm", min_width=0, scale=0)
        card = gr.HTML("", apply_default_css=False, elem_classes="card-text")
        markdown = gr.Textbox(visible="hidden", label="Card as Markdown", elem_id="card-markdown")
    tab = ModelTab(use, essentials, emissions, card, save, markdown)
    using = EmissionsHandlers(loader, meter)
    handlers = ModelHandlers(tab, shelf, using)
    shown = [essentials, card, markdown, emissions.used]
    for event in (opened.select, use.change):
        event(handlers.show, [use, emissions.electricity], shown, **_PRIVATE)
    connect_emissions(emissions, using)
    save.click(None, markdown, js=_SAVE, api_visibility="private")
    return tab


class ModelHandlers:
    """From the choice of a model to what is shown of it."""

    def __init__(self, tab: ModelTab, shelf: Shelf, using: EmissionsHandlers) -> None:
        self._tab, self._shelf, self._using = tab, shelf, using

    def show(self, use: str, region: str) -> Updates:
        """The essentials, the card and what the app has used; an error in the place of the essentials."""
        tab = self._tab
        used = {tab.emissions.used: self._using.used(region)}
        try:
            card = self._shelf.card(use)
            found = essentials_of(card)
        except Phi2DemoError as error:
            return used | {tab.essentials: markup.status(str(error), "error"), tab.card: "", tab.markdown: ""}
        return used | {
            tab.essentials: essentials_html(found, card.notes),
            tab.card: card_html(card),
            tab.markdown: card.text,
        }


def card_html(card: ShelfCard) -> str:
    """A card as HTML in which nothing of it runs, with a list of its sections before it."""

    def find(name: str) -> tuple[str, bytes] | None:
        picture = card.picture(name)
        return (picture.media_type, picture.data) if picture else None

    hub_id = card.facts.model.hub_id
    rendered = render(card.body, find_picture=find, home=f"{HUB}{hub_id}/blob/main" if hub_id else "")
    links = "".join(
        f'<li><a href="#{escape(to, quote=True)}">{escape(title)}</a></li>' for to, title in rendered.sections
    )
    nav = f'<nav class="card-sections" aria-label="Sections of the card"><ul>{links}</ul></nav>' if links else ""
    made = markup.note(MADE) if card.made else ""
    return f'{made}{nav}<article class="model-card">{rendered.html}</article>'
