""""""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from phi2demo.engine.engine import Prompt, visible
from phi2demo.engine.loading import EngineLoader
from phi2demo.tasks.declared import AdapterTasks, read_adapter_tasks
from phi2demo.tasks.template_view import declare_template
from phi2demo.ui.page import build_demo
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.template_chooser import TemplateChooser, TemplateTrials, build_template_chooser, how_to_use
from tests.ui.cards import scripted_model_cards
from tests.ui.conftest import DESCRIPTION
from tests.ui.scripted import ScriptedEngine

PAGE: Any = SimpleNamespace(session_hash="page")
Page = dict[Any, Any]


@pytest.fixture
def chooser(sessions: Sessions) -> TemplateChooser:
    with gr.Blocks():
        return build_template_chooser(DESCRIPTION, sessions)


def alpaca_model(prompt: Prompt) -> str:
    """An adapter that answers in its own template alone."""
    return "The sea is <wide>." if visible(prompt.text).endswith("### Response:\n") else ""


def tried(chooser: TemplateChooser, loader: EngineLoader, text: str = "Say <it>.") -> Page:
    page: Page = {}
    for step in TemplateTrials(chooser, loader).run({chooser.text: text}, PAGE):
        page |= step
    return page


def test_each_template_shows_its_prompt_and_its_answer(
    chooser: TemplateChooser, loader: EngineLoader, engine: ScriptedEngine
) -> None:
    engine.reply = alpaca_model
    page = tried(chooser, loader)
    shown = {name: page[card.shown] for name, card in chooser.cards.items() if page[card.box].visible}
    assert list(shown) == ["phi", "alpaca", "chatml", "plain"]
    for html in shown.values():
        assert '<span class="text">Say &lt;it&gt;.</span>' in html
    assert '<p class="said">The sea is &lt;wide&gt;.</p>' in shown["alpaca"]
    assert "No answer: the model ended at once." in shown["phi"]
    assert "in force now" in shown["phi"]
    assert "in force now" not in shown["alpaca"]
    assert "The tokenizer has no token &lt;|im_start|&gt;" in shown["chatml"]
    assert "which one looks as it was trained?" in page[chooser.run.status]


def test_an_empty_text_and_a_stop_end_the_trial(chooser: TemplateChooser, loader: EngineLoader) -> None:
    assert "status error" in tried(chooser, loader, " ")[chooser.run.status]
    page: Page = {}
    for step in TemplateTrials(chooser, loader).run({chooser.text: "one two"}, PAGE):
        page |= step
        chooser.run.stop(PAGE)
    assert "Stopped" in page[chooser.run.status]
    assert ">…<" in page[chooser.cards["plain"].shown]


def test_the_choice_says_where_its_file_belongs(tmp_path: Path) -> None:
    html = how_to_use("alpaca", DESCRIPTION)
    assert "beside <code>adapter_config.json</code> of scripted-adapter" in html
    assert "--template alpaca" in html
    (tmp_path / "tasks.json").write_text(declare_template("", "alpaca"), encoding="utf-8")
    assert read_adapter_tasks(tmp_path).template == "alpaca"


@pytest.mark.parametrize(
    ("adapter_tasks", "given", "offered"),
    [
        (AdapterTasks(), None, True),
        (AdapterTasks(), "phi", False),
        (AdapterTasks(template="alpaca"), None, False),
        (AdapterTasks(languages=("en", "de")), None, False),
    ],
)
def test_the_panel_is_offered_where_nothing_says_how_the_adapter_was_trained(
    adapter_tasks: AdapterTasks, given: str | None, offered: bool, loader: EngineLoader, tmp_path: Path
) -> None:
    description = replace(DESCRIPTION, template=given)
    demo = build_demo(loader, description, adapter_tasks, model_cards=scripted_model_cards(folder=tmp_path))
    labels = [getattr(block, "value", None) for block in demo.blocks.values()]
    assert ("Try each template" in labels) is offered
