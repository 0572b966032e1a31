""""""

from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import ModelError
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.template_view import PromptPart
from phi2demo.ui import markup
from phi2demo.ui.header import count, identity_of, limits_panel
from tests.ui.conftest import DESCRIPTION
from tests.ui.scripted import ScriptedEngine

EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "html",
    [
        markup.status(EVIL, "error"),
        markup.note(EVIL),
        markup.bars({EVIL: 0.5}),
        markup.chips([EVIL]),
    ],
)
def test_what_comes_from_outside_is_escaped(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_prompt_shows_the_persons_text_apart_and_escaped() -> None:
    parts = [PromptPart("token", "<s>"), PromptPart("template", "Say "), PromptPart("text", EVIL)]
    html = markup.prompt(parts, "Alpaca, given at the start", pieces=3)
    assert '<span class="token">&lt;s&gt;</span><span class="template">Say </span>' in html
    assert '<span class="text">&lt;script&gt;alert(1)&lt;/script&gt;</span></pre>' in html
    assert "Prompt template: Alpaca, given at the start. This is the first of 3 prompts." in html


def test_the_header_warns_of_missing_tokens_and_offers_a_choice(loader: EngineLoader, engine: ScriptedEngine) -> None:
    undeclared = identity_of(loader, DESCRIPTION, AdapterTasks())
    assert 'Instruct/Output is used. <a href="#prompt-templates">Try the others</a>' in undeclared
    engine.info = replace(engine.info, template="chatml")
    given = identity_of(loader, DESCRIPTION, AdapterTasks())
    assert "Try the others" not in given
    assert "The tokenizer has no token &lt;|im_start|&gt; or &lt;|im_end|&gt;" in given


def test_the_header_names_the_loaded_model(loader: EngineLoader) -> None:
    html = identity_of(loader, DESCRIPTION, AdapterTasks())
    for part in ("scripted-base, 28.4 M parameters", "scripted-adapter, LoRA rank 16", "CPU, bfloat16"):
        assert part in html
    assert "Loading" not in html


def test_the_header_says_base_only(loader: EngineLoader) -> None:
    engine = ScriptedEngine()
    engine.info = replace(engine.info, adapter=None)
    bare = EngineLoader(lambda: engine).start()
    bare.engine(timeout_s=5)
    assert "base only" in identity_of(bare, replace(DESCRIPTION, adapter=None), AdapterTasks())


def test_the_header_says_why_the_loading_failed() -> None:
    def load() -> ScriptedEngine:
        raise ModelError("<model> is damaged.")

    loader = EngineLoader(load).start()
    with pytest.raises(ModelError):
        loader.engine(timeout_s=5)
    html = identity_of(loader, DESCRIPTION, AdapterTasks())
    assert "&lt;model&gt; is damaged." in html
    assert 'role="alert"' in html


def test_the_limits_say_what_this_model_is() -> None:
    embedded = limits_panel(DESCRIPTION, AdapterTasks(languages=("en", "de")), audit="")
    assert "not Phi-2" in embedded
    assert "English and German" in embedded
    assert "python app.py --model microsoft/phi-2" in embedded
    bare = limits_panel(replace(DESCRIPTION, is_embedded=False, adapter=None), AdapterTasks(), audit="")
    assert "not Phi-2" not in bare


@pytest.mark.parametrize(("parameters", "said"), [(28_400_000, "28.4 M"), (2_779_683_840, "2.78 B"), (950, "950")])
def test_parameters_in_short(parameters: int, said: str) -> None:
    assert count(parameters) == said


def test_style_reaches_for_nothing_outside() -> None:
    for path in (Path("assets/style.css"), Path("assets/page.js")):
        assert "http" not in path.read_text(encoding="utf-8")


def test_numbers_stand_under_their_names_and_tell_them_where_there_is_no_room_for_columns() -> None:
    names = ("Task", "Metric", "n", "<p>")
    assert markup.head(names) == (
        '<thead><tr><th scope="col">Task</th><th scope="col">Metric</th><th scope="col" class="number">n</th>'
        '<th scope="col" class="number">&lt;p&gt;</th></tr></thead>'
    )
    assert markup.cells(names[2:], ("3", "<b>0.1</b>")) == (
        '<td class="number" data-label="n">3</td><td class="number" data-label="&lt;p&gt;"><b>0.1</b></td>'
    )
    assert markup.cells(names[:1], ("a",), words=1) == '<td data-label="Task">a</td>'


def test_a_region_of_figures_is_reached_by_keyboard() -> None:
    html = markup.region("<table></table>", "All <b>")
    assert 'role="region" tabindex="0" aria-label="All &lt;b&gt;"' in html
