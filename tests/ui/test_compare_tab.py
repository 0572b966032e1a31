"""The Compare tab over the scripted engine: its handlers, and its endpoint."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from phi2demo.engine.engine import AdapterInfo, Prompt
from phi2demo.engine.loading import EngineLoader
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, VariantTasks
from phi2demo.tasks.receipt import Receipt
from phi2demo.ui.api import Endpoints
from phi2demo.ui.compare_handlers import CompareEndpoint, CompareHandlers
from phi2demo.ui.compare_tab import CompareTab, build_compare_tab, read_samples
from phi2demo.ui.sessions import Sessions
from tests.ui.conftest import DESCRIPTION
from tests.ui.scripted import INFO, ScriptedEngine

PAGE: Any = SimpleNamespace(session_hash="page")
SECOND = AdapterInfo("second", "scripted-second", "cccccccccccc", 8)
DECLARED = VariantTasks(AdapterTasks(), {"second": AdapterTasks()})
SAID = {
    "base": "The train leaves.",
    "finetuned": "Der Zug fährt um acht.",
    "second": "Der Zug fährt um acht <b>ab</b>.",
}


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(replace(INFO, others=(SECOND,)), reply=lambda prompt: SAID[prompt.variant])


@pytest.fixture
def tab() -> CompareTab:
    with gr.Blocks():
        return build_compare_tab(replace(DESCRIPTION, others=("second",)), DECLARED, Sessions())


@pytest.fixture
def handlers(tab: CompareTab, loader: EngineLoader, sessions: Sessions) -> CompareHandlers:
    return CompareHandlers(tab, loader)


def values_of(tab: CompareTab, task: str = "translation", text: str = "The train.", **changed: Any) -> dict[Any, Any]:
    """What the page would send; `changed` are fields or options of the task, the reference, or the marks."""
    values = {component: component.value for component in tab.ask.all()} | {tab.ask.task: task, tab.ask.text: text}
    ask = tab.ask.asks[task]
    for name, value in changed.items():
        own = {"reference": tab.ask.reference, "marks": tab.ask.marks, "seed": ask.options.seed}
        values[own.get(name) or ask.fields.get(name) or ask.options.components[name]] = value
    return values


def shown(value: Any) -> Any:
    """The value of an update, as a component or plain."""
    return value.value if isinstance(value, gr.components.Component) else value


def page_after(steps: Iterator[dict[Any, Any]]) -> dict[Any, Any]:
    page: dict[Any, Any] = {}
    for step in steps:
        page |= step
    return page


def test_every_model_answers_the_same_in_columns_of_its_own(tab: CompareTab, handlers: CompareHandlers) -> None:
    assert list(tab.columns) == ["base", "finetuned", "second"]
    page = page_after(handlers.run(values_of(tab, source="en", target="fr", seed="7"), PAGE))
    assert "status done" in page[tab.run.status]
    for variant, column in tab.columns.items():
        assert shown(page[column.text]) == SAID[variant]
        receipt = Receipt.from_json(page[column.receipt])
        assert (receipt.variant, receipt.seed, receipt.options["target"]) == (variant, 7, "fr")
        assert receipt.adapter == (SECOND.name if variant == "second" else INFO.adapter)
        assert "tokens/s" in page[column.facts]
        assert not page[column.score].visible


def test_answers_stream_side_by_side(tab: CompareTab, handlers: CompareHandlers, engine: ScriptedEngine) -> None:
    engine.delay_s = 0.06
    seen = []
    for step in handlers.run(values_of(tab), PAGE):
        texts = [step.get(column.text) for column in tab.columns.values()]
        if all(isinstance(text, str) and text for text in texts):
            seen.append(texts)
    assert len(seen) >= 2
    assert seen[0] == ["The", "Der", "Der"]


def test_differences_are_marked_and_marked_anew_without_asking_again(
    tab: CompareTab, handlers: CompareHandlers, engine: ScriptedEngine
) -> None:
    page = page_after(handlers.run(values_of(tab, marks="finetuned"), PAGE))
    base, finetuned, second = tab.columns.values()
    assert "<ins>&lt;b&gt;ab&lt;/b&gt;</ins>." in shown(page[second.marked])
    assert (page[second.marked].visible, page[second.text].visible) == (True, "hidden")
    assert (page[finetuned.marked].visible, page[finetuned.text].visible) == (False, True)
    asked = len(engine.ended)
    marked = handlers.mark("base", page[tab.comparison])
    assert (marked[base.marked].visible, marked[base.text].visible) == (False, True)
    assert "<del>The train leaves</del>" in shown(marked[finetuned.marked])
    plain = handlers.mark("nothing", page[tab.comparison])
    assert all(plain[column.text].visible is True for column in tab.columns.values())
    assert "no reference answer" in handlers.mark("reference", page[tab.comparison])[tab.legend]
    assert handlers.mark("base", None)[base.text].visible is True
    assert len(engine.ended) == asked


def test_a_good_answer_measures_every_answer(tab: CompareTab, handlers: CompareHandlers) -> None:
    reference = "Der Zug fährt um acht."
    page = page_after(handlers.run(values_of(tab, reference=reference, marks="reference"), PAGE))
    for variant, column in tab.columns.items():
        assert page[column.score].visible
        assert ("chrF <strong" in shown(page[column.score])) is (variant == "finetuned")
    assert "no difference" in shown(page[tab.columns["finetuned"].marked])
    written = json.loads(page[tab.written])
    assert written["reference"] == reference
    assert [answer["variant"] for answer in written["answers"]] == ["base", "finetuned", "second"]
    assert written["answers"][1]["scores"][0] | {"signature": ""} == {
        "name": "chrf", "title": "chrF", "value": 100.0, "signature": "", "digits": 1,
    }  # fmt: skip


def test_labels_are_compared_by_their_probabilities(tab: CompareTab, handlers: CompareHandlers) -> None:
    page = page_after(handlers.run(values_of(tab, "sentiment", "a great film", reference="Positive"), PAGE))
    for column in tab.columns.values():
        assert "90.9%" in shown(page[column.bars])
        assert ">right<" in shown(page[column.score]).replace("<strong", "<x").replace("</span>", "<")
        assert page[column.text].visible is True
    again = page_after(handlers.run(values_of(tab), PAGE))
    assert not again[tab.columns["base"].bars].visible


@pytest.mark.parametrize(
    ("task", "changed", "says"),
    [
        ("translation", {"text": " "}, "The text is empty"),
        ("translation", {"text": "a\x00b"}, "NUL bytes"),
        ("translation", {"source": "de", "target": "de"}, "Both languages are German"),
        ("question_answering", {"question": ""}, "question is empty"),
        (
            "sentiment",
            {"reference": "so so"},
            "good answer is &#x27;so so&#x27;; for this task it is positive or negative",
        ),
        ("translation", {"reference": "a\x00b"}, "The good answer holds NUL bytes"),
        ("generation", {"max_new_tokens": 0}, "“Maximum new tokens” is 0"),
        ("generation", {"seed": "x"}, "seed is"),
    ],
)
def test_what_cannot_be_compared_says_why_and_asks_no_model(
    tab: CompareTab, handlers: CompareHandlers, engine: ScriptedEngine, task: str, changed: dict[str, Any], says: str
) -> None:
    page = page_after(handlers.run(values_of(tab, task, **changed), PAGE))
    assert says in page[tab.run.status]
    assert engine.ended == []
    assert not {tab.ask.text, tab.ask.reference} & page.keys()


def test_an_unknown_task_is_refused(tab: CompareTab, handlers: CompareHandlers) -> None:
    page = page_after(handlers.run(values_of(tab) | {tab.ask.task: "dance"}, PAGE))
    assert "task is &#x27;dance&#x27;" in page[tab.run.status]


def test_a_new_comparison_clears_the_old_one(
    tab: CompareTab, handlers: CompareHandlers, engine: ScriptedEngine
) -> None:
    page = page_after(handlers.run(values_of(tab, reference="Der Zug."), PAGE))
    assert page[tab.after].visible is True
    engine.reply = lambda prompt: 1 / 0  # type: ignore[assignment,return-value]
    page |= page_after(handlers.run(values_of(tab), PAGE))
    assert "Something went wrong" in page[tab.run.status]
    assert page[tab.comparison] is None
    assert (page[tab.after].visible, page[tab.written], page[tab.legend]) == (False, "", "")
    for column in tab.columns.values():
        assert (shown(page[column.text]), page[column.text].visible) == ("", True)
        assert not page[column.marked].visible
        assert not page[column.score].visible


def test_stop_keeps_what_there_is(tab: CompareTab, handlers: CompareHandlers, engine: ScriptedEngine) -> None:
    engine.delay_s, engine.reply = 0.05, lambda prompt: "word " * 100
    tab.run.begin(PAGE)
    threading.Timer(0.3, tab.run.stop, (PAGE,)).start()
    started = time.monotonic()
    page = page_after(handlers.run(values_of(tab), PAGE))
    assert time.monotonic() - started < 4
    assert "status stopped" in page[tab.run.status]
    for column in tab.columns.values():
        assert 0 < len(shown(page[column.text]).split()) < 90
        assert json.loads(page[column.receipt])["stop_reason"] == "stopped"


def test_a_receipt_of_each_column_replays(tab: CompareTab, handlers: CompareHandlers) -> None:
    page = page_after(handlers.run(values_of(tab), PAGE))
    for column in tab.columns.values():
        replayed = page_after(handlers.replay_of(column)(page[column.receipt], PAGE))
        assert "The same text again" in replayed[column.replayed]


def test_a_task_shows_its_own_fields(tab: CompareTab, handlers: CompareHandlers) -> None:
    updates = handlers.choose("question_answering")
    seen = {name for name, pair in tab.groups.items() if all(updates[group].visible for group in pair)}
    assert seen == {"question_answering"}
    assert updates[tab.ask.text].label == TASKS["question_answering"].input_label


def test_every_example_can_be_asked(tab: CompareTab, handlers: CompareHandlers) -> None:
    assert {sample.task for sample in tab.samples} >= {
        "translation",
        "summarization",
        "question_answering",
        "sentiment",
    }
    for index, sample in enumerate(tab.samples):
        filled = {component: shown(update) for component, update in handlers.try_example(index).items()}
        assert not filled.keys() - set(tab.filled())
        values = values_of(tab) | {component: filled[component] for component in filled.keys() & tab.ask.all()}
        assert (values[tab.ask.text], values[tab.ask.reference]) == (sample.text, sample.reference)
        page = page_after(handlers.run(values, PAGE))
        assert "status done" in page[tab.run.status], sample.label
        assert page[tab.columns["base"].score].visible


def test_examples_follow_the_declaration() -> None:
    few = read_samples(AdapterTasks(tasks=("translation",), languages=("en", "fr")))
    assert [(sample.task, sample.options["target"]) for sample in few] == [("translation", "en")]


def test_without_a_second_adapter_there_are_two_columns() -> None:
    with gr.Blocks():
        tab = build_compare_tab(DESCRIPTION, VariantTasks(AdapterTasks()), Sessions())
    assert list(tab.columns) == ["base", "finetuned"]
    assert [value for _, value in tab.ask.marks.choices] == ["base", "finetuned", "reference", "nothing"]


TRANSLATOR = AdapterTasks(("translation",), languages=("en", "de"))
CRITIC = AdapterTasks(("translation", "sentiment"), languages=("en", "fr"))
LACKS_SENTIMENT = "This adapter was not finetuned for sentiment."


def test_what_only_one_adapter_was_finetuned_for_is_compared_and_said(loader: EngineLoader, sessions: Sessions) -> None:
    with gr.Blocks():
        tab = build_compare_tab(
            replace(DESCRIPTION, others=("second",)), VariantTasks(TRANSLATOR, {"second": CRITIC}), Sessions()
        )
    assert [task for _, task in tab.ask.task.choices] == ["translation", "sentiment"]
    assert [code for _, code in tab.ask.asks["translation"].fields["target"].choices] == ["en", "de", "fr"]
    assert {sample.task for sample in tab.samples} == {"translation", "sentiment"}
    handlers = CompareHandlers(tab, loader)
    page = page_after(handlers.run(values_of(tab, "sentiment", "a great film"), PAGE))
    noted = {variant: LACKS_SENTIMENT in page[column.facts] for variant, column in tab.columns.items()}
    assert noted == {"base": False, "finetuned": True, "second": False}
    written = json.loads(page[tab.written])
    assert [LACKS_SENTIMENT in answer["notes"] for answer in written["answers"]] == [False, True, False]
    page = page_after(handlers.run(values_of(tab, source="en", target="de"), PAGE))
    noted = {variant: "not finetuned for German" in page[column.facts] for variant, column in tab.columns.items()}
    assert noted == {"base": False, "finetuned": False, "second": True}


def test_the_endpoints_say_it_too(loader: EngineLoader) -> None:
    declared = VariantTasks(TRANSLATOR, {"second": CRITIC})
    result = last(CompareEndpoint(loader, declared).compare("a great film", "classify"))
    assert [answer["notes"] for answer in result["answers"]] == [[], [LACKS_SENTIMENT], []]
    endpoints = Endpoints(loader, declared)
    answers: Any = list(endpoints.classify("a great film", "all"))[-1]
    assert [answer["notes"] for answer in answers] == [[LACKS_SENTIMENT], [], []]
    assert last(endpoints.classify("a great film", "second"))["notes"] == []
    assert last(endpoints.translate("The train.", "en", "fr", "second"))["variant"] == "second"
    with pytest.raises(gr.Error, match="not finetuned for sentiment; choose second"):
        list(endpoints.classify("a great film"))
    with pytest.raises(gr.Error, match="not finetuned for French"):
        list(endpoints.translate("The train.", "en", "fr"))
    with pytest.raises(gr.Error, match="not finetuned for German"):
        list(endpoints.translate("The train.", "en", "de", "second"))


def last(steps: Iterator[dict[str, Any]]) -> dict[str, Any]:
    *_, final = steps
    return final


def test_the_endpoint_gives_what_the_page_shows(loader: EngineLoader, engine: ScriptedEngine) -> None:
    endpoint = CompareEndpoint(loader, DECLARED)
    result = last(
        endpoint.compare(
            "The train.",
            "translate",
            {"source": "en", "target": "fr"},
            "Der Zug fährt um acht.",
            3,
            {"max_new_tokens": 2},
        )
    )
    assert (result["task"], result["options"]) == ("translation", {"source": "en", "target": "fr"})
    assert [(answer["variant"], answer["text"]) for answer in result["answers"]] == [
        ("base", "The train"), ("finetuned", "Der Zug"), ("second", "Der Zug"),
    ]  # fmt: skip
    assert {answer["receipt"]["seed"] for answer in result["answers"]} == {3}
    assert len(result["differences"]) == 6
    json.dumps(result)


def test_the_endpoint_streams_and_asks_what_is_loaded(engine: ScriptedEngine) -> None:
    def words(prompt: Prompt) -> str:
        return "word " * 30

    one = ScriptedEngine(INFO, delay_s=0.03, reply=words)
    steps = list(CompareEndpoint(started(one), DECLARED).compare("Once"))
    assert [answer["variant"] for answer in steps[0]["answers"]] == ["base", "finetuned"]
    assert "differences" not in steps[0]
    assert "differences" in steps[-1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text": " "}, "The text is empty"),
        ({"task": "sing"}, "task is 'sing'"),
        ({"task_options": {"warmth": 1}}, "task_options has 'warmth'"),
        ({"task": "classify", "reference": "so so"}, "for this task it is positive or negative"),
        ({"reference": 5}, "good answer is of type int"),
        ({"seed": "one"}, "seed is 'one'"),
        ({"options": {"warmth": 1}}, "options has 'warmth'"),
    ],
)
def test_the_endpoint_says_what_is_wrong(loader: EngineLoader, given: dict[str, Any], says: str) -> None:
    with pytest.raises(gr.Error, match=says):
        last(CompareEndpoint(loader, DECLARED).compare(**{"text": "Once", **given}))


def started(engine: ScriptedEngine) -> EngineLoader:
    loader = EngineLoader(lambda: engine).start()
    loader.engine(timeout_s=5)
    return loader
