""""""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from phi2demo.engine.loading import EngineLoader
from phi2demo.explain.shapley import warm_up
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui.explain_handlers import _filled
from phi2demo.ui.explain_tab import ID
from phi2demo.ui.handlers import TabHandlers
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.task_tab import TaskTab
from tests.ui.explaining import PAGE, ExplainPage
from tests.ui.scripted import ScriptedEngine
from tests.ui.test_handlers import states, values_of

TEXT = "The train leaves at eight, not before."
OUTPUT = "The train leaves."
EVIL = "<script>window.hacked=1</script> <img src=x onerror=\"hacked=1\"> 'q' 👩‍🚀 e\u0301 Straße garçon {{x}} ${y}"


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    """shap is imported and compiled once, before anything is timed."""
    warm_up()


@pytest.fixture
def page(loader: EngineLoader, sessions: Sessions) -> ExplainPage:
    return ExplainPage(loader, sessions)


def test_words_that_the_output_repeats_are_found(page: ExplainPage, sessions: Sessions) -> None:
    page.fill(TEXT, OUTPUT, units="words")
    page.explain()
    result = page.state[page.tab.attribution]
    assert {result.units[index].text.strip() for index in result.ranked[:2]} == {"train", "leaves"}
    assert "status done" in page.html("run.status")
    assert "Which words made the finetuned model write “The train leaves.”?" in page.html("view")
    assert 'data-first="1"' in page.html("picker")
    assert "train" in page.html("bars")
    assert "<table>" in page.html("table")
    assert "SHAP and LIME" in page.html("trust")
    assert "hidden words dropped" in page.html("settings")
    assert "model calls" in page.html("run.estimate_line")
    assert len(sessions) == 0


def test_a_filled_output_is_told_after_all_else_that_is_asked(page: ExplainPage) -> None:
    """On a tab that was never open, gradio asks for its tokens with the values that stand there at that moment."""
    ask = page.tab.ask
    outputs = _filled(page.tab)
    last = outputs.index(ask.output)
    assert all(outputs.index(other) < last for other in ask.all() - {ask.output})


def test_partial_values_come_on_the_way(page: ExplainPage, engine: ScriptedEngine) -> None:
    engine.delay_s = 0.1
    page.fill(" ".join(f"word{index}" for index in range(40)), "word3 word7", units="words")
    seen = [step[page.tab.view] for step in page.handlers.run(page.state, PAGE) if page.tab.view in step]
    assert any("So far" in html for html in seen)
    assert "word3" in seen[-1]


def test_the_base_is_asked_as_chosen(page: ExplainPage) -> None:
    for model, shown in (("finetuned", False), ("base", True), ("difference", True), ("second", False)):
        assert page.filling.switch(model)[page.tab.ask.base_prompt_style].visible is shown
    page.fill(TEXT, OUTPUT, units="words", model="base", base_prompt_style="plain")
    page.explain()
    assert page.state[page.tab.attribution].request.base_prompt_style == "plain"
    assert "the base asked as plain text" in page.html("settings")


def test_a_token_is_shown_without_asking_the_model_again(page: ExplainPage, engine: ScriptedEngine) -> None:
    page.fill(TEXT, OUTPUT, units="words")
    page.explain()
    asked = engine.scored
    whole = page.html("view")
    page.pick(1, 2, " train")
    assert "write “train”?" in page.html("view")
    assert "the values for “train”" in page.html("hint")
    assert page.html("bars").index("train") < page.html("bars").index("leaves")
    assert page.state[page.tab.ask.target] == (1, 2)
    page.pick()
    assert page.html("view") == whole
    assert page.state[page.tab.ask.target] is None
    assert engine.scored == asked


def test_a_picked_span_is_what_is_explained_next(page: ExplainPage) -> None:
    page.fill(TEXT, OUTPUT, units="words")
    page.pick(1, 3, " train leaves.")
    assert "covers “train leaves.” alone" in page.html("hint")
    page.explain()
    result = page.state[page.tab.attribution]
    assert result.request.target == (1, 3)
    assert result.output == " train leaves."
    page.pick(0, 1, "The")
    assert "write “train leaves.”?" in page.html("view")
    assert "covers “The” alone" in page.html("hint")


