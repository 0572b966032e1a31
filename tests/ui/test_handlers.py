""""""

import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from phi2demo.engine.engine import Candidate
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.candidates import Ranked
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.result import Alternative
from phi2demo.tasks.run import check
from phi2demo.ui.handlers import SHOWN, TabHandlers, alternatives
from phi2demo.ui.options import option_inputs
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.task_tab import TaskTab, build_task_tab
from tests.evaluation.test_confidence import measured
from tests.evaluation.test_report import small
from tests.ui.conftest import DESCRIPTION
from tests.ui.scripted import ScriptedEngine

PAGE: Any = SimpleNamespace(session_hash="page")
Built = tuple[TaskTab, TabHandlers]


def values_of(tab: TaskTab, text: str, **fields: Any) -> dict[Any, Any]:
    """What the page would send: every component's value, with these changed."""
    values = {component: component.value for component in tab.ask.all()}
    values[tab.ask.text] = text
    for name, value in fields.items():
        component = (
            tab.ask.variant if name == "variant" else tab.ask.fields.get(name) or tab.ask.options.components[name]
        )
        values[component] = value
    return values


def states(tab: TaskTab, steps: Iterator[dict[Any, Any]]) -> tuple[dict[Any, Any], list[str]]:
    """The page after all steps, and every text that the first column showed."""
    page: dict[Any, Any] = {}
    shown: list[str] = []
    first = next(iter(tab.columns.values()))
    for step in steps:
        page |= step
        if first.text in step:
            shown.append(step[first.text])
    return page, shown


def test_text_streams_and_ends_with_facts_and_a_receipt(tab_of: Callable[[str], Built], engine: ScriptedEngine) -> None:
    engine.delay_s = 0.06
    tab, handlers = tab_of("generation")
    page, shown = states(tab, handlers.run(values_of(tab, "one two three four"), PAGE))
    column = tab.columns["finetuned"]
    assert len(shown) > 3
    assert page[column.text].endswith("one two three four")
    assert "complete" in page[column.facts]
    receipt = json.loads(page[column.receipt])
    assert receipt["text"] == "one two three four"
    assert receipt["output"] == page[column.text]
    assert "status done" in page[tab.run.status]


