"""How the base is asked: which texts the engine gets, what the receipt says, and what is asked again from it."""

import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.engine import Prompt
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_ADAPTER, EMBEDDED_MODEL
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request, best_form
from phi2demo.tasks.run import answer, replay
from tests.tasks.scripted import ScriptedEngine
from tests.tasks.test_run import OPTIONS

PLAIN = {
    "generation": "<|endoftext|>Some text.",
    "summarization": "<|endoftext|>Some text.\n\nIn short:",
    "translation": "<|endoftext|>French: Some text.\nEnglish:",
    "sentiment": "<|endoftext|>Review: Some text.\nSentiment:",
    "question_answering": "<|endoftext|>Some text.\n\nQuestion: Who is it?\nAnswer:",
}


def asked(task: str, **changes: Any) -> Request:
    given: dict[str, Any] = {"uses": ("finetuned", "base"), "seed": 3, "base_form": "plain"}
    given |= {"options": OPTIONS[task]}
    return Request(task, "Some text.", generation=TASKS[task].generation, **(given | changes))


def prompts(engine: ScriptedEngine) -> list[Prompt]:
    return [prompt for batch in engine.batches for prompt in batch]


@pytest.mark.parametrize("task", [name for name in TASKS if not TASKS[name].labels])
def test_the_base_alone_is_asked_plainly_and_its_answer_ends_where_the_form_does(task: str) -> None:
    engine = ScriptedEngine()
    finetuned, base = answer(engine, asked(task))
    first, second = prompts(engine)
    assert (first.use, first.text) == ("finetuned", TASKS[task].prompt("Some text.", OPTIONS[task]))
    assert (second.use, second.text) == ("base", PLAIN[task])
    assert (first.stop, second.stop) == ((), () if task == "generation" else ("\n",))
    assert (finetuned.receipt.form, base.receipt.form) == ("template", "plain")


def test_a_label_is_chosen_under_the_form_of_its_model() -> None:
    seen: list[Prompt] = []

    class Listening(ScriptedEngine):
        def score(self, prompts: Any, outputs: Any, **settings: Any) -> Any:
            seen.extend(prompts)
            return super().score(prompts, outputs, **settings)

    results = answer(Listening(), asked("sentiment"))
    texts = [prompt.text for prompt in seen]
    assert texts == [TASKS["sentiment"].prompt("Some text.", OPTIONS["sentiment"])] * 2 + [PLAIN["sentiment"]] * 2
    assert [result.receipt.form for result in results] == ["template", "plain"]


@pytest.mark.parametrize("form", ["plain", "template"])
def test_a_receipt_is_asked_again_as_it_was(form: str) -> None:
    (made,) = answer(ScriptedEngine(), asked("translation", uses=("base",), base_form=form))
    engine = ScriptedEngine()
    *_, last = replay(engine, Receipt.from_json(made.receipt.to_json()))
    assert last.results is not None
    assert last.results[0].text == made.text
    assert last.results[0].receipt.form == form
    assert prompts(engine)[0].text == TASKS["translation"].prompt("Some text.", OPTIONS["translation"], form)  # type: ignore[arg-type]


def test_a_receipt_that_does_not_say_was_made_with_the_template() -> None:
    (made,) = answer(ScriptedEngine(), asked("translation", uses=("base",), base_form="template"))
    values = json.loads(made.receipt.to_json())
    del values["form"]
    assert Receipt.from_json(json.dumps(values)) == made.receipt


@pytest.mark.parametrize("form", ["", "Plain", None, 1])
def test_another_form_is_refused_before_the_model_is_asked(form: Any) -> None:
    engine = ScriptedEngine()
    with pytest.raises(SettingsError, match=r"base_form is .*; give one of plain, template"):
        answer(engine, asked("translation", base_form=form))
    assert engine.batches == []


def test_a_base_that_was_pretrained_here_is_asked_plainly(tmp_path: Path) -> None:
    assert best_form(EMBEDDED_MODEL) == "plain"
    assert best_form(EMBEDDED_ADAPTER) == best_form(tmp_path) == best_form(None) == "template"


@pytest.mark.parametrize("base_form", ["plain", "template"])
def test_a_text_to_go_on_with_is_given_as_it_is_to_every_model(base_form: str) -> None:
    engine = ScriptedEngine()
    request = asked("generation", options=GenerationTaskOptions("continue"), base_form=base_form)
    results = answer(engine, request)
    assert [(prompt.use, prompt.text, prompt.stop) for prompt in prompts(engine)] == [
        ("finetuned", "<|endoftext|>Some text.", ()),
        ("base", "<|endoftext|>Some text.", ()),
    ]
    assert [result.receipt.form for result in results] == ["plain", "plain"]


def test_a_receipt_of_a_continuation_with_the_instruction_is_asked_again_with_it() -> None:
    """As they all were at first."""
    request = asked("generation", options=GenerationTaskOptions("continue"), uses=("finetuned",), form="template")
    (made,) = answer(ScriptedEngine(), request)
    engine = ScriptedEngine()
    *_, last = replay(engine, Receipt.from_json(made.receipt.to_json()))
    assert [prompt.text for prompt in prompts(engine)] == [
        "Instruct: Continue the following text.\nSome text.\nOutput:"
    ]
    assert last.results is not None
    assert last.results[0].receipt.form == "template"