def test_tokens_of_another_output_are_not_looked_up_in_the_old_explanation(page: ExplainPage) -> None:
    page.fill(TEXT, OUTPUT, units="words")
    page.explain()
    page.fill(TEXT, "Another output now.")
    page.pick(1, 2, " output")
    assert "write “The train leaves.”?" in page.html("view")
    assert "covers “output” alone" in page.html("hint")


@pytest.mark.parametrize(
    "data", [None, 3, {"first": "1", "last": 2}, {"first": 3, "last": 1}, {"first": -1, "last": 1}]
)
def test_what_no_click_sends_picks_nothing(page: ExplainPage, data: Any) -> None:
    from types import SimpleNamespace

    event: Any = SimpleNamespace(_data=data)
    assert page.filling.select(page.state, event)[page.tab.ask.target] is None


def test_the_difference_and_a_contrast_say_what_they_ask(page: ExplainPage) -> None:
    page.fill(TEXT, OUTPUT, units="words", model="difference")
    page.explain()
    assert "What did finetuning change" in page.html("view")
    assert "counts more since finetuning" in page.html("view")
    page.fill("a good film", "positive", task="sentiment", model="finetuned", instead="negative")
    page.explain()
    assert "rather than “negative”?" in page.html("view")
    assert "speaks for “negative”" in page.html("view")


def test_stop_ends_it_within_a_second_and_keeps_the_part(page: ExplainPage, engine: ScriptedEngine) -> None:
    engine.delay_s = 0.1
    page.fill(" ".join(f"word{index}" for index in range(60)), "word3 word7", units="words", max_evals=2000)
    page.tab.run.begin(PAGE)
    steps = page.handlers.run(page.state, PAGE)
    while "So far" not in page.html("view"):
        page.follow([next(steps)])
    stopped = time.monotonic()
    page.tab.run.stop(PAGE)
    page.follow(steps)
    assert time.monotonic() - stopped < 1.0
    assert "Stopped: partial result" in page.html("view")
    assert "status stopped" in page.html("run.status")
    scored = engine.scored
    time.sleep(0.5)
    assert engine.scored == scored


def test_what_takes_longer_than_it_may_says_so_and_keeps_the_part(
    loader: EngineLoader, engine: ScriptedEngine, sessions: Sessions
) -> None:
    engine.delay_s = 0.2
    page = ExplainPage(loader, sessions, longest_s=4.0)
    page.fill(" ".join(f"word{index}" for index in range(60)), "word3 word7", units="words", max_evals=2000)
    page.explain()
    assert "longer than the 4 seconds that it may take here" in page.html("run.status")
    assert "status error" in page.html("run.status")
    assert "Stopped: partial result" in page.html("view")
    page.handlers._longest_s = 0.2
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert "Allow fewer masked texts" in page.html("run.estimate_line")


def test_run_can_be_pressed_again_after_an_answer_was_carried_here_meanwhile(
    page: ExplainPage, engine: ScriptedEngine, tab_of: Callable[[str], tuple[TaskTab, TabHandlers]]
) -> None:
    answer = answered(tab_of("sentiment"), "a great film")
    engine.delay_s = 0.1
    page.fill(" ".join(f"word{index}" for index in range(60)), "word3 word7", units="words", max_evals=2000)
    page.state |= page.tab.run.begin(PAGE)
    steps = page.handlers.run(page.state, PAGE)
    while "So far" not in page.html("view"):
        page.follow([next(steps)])
    page.state |= page.filling.carry(answer, PAGE)
    page.follow(steps)
    assert page.state[page.tab.run.button].interactive
    assert "Stopped" not in page.html("run.status")


def test_a_closed_page_ends_the_computing(page: ExplainPage, engine: ScriptedEngine, sessions: Sessions) -> None:
    engine.delay_s = 0.1
    page.fill(" ".join(f"word{index}" for index in range(60)), "word3", units="words", max_evals=2000)
    steps = page.handlers.run(page.state, PAGE)
    while engine.scored < 50:
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    scored = engine.scored
    time.sleep(0.5)
    assert engine.scored <= scored + 16
    assert len(sessions) == 0