def test_the_exact_prompt_stands_under_each_answer(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("translation")
    values = values_of(tab, "The <b>train</b> leaves.", variant="both") | {tab.ask.base_prompt_style: "plain"}
    page, _ = states(tab, handlers.run(values, PAGE))
    own = '<span class="text">The &lt;b&gt;train&lt;/b&gt; leaves.</span>'
    finetuned, base = (page[tab.columns[variant].details] for variant in ("finetuned", "base"))
    assert "Prompt template: Instruct/Output, Phi-2&#x27;s own." in finetuned
    assert f'from English to German.\n</span>{own}<span class="template">\nOutput:</span>' in finetuned
    assert "Prompt template: Plain text, as set for the base." in base
    assert f'<span class="token">&lt;|endoftext|&gt;</span><span class="template">English: </span>{own}' in base


def test_a_text_to_be_continued_has_no_template(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("generation")
    page, _ = states(tab, handlers.run(values_of(tab, "Once"), PAGE))
    shown = page[tab.columns["finetuned"].details]
    assert "Prompt template: Plain text, since the text is to be continued." in shown


def test_side_by_side_fills_both_columns(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("translation")
    page, _ = states(tab, handlers.run(values_of(tab, "The train leaves.", variant="both"), PAGE))
    assert page[tab.columns["finetuned"].text].startswith("finetuned")
    assert page[tab.columns["base"].text].startswith("base")


@pytest.mark.parametrize(
    ("prompt_style", "says"), [("plain", "asked as plain text"), ("template", "asked with the template")]
)
def test_the_base_is_asked_as_chosen_and_its_answer_says_how(
    tab_of: Callable[[str], Built], prompt_style: str, says: str
) -> None:
    tab, handlers = tab_of("translation")
    values = values_of(tab, "The train leaves.", variant="both") | {tab.ask.base_prompt_style: prompt_style}
    page, _ = states(tab, handlers.run(values, PAGE))
    assert says in page[tab.columns["base"].facts]
    assert "asked" not in page[tab.columns["finetuned"].facts]
    assert json.loads(page[tab.columns["base"].receipt])["prompt_style"] == prompt_style


def test_how_the_base_is_asked_is_shown_where_it_is_asked(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("translation")
    assert tab.ask.base_prompt_style.visible is False
    shown = {
        variant: handlers.switch(variant)[tab.ask.base_prompt_style].visible
        for variant in ("finetuned", "base", "both")
    }
    assert shown == {"finetuned": False, "base": True, "both": True}


def test_how_the_base_is_asked_is_not_shown_where_it_goes_on_with_a_text_as_it_is(
    tab_of: Callable[..., Built],
) -> None:
    tab, handlers = tab_of("generation", AdapterTasks(modes=("continue",)))
    assert handlers.switch("both")[tab.ask.base_prompt_style].visible is False
    tab, handlers = tab_of("generation")
    assert handlers.switch("both")[tab.ask.base_prompt_style].visible is True


def test_a_label_comes_with_its_probabilities(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("sentiment")
    page, _ = states(tab, handlers.run(values_of(tab, "a great film"), PAGE))
    column = tab.columns["finetuned"]
    assert page[column.text] == "positive"
    assert "90.9%" in page[column.bars]


@pytest.mark.parametrize(
    ("text", "changed", "says"),
    [
        ("", {}, "is empty"),
        ("   ", {}, "is empty"),
        ("a\x00b", {}, "NUL bytes"),
        ("words", {"max_new_tokens": 0}, "“Maximum new tokens” is 0"),
        ("words", {"top_k": 1.5}, "“Top-k” is 1.5"),
        ("word " * 2000, {}, "Shorten it"),
    ],
)
def test_what_cannot_be_answered_says_why_and_leaves_the_text(
    tab_of: Callable[[str], Built], sessions: Sessions, text: str, changed: dict[str, Any], says: str
) -> None:
    tab, handlers = tab_of("generation")
    page, _ = states(tab, handlers.run(values_of(tab, text, **changed), PAGE))
    assert says in page[tab.run.status]
    assert "status error" in page[tab.run.status]
    assert tab.ask.text not in page
    assert len(sessions) == 0


@pytest.mark.parametrize(
    ("name", "typed", "says"),
    [
        ("temperature", 5, "“Temperature” is 5; give a value from 0.0 to 2.0"),
        ("top_p", 0, "“Top-p” is 0; give a value from 0.01 to 1.0"),
        ("temperature", None, "status done"),
    ],
)
def test_a_number_typed_beside_a_slider_is_refused_by_name_or_is_the_default(
    tab_of: Callable[[str], Built], name: str, typed: float | None, says: str
) -> None:
    tab, handlers = tab_of("generation")
    sent = tab.ask.options.components[name].preprocess(typed)
    page, _ = states(tab, handlers.run(values_of(tab, "words", **{name: sent}), PAGE))
    assert says in page[tab.run.status]


@pytest.mark.parametrize(
    ("typed", "ok"), [("", True), (" 42 ", True), ("-1", False), ("4294967296", False), ("x", False)]
)
def test_a_seed_is_a_whole_number_or_nothing(tab_of: Callable[[str], Built], typed: str, ok: bool) -> None:
    tab, handlers = tab_of("generation")
    values = values_of(tab, "words") | {tab.ask.options.seed: typed}
    page, _ = states(tab, handlers.run(values, PAGE))
    assert ("status done" in page[tab.run.status]) is ok
    assert ok or "seed is" in page[tab.run.status]


def test_an_unexpected_error_is_logged_and_said_in_short(
    tab_of: Callable[[str], Built], caplog: pytest.LogCaptureFixture
) -> None:
    tab, handlers = tab_of("generation")
    page, _ = states(tab, handlers.run(values_of(tab, "explode"), PAGE))
    assert "Something went wrong" in page[tab.run.status]
    assert "scripted failure" not in page[tab.run.status]
    assert "scripted failure" in caplog.text
    page, _ = states(tab, handlers.run(values_of(tab, "fine"), PAGE))
    assert "status done" in page[tab.run.status]


def test_stop_keeps_what_there_is(tab_of: Callable[[str], Built], engine: ScriptedEngine) -> None:
    engine.delay_s = 0.05
    tab, handlers = tab_of("generation")
    tab.run.begin(PAGE)
    threading.Timer(0.3, tab.run.stop, (PAGE,)).start()
    started = time.monotonic()
    page, _ = states(tab, handlers.run(values_of(tab, "word " * 100), PAGE))
    assert time.monotonic() - started < 1.5
    column = tab.columns["finetuned"]
    assert 0 < len(page[column.text].split()) < 40
    assert "Stopped before it was complete." in page[column.facts]
    assert json.loads(page[column.receipt])["stop_reason"] == "stopped"


@pytest.mark.parametrize("text", ["words", "", "explode"])
def test_run_can_be_pressed_while_nothing_runs_and_stop_while_something_does(
    tab_of: Callable[[str], Built], text: str
) -> None:
    tab, handlers = tab_of("generation")
    begun = tab.run.begin(PAGE)
    assert (begun[tab.run.button].interactive, begun[tab.run.stop_button].interactive) == (False, True)
    with pytest.raises(gr.Error, match="running already"):
        tab.run.begin(PAGE)
    page, _ = states(tab, handlers.run(values_of(tab, text), PAGE))
    assert (page[tab.run.button].interactive, page[tab.run.stop_button].interactive) == (True, False)
    tab.run.begin(PAGE)
    refused = tab.run.refused(PAGE)
    assert (refused[tab.run.button].interactive, refused[tab.run.stop_button].interactive) == (True, False)


def test_stop_before_its_turn_asks_no_model(tab_of: Callable[[str], Built], engine: ScriptedEngine) -> None:
    tab, handlers = tab_of("generation")
    tab.run.begin(PAGE)
    stopped = tab.run.stop(PAGE)
    assert "Stopped before it began" in stopped[tab.run.status]
    assert stopped[tab.run.cancel_trigger] > 0, "it leaves the queue"
    assert tab.run.button not in stopped, "which takes a moment"
    page, _ = states(tab, handlers.run(values_of(tab, "words"), PAGE))
    assert "Stopped before it began" in page[tab.run.status]
    assert engine.most_running == 0


def test_what_left_the_queue_is_not_told_that_it_is_full(tab_of: Callable[[str], Built], sessions: Sessions) -> None:
    tab, _ = tab_of("generation")
    tab.run.begin(PAGE)
    tab.run.stop(PAGE)
    left = tab.run.refused(PAGE)
    assert "Stopped before it began" in left[tab.run.status]
    assert left[tab.run.button].interactive
    assert len(sessions) == 0
    tab.run.begin(PAGE)
    assert "too many are waiting" in tab.run.refused(PAGE)[tab.run.status]
    assert tab.run.stop(PAGE)[tab.run.button].interactive, "nothing is left to stop"


def test_a_closed_page_ends_the_computing(
    tab_of: Callable[[str], Built], engine: ScriptedEngine, sessions: Sessions
) -> None:
    engine.delay_s = 0.02
    tab, handlers = tab_of("generation")
    steps = handlers.run(values_of(tab, "word " * 50), PAGE)
    while engine.running == 0:
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert engine.ended == ["closed"]
    assert len(sessions) == 0


def test_it_waits_for_the_weights(tab_of: Callable[[str], Built], sessions: Sessions) -> None:
    tab, _ = tab_of("generation")
    gate = threading.Event()

    def load() -> ScriptedEngine:
        gate.wait(5)
        return ScriptedEngine()

    handlers = TabHandlers(tab, EngineLoader(load).start())
    steps = handlers.run(values_of(tab, "words"), PAGE)
    assert "still loading" in next(steps)[tab.run.status]
    gate.set()
    page, _ = states(tab, steps)
    assert "status done" in page[tab.run.status]


def test_replay_says_whether_the_text_is_the_same(tab_of: Callable[[str], Built], engine: ScriptedEngine) -> None:
    tab, handlers = tab_of("generation")
    column = tab.columns["finetuned"]
    page, _ = states(tab, handlers.run(values_of(tab, "one two"), PAGE))
    replay = handlers.replay_of(column)
    assert "The same text again" in [*replay(page[column.receipt], PAGE)][-1][column.replayed]
    engine.reply = lambda prompt: "<b>other</b>"
    said = [*replay(page[column.receipt], PAGE)][-1][column.replayed]
    assert "Another text" in said
    assert "&lt;b&gt;" in said
    old = json.dumps(json.loads(page[column.receipt]) | {"adapter_revision": engine.info.adapter_revision})
    engine.info = dataclasses.replace(engine.info, adapter_revision=f"{engine.info.adapter_revision}-11111111")
    assert "does not record the settings of its adapter" in [*replay(old, PAGE)][-1][column.replayed]
    assert "not a receipt" in [*replay("[]", PAGE)][-1][column.replayed]


def test_a_file_fills_the_input_of_every_visitor_who_opens_it(tab_of: Callable[[str], Built], tmp_path: Path) -> None:
    tab, handlers = tab_of("translation")
    path = tmp_path / "a.txt"
    path.write_text("Guten Tag.", encoding="utf-8")
    for _ in range(2):  # gradio keeps the same file of two visitors once
        page, _ = states(tab, handlers.open_file(str(path)))
        assert page[tab.ask.text] == "Guten Tag."
    path.write_bytes(b"\x89PNG")
    page, _ = states(tab, handlers.open_file(str(path)))
    assert "PNG image" in page[tab.run.status]
    assert tab.ask.text not in page


def test_what_was_weighed_stands_under_the_answer(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("translation")
    column = tab.columns["finetuned"]
    result = Candidate(" Bonjour.", (1, 2), "end"), Candidate(" Salut.", (3, 4), "end")
    pieces = (tuple(Ranked(item, item.text.strip(), -1.0, -2.0, -1.3) for item in result),)
    page, _ = states(tab, handlers.run(values_of(tab, "Hello."), PAGE))
    assert page[column.alternatives] == ""
    assert column.alternatives in column.shown()
    answered = page[column.answered]
    results = (dataclasses.replace(answered.result, alternatives=pieces),)
    shown = handlers._done(check(answered.asked), results, {})
    assert "Bonjour." in shown[column.alternatives]
    assert "Salut." in shown[column.alternatives]


def test_a_text_in_a_language_that_was_not_measured_is_noted(tab_of: Callable[..., Built]) -> None:
    tab, handlers = tab_of("sentiment", AdapterTasks(training_languages={"sentiment": ("en",)}))
    for text, noted in (
        ("Ce film est une catastrophe, et les acteurs n'y peuvent rien.", True),
        ("A dull film, good for sleep.", False),
    ):
        page, _ = states(tab, handlers.run(values_of(tab, text), PAGE))
        assert (
            "looks like French; this task was finetuned on English" in page[tab.columns["finetuned"].facts]
        ) is noted


def test_options_start_as_the_adapter_declares_them(tab_of: Callable[..., Built]) -> None:
    declared = dataclasses.replace(TASKS["summarization"].generation, num_beams=3, repetition_penalty=1.25)
    tab, _ = tab_of("summarization", AdapterTasks(decoding={"summarization": declared}))
    shown = {name: component.value for name, component in tab.ask.options.components.items()}
    assert (shown["num_beams"], shown["repetition_penalty"]) == (3, 1.25)
    assert tab.ask.read(values_of(tab, "Hello.")).generation == declared
    assert tab.ask.read(values_of(tab, "Hello.", num_beams=None)).generation.num_beams == 3, "emptied"


@pytest.mark.parametrize(
    ("task", "declared"),
    [
        ("summarization", {"guidance_scale": 1.5, "copy_bias": 1.5, "num_beams": 4, "sentence_case": True}),
        ("translation", {"reverse_weight": 0.5, "num_beams": 4, "sentence_case": True}),
        ("sentiment", {"sentence_case": True}),
    ],
)
def test_what_the_adapter_declares_applies_without_a_control(
    tab_of: Callable[..., Built], task: str, declared: dict[str, Any]
) -> None:
    decoding = dataclasses.replace(TASKS[task].generation, **declared)
    tab, handlers = tab_of(task, AdapterTasks(decoding={task: decoding}))
    assert not {"guidance_scale", "copy_bias", "reverse_weight", "sentence_case"} & set(tab.ask.options.components)
    page, _ = states(tab, handlers.run(values_of(tab, "HELLO YOU."), PAGE))
    receipt = json.loads(page[tab.columns["finetuned"].receipt])
    assert {name: receipt["generation"][name] for name in declared} == declared
    assert "The model read your text in sentence case: Hello you." in page[tab.columns["finetuned"].facts]


def test_an_option_that_is_refused_has_the_name_of_the_page(tab_of: Callable[[str], Built]) -> None:
    tab, _ = tab_of("translation")
    with pytest.raises(SettingsError, match="set “Temperature” to 0 or “Beams” to 1"):
        tab.ask.read(values_of(tab, "Hello.", num_beams=2, temperature=0.5))


def test_options_are_offered_where_they_make_sense(tab_of: Callable[[str], Built]) -> None:
    offers = {task: set(tab_of(task)[0].ask.options.components) for task in TASKS}
    assert [task for task in TASKS if "num_beams" in offers[task]] == [
        "summarization",
        "translation",
        "question_answering",
    ]
    assert [task for task in TASKS if "min_support" in offers[task]] == ["question_answering"]
    assert all("adapter_strength" in offered for offered in offers.values())
    assert offers["sentiment"] == {"adapter_strength"}, "no token is generated"


def test_a_request_takes_no_longer_than_it_may(loader: EngineLoader, sessions: Sessions) -> None:
    with gr.Blocks():
        tab = build_task_tab(TASKS["translation"], DESCRIPTION, AdapterTasks(), sessions, longest_s=300)
        other = build_task_tab(TASKS["generation"], DESCRIPTION, AdapterTasks(), sessions, longest_s=300)
    box = tab.ask.options.components["time_limit_s"]
    assert (box.value, other.ask.options.components["time_limit_s"].value) == (300, 120)
    assert "at most 300" in box.info
    handlers = TabHandlers(tab, loader, longest_s=300)
    for given, limit in ((None, 300), (20, 20)):
        page, _ = states(tab, handlers.run(values_of(tab, "Hello.", time_limit_s=given), PAGE))
        assert json.loads(page[tab.columns["finetuned"].receipt])["generation"]["time_limit_s"] == limit
    page, _ = states(tab, handlers.run(values_of(tab, "Hello.", time_limit_s=301), PAGE))
    assert "“Time limit in seconds” is 301; one request may take at most 300 seconds here" in page[tab.run.status]


def test_a_replay_takes_no_longer_than_it_may_and_says_what_that_changed(
    loader: EngineLoader, sessions: Sessions, engine: ScriptedEngine
) -> None:
    with gr.Blocks():
        tab = build_task_tab(TASKS["translation"], DESCRIPTION, AdapterTasks(), sessions)
    column, text = tab.columns["finetuned"], " ".join(f"Sentence {index} is here." for index in range(20))
    page, _ = states(tab, TabHandlers(tab, loader).run(values_of(tab, text), PAGE))
    replay = TabHandlers(tab, loader, longest_s=1).replay_of(column)
    assert "The same text again" in [*replay(page[column.receipt], PAGE)][-1][column.replayed]
    engine.delay_s = 0.2
    said = [*replay(page[column.receipt], PAGE)][-1][column.replayed]
    assert "Another text this time, as its time limit of 1 s was reached" in said


def test_the_strength_of_the_finetuning_is_read(tab_of: Callable[..., Built]) -> None:
    tab, _ = tab_of("sentiment")
    assert tab.ask.read(values_of(tab, "Good.", adapter_strength=0.25)).generation.adapter_strength == 0.25
    assert tab.ask.read(values_of(tab, "Good.")).generation.adapter_strength == 1
    said = dataclasses.replace(TASKS["generation"].generation, adapter_strength=0.5)
    tab, _ = tab_of("generation", AdapterTasks(decoding={"generation": said}))
    assert tab.ask.read(values_of(tab, "Once")).generation.adapter_strength == 0.5


def test_an_answer_at_part_of_the_strength_says_so(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("generation")
    finetuned, base = (tab.columns[variant].facts for variant in ("finetuned", "base"))
    page, _ = states(tab, handlers.run(values_of(tab, "Once", variant="both", adapter_strength=0.5), PAGE))
    assert "adapter strength 0.5" in page[finetuned]
    assert "adapter strength" not in page[base]
    page, _ = states(tab, handlers.run(values_of(tab, "Once", variant="both"), PAGE))
    assert "adapter strength" not in page[finetuned]


@pytest.mark.parametrize("task", TASKS)
def test_without_an_adapter_there_is_no_strength(task: str) -> None:
    with gr.Blocks():
        inputs = option_inputs(TASKS[task], TASKS[task].generation, has_strength=False)
    assert "adapter_strength" not in inputs.components
    assert bool(inputs.components) == (task != "sentiment")


def swapped(tab: TaskTab, handlers: TabHandlers, page: dict[Any, Any]) -> tuple[str, str, str]:
    """What the page holds after a click on Swap: text and languages."""
    page |= handlers.swap_languages(page)
    return page[tab.ask.text], page[tab.ask.fields["source"]], page[tab.ask.fields["target"]]


def answered(tab: TaskTab, handlers: TabHandlers, text: str, **fields: Any) -> dict[Any, Any]:
    """The page once a text is answered."""
    page = values_of(tab, text, **fields) | {column.answered: None for column in tab.columns.values()}
    return page | states(tab, handlers.run(page, PAGE))[0]


@pytest.mark.parametrize("variant", ["finetuned", "base", "both"])
def test_swap_takes_the_answer_that_is_shown_along_and_gives_the_text_back(
    tab_of: Callable[[str], Built], variant: str
) -> None:
    tab, handlers = tab_of("translation")
    page = answered(tab, handlers, "The train leaves.", variant=variant)
    shown = page[tab.columns["base" if variant == "base" else "finetuned"].text]
    assert shown not in ("", "The train leaves.")
    assert swapped(tab, handlers, page) == (shown, "de", "en")
    assert swapped(tab, handlers, page) == ("The train leaves.", "en", "de")
    assert swapped(tab, handlers, page) == (shown, "de", "en")


def test_swap_leaves_a_text_that_was_not_answered(tab_of: Callable[..., Built]) -> None:
    tab, handlers = tab_of("translation", AdapterTasks(languages=("en", "de", "fr")))
    page = answered(tab, handlers, "The train leaves.")
    assert swapped(tab, handlers, page | {tab.ask.text: "Another text."}) == ("Another text.", "de", "en")
    assert swapped(tab, handlers, page | {tab.ask.fields["target"]: "fr"}) == ("The train leaves.", "fr", "en")
    assert swapped(tab, handlers, page | {tab.ask.variant: "base"}) == ("The train leaves.", "de", "en")
    page[tab.ask.text] = "Typed since."
    assert swapped(tab, handlers, page) == ("Typed since.", "de", "en")
    assert swapped(tab, handlers, page) == ("Typed since.", "en", "de")


def test_swap_without_an_answer_turns_the_languages(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("translation")
    page = values_of(tab, "train") | {column.answered: None for column in tab.columns.values()}
    assert swapped(tab, handlers, page) == ("train", "de", "en")


def test_the_counter_counts_against_what_the_tab_takes(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("generation")

    def counted(text: str, **fields: Any) -> str:
        return re.sub("<[^>]*>", " ", handlers.count(values_of(tab, text, **fields)))

    assert "2 words  2 of 818 tokens" in counted("two words", max_new_tokens=200)
    assert "2 of 918 tokens" in counted("two words", max_new_tokens=100)
    assert "too long" not in counted("word " * 818, max_new_tokens=200)
    assert "819 of 818 tokens  too long" in counted("word " * 819, max_new_tokens=200)
    assert counted("two words", max_new_tokens=-1).split() == ["2", "words"], "refused when it is asked"
    assert "at most 1,000,000" in counted("a" * 1_000_001)
    assert counted("").strip() == "&nbsp;"


def test_the_counter_says_in_how_many_pieces_a_text_is_read(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("translation")
    shown = handlers.count(values_of(tab, "The train is late. " * 2000))
    assert "<span>8,000 tokens</span><span>read in 2,000 sentences</span>" in shown
    assert "read in" not in handlers.count(values_of(tab, "The train is late."))
    assert "read in parts" in handlers.count(values_of(tab, "The train is late. " * 9000))
    assert {tab.ask.text, *tab.ask.fields.values()} < set(tab.ask.counted())


def test_how_sure_the_model_is_has_no_word_where_nothing_was_measured(tab_of: Callable[[str], Built]) -> None:
    tab, handlers = tab_of("translation")
    page, _ = states(tab, handlers.run(values_of(tab, "one two three"), PAGE))
    column = tab.columns["finetuned"]
    assert "sure" not in page[column.facts]
    assert re.search(r"<dt>Mean token probability</dt><dd>\d+%</dd>", page[column.details])
    tab, handlers = tab_of("generation")
    page, _ = states(tab, handlers.run(values_of(tab, "one two three"), PAGE))
    assert "Mean token probability" not in page[tab.columns["finetuned"].details]


def test_where_it_was_as_unsure_the_measured_score_is_told(
    loader: EngineLoader, engine: ScriptedEngine, sessions: Sessions, tmp_path: Path
) -> None:
    scores = (12.0,) * 5  # whichever fifth it is
    report = small() | {"test_sets": [measured("translation.pairs.en-de", 400, scores=scores, metric="accuracy")]}
    info = engine.info
    told = (
        "On the test set, answers with a similar probability score 12.0 in BLEU; all answers score 30.0 "
        "(English to German, pairs)"
    )
    for revision, expected in ((info.base_revision, True), ("cccccccccccc", False)):
        report["model"] |= {"base_revision": revision, "adapter_revision": info.adapter_revision}
        (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
        with gr.Blocks():
            tab = build_task_tab(TASKS["translation"], DESCRIPTION, AdapterTasks(), sessions)
        handlers = TabHandlers(tab, loader, reports=tmp_path)
        page, _ = states(tab, handlers.run(values_of(tab, "one two three"), PAGE))
        facts = page[tab.columns["finetuned"].facts]
        assert (f'<span title="{told}">unsure</span>' in facts) is expected
        assert (f"The model is unsure of this. {told}." in facts) is expected


def ranked(text: str, forward: float, score: float, *, tokens: int = 4) -> Ranked:
    return Ranked(Candidate(f" {text}", tuple(range(tokens)), "end"), text, forward, -6.25, score)


PIECE = (ranked("Der Hund schläft.", -2.0, -1.0), ranked("Er schläft.", -1.5, -5.0))


def test_nothing_is_shown_where_nothing_was_weighed() -> None:
    assert alternatives(()) == alternatives(((), ())) == ""


def test_the_best_is_first_and_the_likeliest_is_marked() -> None:
    html = alternatives((PIECE,))
    rows = re.findall(r"<tr.*?</tr>", html)[1:]
    assert [re.sub("(<.*?>)+", "|", row) for row in rows] == [
        "|Der Hund schläft. |chosen|\N{MINUS SIGN}2.0|\N{MINUS SIGN}6.2|\N{MINUS SIGN}1.0|",
        "|Er schläft. |most probable per token|\N{MINUS SIGN}1.5|\N{MINUS SIGN}6.2|\N{MINUS SIGN}5.0|",
    ]
    assert "chosen, most probable per token" in alternatives((PIECE[:1],))


def test_what_is_nearly_certain_has_no_minus_zero() -> None:
    html = alternatives(
        (
            (
                Alternative(Candidate(" Tom", (1,), "end"), "Tom", -0.01),
                Alternative(Candidate(" He", (2,), "end"), "He", -5),
            ),
        )
    )
    assert "<td>0.0 (99%)</td>" in html


def test_likely_is_meant_a_token() -> None:
    long = ranked("Der große Hund schläft.", -2.4, -2.0, tokens=12)
    assert re.search(r"Der große Hund schläft\. <small>most probable per token", alternatives(((*PIECE, long),)))


def test_a_long_text_shows_its_first_sentences() -> None:
    html = alternatives([PIECE] * (SHOWN + 3))
    assert html.count("<tbody>") == SHOWN
    assert "3 more parts" in html


def test_what_was_only_listed_tells_shares_and_remarks() -> None:
    result = (("four", (1,), -2.0), ("214", (2, 3), -0.5), ("long", (4,), -20.0))
    piece = [Alternative(Candidate(f" {text}", ids, "end"), text, value) for text, ids, value in result]
    html = alternatives((piece,), lambda output: "" if output == "214" else "not <in> the text")
    rows = re.findall(r"<tr.*?</tr>", html)
    assert [re.sub("(<.*?>)+", "|", row) for row in rows] == [
        "|Candidate|Log-probability|",
        "|four |chosen, not &lt;in&gt; the text|\N{MINUS SIGN}2.0 (14%)|",
        "|214 |most probable|\N{MINUS SIGN}0.5 (61%)|",
        "|long |not &lt;in&gt; the text|\N{MINUS SIGN}20.0|",
    ]
    assert "given the output (back)" not in html


def test_outputs_are_escaped() -> None:
    assert "<script" not in alternatives(((ranked("<script>x</script>", -1, -1), PIECE[0]),))
