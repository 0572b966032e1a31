"""The tab's handlers, over scripted cards and a scripted engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phi2demo.emissions.calculator import CORES, OWN, PUBLISHED
from phi2demo.emissions.meter import Meter
from phi2demo.engine.loader import EngineLoader
from phi2demo.errors import ModelError
from phi2demo.ui.emissions_panel import EmissionsHandlers
from phi2demo.ui.model_tab import ModelHandlers, ModelTab, build_model_tab
from tests.ui.cards import scripted_shelf
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

    meter, shelf = Meter(), scripted_shelf(folder=folder)
    with gr.Blocks(), gr.Tabs(), gr.Tab("Model") as opened:
        tab = build_model_tab(opened, shelf, loader, meter)
    emissions = EmissionsHandlers(tab.emissions, loader, meter)
    return Page(tab, ModelHandlers(tab, shelf, emissions), emissions, meter)


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


def values(page: Page, **changes: Any) -> dict[Any, Any]:
    fields = page.tab.emissions.fields
    start = {"hardware": CORES, "watts": "", "count": 1, "hours": 1, "usage": 100, "memory_gb": 0, "pue": 1.67}
    told = start | {"region": "world average", "intensity": ""} | changes
    return {fields[name]: value for name, value in told.items()} | {page.tab.emissions.filled: None}


def test_the_calculator_is_live_and_shows_the_formula(page: Page) -> None:
    found = page.emissions.calculate(values(page, count=8, hours=10, region="France"))[page.tab.emissions.result]
    assert "<strong>1.603 kWh</strong>, <strong>0.08978 kg CO2e</strong>" in found
    assert "10 h × (8 × 12 W × 100 % + 0 GB × 0.3725 W/GB) × 1.67 / 1000 = 1.603 kWh" in found
    assert "France, 56 g CO2e per kWh" in found


def test_a_field_of_its_own_opens_for_own_watts(page: Page) -> None:
    watts = page.tab.emissions.fields["watts"]
    assert page.emissions.calculate(values(page, hardware=OWN, watts="5"))[watts].visible is True
    assert page.emissions.calculate(values(page))[watts].visible is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hours": -1}, "Hours is -1: give a number from 0."),
        ({"hours": None}, "Hours is empty"),
        ({"region": "Atlantis"}, "Atlantis: give one of world average"),
        ({"region": None}, "None: give one of world average"),
        ({"hardware": "<b>abacus</b>"}, "&lt;b&gt;abacus"),
        ({"hardware": OWN}, "Watts of each is empty"),
        (
            {"intensity": "41,5"},
            "Own g CO2e per kWh is &#x27;41,5&#x27;: give a number such as 41.5.",
        ),
        ({"intensity": "-1"}, "Grams per kWh is -1: give a number from 0."),
        ({"hardware": OWN, "watts": "nan"}, "Watts of each is nan: give a number from 0."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_typed_is_touched(page: Page, changes: dict[str, Any], message: str) -> None:
    updates = page.emissions.calculate(values(page, **changes))
    assert message in updates[page.tab.emissions.result]
    assert 'class="status error"' in updates[page.tab.emissions.result]
    assert updates.keys() == {page.tab.emissions.result, page.tab.emissions.fields["watts"]}
    assert updates[page.tab.emissions.fields["watts"]].value is None  # only whether it is seen


@pytest.mark.parametrize(("typed", "says"), [("", "475 g CO2e per kWh"), (None, "475 g"), (" 41.5 ", "41.5 g")])
def test_an_intensity_of_its_own_may_be_left_empty(page: Page, typed: str | None, says: str) -> None:
    assert says in page.emissions.calculate(values(page, intensity=typed))[page.tab.emissions.result]


def test_a_box_for_numbers_starts_with_one(page: Page) -> None:
    """Gradio shows 0 in an empty one."""
    import gradio as gr

    fields = page.tab.emissions.fields.values()
    assert all(field.value is not None for field in fields if isinstance(field, gr.Number))


def test_a_published_figure_fills_the_form_and_comes_out_again(page: Page) -> None:
    for at, example in enumerate(PUBLISHED):
        filled = page.emissions.published_at(at)()
        fields = page.tab.emissions.fields
        assert filled[fields["hours"]] == example.form.hours
        assert float(filled[fields["watts"]].value) == example.form.watts
        assert example.source in filled[page.tab.emissions.result]
    assert "<strong>1,507 kWh</strong>" in page.emissions.published_at(0)()[page.tab.emissions.result]


def test_what_is_said_of_a_filled_form_stays_until_it_is_changed(page: Page) -> None:
    panel = page.tab.emissions
    filled = page.emissions.published_at(0)()
    sent = {field: filled[field] for field in panel.fields.values()} | {panel.filled: filled[panel.filled]}
    sent |= {panel.fields["watts"]: "12041.51", panel.fields["intensity"]: "432.73"}
    assert page.emissions.calculate(sent)[panel.result] == filled[panel.result]
    changed = page.emissions.calculate(sent | {panel.fields["hours"]: 1})[panel.result]
    assert "Published" not in changed


def test_what_the_app_has_used(page: Page) -> None:
    assert "computed nothing yet" in page.emissions.used("France")
    with page.meter.computing():
        sum(range(200_000))
    used = page.emissions.used("France")
    assert "in 1 batch," in used
    assert "France, 56 g CO2e per kWh" in used
    assert "Green Algorithms" in used
    assert "Atlantis: give one of" in page.emissions.used("Atlantis")
    filled = page.emissions.take_over("France")
    fields = page.tab.emissions.fields
    assert (filled[fields["hardware"]], filled[fields["region"]]) == (OWN, "France")
    assert float(filled[fields["watts"]].value) > 0


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
    assert "The file is damaged" in page.emissions.take_over("France")[page.tab.emissions.result]