@pytest.mark.parametrize(
    ("text", "output", "settings", "says"),
    [
        (TEXT, "  ", {}, "The output is empty"),
        ("", OUTPUT, {}, "The text is empty"),
        ("a\x00b", OUTPUT, {}, "NUL bytes"),
        ("word " * 1030, OUTPUT, {}, "Shorten it"),
        (TEXT, OUTPUT, {"instead": OUTPUT}, "is what the output says"),
        (TEXT, OUTPUT, {"max_evals": 3}, "a whole number from 16 to 20,000"),
        (TEXT, OUTPUT, {"max_evals": None}, "a whole number from 16 to 20,000"),
        (TEXT, OUTPUT, {"seed": 0.5}, "The seed"),
        (TEXT * 3, OUTPUT, {"method": "exact", "units": "words"}, "Exact Shapley values need"),
        (TEXT, OUTPUT, {"target": (7, 9)}, "the output has 3 tokens"),
    ],
)
def test_what_cannot_be_explained_says_why_and_leaves_what_was_typed(
    page: ExplainPage, sessions: Sessions, text: str, output: str, settings: dict[str, Any], says: str
) -> None:
    page.fill(text, output, **settings)
    before = {component: page.state[component] for component in page.tab.ask.all()}
    page.explain()
    assert says in page.html("run.status")
    assert "status error" in page.html("run.status")
    assert {component: page.state[component] for component in before} == before
    assert len(sessions) == 0


