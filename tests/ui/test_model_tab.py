"""The tab's handlers, over scripted cards and a scripted engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phi2demo.emissions.meter import Meter
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import ModelError
from phi2demo.ui.model_tab import EmissionsHandlers, ModelHandlers, ModelTab, build_model_tab
from tests.ui.cards import scripted_model_cards
from tests.ui.scripted import ScriptedEngine


@dataclass(frozen=True)
class Page:
    tab: ModelTab
    shown: ModelHandlers
    emissions: EmissionsHandlers
    meter: Meter


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    loader = EngineLoader(ScriptedEngine).start()
    loader.engine(timeout_s=5)
    return build(loader, tmp_path_factory.mktemp("cards"))


def build(loader: EngineLoader, folder: Path) -> Page:
    import gradio as gr

    meter, model_cards = Meter(), scripted_model_cards(folder=folder)
    with gr.Blocks(), gr.Tabs(), gr.Tab("Model") as opened:
        tab = build_model_tab(opened, model_cards, loader, meter)
    emissions = EmissionsHandlers(loader, meter)
    return Page(tab, ModelHandlers(tab, model_cards, emissions), emissions, meter)


def test_the_card_of_the_folder_with_its_picture_and_without_its_front_matter(page: Page) -> None:
    shown = page.shown.show("finetuned", "world average")
    card, essentials = shown[page.tab.card], shown[page.tab.essentials]
    assert "model-index" not in card
    assert "data:image/svg+xml;base64," in card
    assert "<script" not in card
    assert '<li><a href="#card-citation">Citation</a></li>' in card
    assert "26.4 (25.4 to 27.4)" in essentials
    assert "@misc{adapter, title = {A &lt;b&gt;title&lt;/b&gt;}}" in essentials
    assert "Example, A. (2026). <em>A title</em>." in essentials
    assert shown[page.tab.markdown].startswith("---\nlicense: mit")


def test_a_model_without_a_card_gets_one(page: Page) -> None:
    shown = page.shown.show("base", "world average")
    assert "This model&#x27;s folder has no card of its own: this one was made from its files" in shown[page.tab.card]
    assert "Not measured" in shown[page.tab.card]
    assert "Made from the model&#x27;s name" not in shown[page.tab.card]
    assert "CC BY 2.0 FR" in shown[page.tab.essentials]


def test_a_model_that_is_not_there_is_said(page: Page) -> None:
    assert "choose one of finetuned, base" in page.shown.show("other", "France")[page.tab.essentials]


def test_what_the_app_has_used(page: Page) -> None:
    assert "computed nothing yet" in page.emissions.used("France")
    with page.meter.computing():
        sum(range(200_000))
    used = page.emissions.used("France")
    assert "in 1 batch," in used
    assert "France, 56 g CO2e per kWh" in used
    assert "Green Algorithms" in used
    assert "Atlantis: give one of" in page.emissions.used("Atlantis")


def test_before_the_weights_are_there_it_says_so(tmp_path: Path) -> None:
    def fail() -> Any:
        raise ModelError("The file is damaged. Copy it again.")

    loader = EngineLoader(fail).start()
    with pytest.raises(ModelError):
        loader.engine(timeout_s=5)
    page = build(loader, tmp_path)
    shown = page.shown.show("finetuned", "world average")
    assert "The file is damaged" in shown[page.tab.emissions.used]
    assert "26.4" in shown[page.tab.essentials]