def test_too_many_units_are_said_by_the_estimate_and_the_run(
    page: ExplainPage, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phi2demo.explain.scoring_plan.MAX_UNITS", 6)
    page.fill(TEXT, OUTPUT, units="words")
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert "The text has 7 words; at most 6 can be told apart" in page.html("run.estimate_line")
    page.explain()
    assert "The text has 7 words; at most 6 can be told apart" in page.html("run.status")
    assert "status error" in page.html("run.status")
    assert len(sessions) == 0


def test_one_word_says_that_there_is_nothing_to_share(page: ExplainPage) -> None:
    page.fill("train", OUTPUT)
    page.explain()
    assert "there is nothing to share" in page.html("trust")


def test_an_unexpected_error_is_logged_and_said_in_short(
    page: ExplainPage, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.score = None  # type: ignore[assignment, method-assign]
    page.fill(TEXT, OUTPUT)
    page.explain()
    assert "Something went wrong" in page.html("run.status")
    assert "a run of the tab explain failed" in caplog.text


def test_an_estimate_comes_before_it_runs(page: ExplainPage, engine: ScriptedEngine, sessions: Sessions) -> None:
    page.fill(TEXT, OUTPUT, units="words")
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert "model calls, under a second on this machine, for 7 words" in page.html("run.estimate_line")
    page.fill(TEXT, "")
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert page.html("run.estimate_line") == ""
    page.fill(TEXT * 3, OUTPUT, method="exact")
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert "Exact Shapley values need" in page.html("run.estimate_line")
    sessions.begin("page", ID)
    assert [*page.handlers.estimate(page.state, PAGE)] == []


def test_explain_does_not_wait_for_an_estimate(page: ExplainPage, engine: ScriptedEngine, sessions: Sessions) -> None:
    engine.delay_s = 10.0
    page.fill(TEXT, OUTPUT)
    steps = page.handlers.estimate(page.state, PAGE)
    next(steps)
    threading.Timer(0.3, page.tab.run.begin, (PAGE,)).start()
    started = time.monotonic()
    page.follow(steps)
    assert time.monotonic() - started < 6.0, "a second on a quiet machine"
    assert page.html("run.estimate_line") == ""
    assert not sessions.present("page", f"{ID} estimate")


def answered(built: tuple[TaskTab, TabHandlers], text: str, variant: str = "finetuned", **fields: Any) -> Any:
    """The state that "Why these words?" hands over."""
    tab, handlers = built
    shown, _ = states(tab, handlers.run(values_of(tab, text, variant=variant, **fields), PAGE))
    column = tab.columns["base" if variant == "base" else "finetuned"]
    return shown[column.answered]


def test_an_answer_is_carried_with_its_tokens(
    page: ExplainPage, tab_of: Callable[[str], tuple[TaskTab, TabHandlers]], engine: ScriptedEngine
) -> None:
    answer = answered(tab_of("translation"), "Where is it? I do not know.", "base", source="en", target="fr")
    page.state |= page.filling.carry(answer, PAGE)
    ask = page.tab.ask
    assert page.state[page.tab.tabs].selected == ID
    assert page.state[ask.model] == "base"
    assert page.state[ask.fields["translation"]["target"]] == "fr"
    assert page.state[ask.text] == "Where is it? I do not know."
    request = ask.read(page.state)
    assert request.outputs == tuple(engine.tokens(raw).ids for raw in answer.result.raw)
    assert request.of == "base"
    page.state[ask.output] += " More."
    assert len(ask.read(page.state).outputs) == 1


def test_an_answer_is_explained_at_the_strength_that_gave_it(
    page: ExplainPage, tab_of: Callable[[str], tuple[TaskTab, TabHandlers]]
) -> None:
    page.state |= page.filling.carry(answered(tab_of("sentiment"), "a great film", adapter_strength=0.5), PAGE)
    assert page.tab.ask.read(page.state).adapter_strength == 0.5
    page.explain()
    assert "the adapter at 0.5 of its strength" in page.html("settings")
    page.fill("Once", "upon a time")
    assert page.tab.ask.read(page.state).adapter_strength == 1, "as the task is asked"


def test_an_answer_is_explained_as_its_text_was_read(
    page: ExplainPage, tab_of: Callable[..., tuple[TaskTab, TabHandlers]]
) -> None:
    declared = AdapterTasks(decoding={"sentiment": replace(TASKS["sentiment"].generation, sentence_case=True)})
    page.state |= page.filling.carry(answered(tab_of("sentiment", declared), "A GREAT FILM"), PAGE)
    assert page.tab.ask.read(page.state).text_read == "A great film"
    page.explain()
    assert "the text read in sentence case" in page.html("settings")


def test_a_label_is_carried_with_the_other_one_to_compare(
    page: ExplainPage, tab_of: Callable[[str], tuple[TaskTab, TabHandlers]]
) -> None:
    page.state |= page.filling.carry(answered(tab_of("sentiment"), "a great film"), PAGE)
    assert page.state[page.tab.ask.instead] == "negative"
    page.explain()
    assert "rather than “negative”?" in page.html("view")


def test_an_answer_that_is_gone_says_so(page: ExplainPage) -> None:
    page.state |= page.filling.carry(None, PAGE)
    assert "no longer kept" in page.html("run.status")


def test_every_example_can_be_explained(page: ExplainPage) -> None:
    assert len(page.tab.samples) >= 3
    for index in range(len(page.tab.samples)):
        page.state |= page.filling.try_example(index)
        page.explain()
        assert "status done" in page.html("run.status")


def test_typing_an_output_shows_its_tokens(page: ExplainPage) -> None:
    page.fill("", "Two words")
    page.state |= page.filling.typed(page.state)
    assert page.html("picker").count('role="button"') == 2
    page.fill("", "a\x00b")
    page.state |= page.filling.typed(page.state)
    assert 'role="button"' not in page.html("picker")


def test_downloads_hold_the_explanation(page: ExplainPage) -> None:
    import gradio as gr

    page.fill(EVIL, EVIL, units="words")
    page.explain()
    result = page.state[page.tab.attribution]
    assert json.loads(page.filling.download_of("json")(result))["text"] == EVIL
    assert page.filling.download_of("csv")(result).startswith("rank,unit")
    standalone = page.filling.download_of("html")(result)
    assert standalone.startswith("<!doctype html>")
    assert "<script" not in standalone
    with pytest.raises(gr.Error, match="no longer kept"):
        page.filling.download_of("json")(None)


def test_nothing_of_a_text_becomes_markup(page: ExplainPage) -> None:
    page.fill(EVIL, EVIL, units="words", instead="<b>x</b>")
    page.explain()
    page.pick(0, 2, EVIL)
    for name in ("picker", "hint", "view", "bars", "table", "trust", "settings"):
        html = page.html(name)
        assert "<script" not in html
        assert "<img" not in html
        assert "<b>" not in html
    assert "Straße" in page.html("view")
    assert "e\u0301" in page.html("view")
    assert "👩‍🚀" in page.html("view")
