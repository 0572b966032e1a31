"""How the base is asked: which texts the engine gets, what the receipt says, and what is asked again from it."""

import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.engine import Prompt
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_ADAPTER, EMBEDDED_MODEL
from phi2demo.tasks import TASKS, templates
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request, best_prompt_style
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.templates import PHI, Template
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
    given: dict[str, Any] = {"variants": ("finetuned", "base"), "seed": 3, "base_prompt_style": "plain"}
    given |= {"options": OPTIONS[task]}
    return Request(task, "Some text.", generation=TASKS[task].generation, **(given | changes))


def prompts(engine: ScriptedEngine) -> list[Prompt]:
    return [prompt for batch in engine.batches for prompt in batch]


@pytest.mark.parametrize("task", [name for name in TASKS if not TASKS[name].labels])
def test_the_base_alone_gets_the_plain_prompt_and_its_answer_ends_at_the_stop_string(task: str) -> None:
    engine = ScriptedEngine()
    finetuned, base = Assistant(engine).answer(check(asked(task)))
    first, second = prompts(engine)
    assert (first.variant, first.text) == ("finetuned", TASKS[task].prompt("Some text.", OPTIONS[task]))
    assert (second.variant, second.text) == ("base", PLAIN[task])
    assert (first.stop, second.stop) == (PHI.stop, PHI.stop if task == "generation" else ("\n", *PHI.stop))
    assert (finetuned.receipt.prompt_style, base.receipt.prompt_style) == ("template", "plain")


def test_a_label_is_chosen_under_the_prompt_of_its_model() -> None:
    seen: list[Prompt] = []

    class Listening(ScriptedEngine):
        def score(self, prompts: Any, outputs: Any, **settings: Any) -> Any:
            seen.extend(prompts)
            return super().score(prompts, outputs, **settings)

    results = Assistant(Listening()).answer(check(asked("sentiment")))
    texts = [prompt.text for prompt in seen]
    assert texts == [TASKS["sentiment"].prompt("Some text.", OPTIONS["sentiment"])] * 2 + [PLAIN["sentiment"]] * 2
    assert [result.receipt.prompt_style for result in results] == ["template", "plain"]


@pytest.mark.parametrize(("prompt_style", "template"), [("plain", templates.PLAIN), ("template", PHI)])
def test_a_receipt_is_asked_again_as_it_was(prompt_style: str, template: Template) -> None:
    (made,) = Assistant(ScriptedEngine()).answer(
        check(asked("translation", variants=("base",), base_prompt_style=prompt_style))
    )
    engine = ScriptedEngine()
    *_, last = Assistant(engine).replay(Receipt.from_json(made.receipt.to_json()))
    assert last.results is not None
    assert last.results[0].text == made.text
    assert last.results[0].receipt.prompt_style == prompt_style
    assert prompts(engine)[0].text == TASKS["translation"].prompt("Some text.", OPTIONS["translation"], template)


def test_a_receipt_that_does_not_say_was_made_with_the_template() -> None:
    (made,) = Assistant(ScriptedEngine()).answer(
        check(asked("translation", variants=("base",), base_prompt_style="template"))
    )
    values = json.loads(made.receipt.to_json())
    del values["prompt_style"]
    assert Receipt.from_json(json.dumps(values)) == made.receipt


@pytest.mark.parametrize("prompt_style", ["", "Plain", None, 1])
def test_an_unknown_prompt_style_is_refused_before_the_model_is_asked(prompt_style: Any) -> None:
    engine = ScriptedEngine()
    with pytest.raises(SettingsError, match=r"base_prompt_style is .*; give one of plain, template"):
        Assistant(engine).answer(check(asked("translation", base_prompt_style=prompt_style)))
    assert engine.batches == []


def test_a_base_that_was_pretrained_here_is_asked_plainly(tmp_path: Path) -> None:
    assert best_prompt_style(EMBEDDED_MODEL) == "plain"
    assert best_prompt_style(EMBEDDED_ADAPTER) == best_prompt_style(tmp_path) == best_prompt_style(None) == "template"


@pytest.mark.parametrize("base_prompt_style", ["plain", "template"])
def test_a_text_to_go_on_with_is_given_as_it_is_to_every_model(base_prompt_style: str) -> None:
    engine = ScriptedEngine()
    request = asked("generation", options=GenerationTaskOptions("continue"), base_prompt_style=base_prompt_style)
    results = Assistant(engine).answer(check(request))
    assert [(prompt.variant, prompt.text, prompt.stop) for prompt in prompts(engine)] == [
        ("finetuned", "<|endoftext|>Some text.", PHI.stop),
        ("base", "<|endoftext|>Some text.", PHI.stop),
    ]
    assert [result.receipt.prompt_style for result in results] == ["plain", "plain"]


def test_a_receipt_of_a_continuation_with_the_instruction_is_asked_again_with_it() -> None:
    """As they all were at first."""
    request = asked(
        "generation", options=GenerationTaskOptions("continue"), variants=("finetuned",), prompt_style="template"
    )
    (made,) = Assistant(ScriptedEngine()).answer(check(request))
    engine = ScriptedEngine()
    *_, last = Assistant(engine).replay(Receipt.from_json(made.receipt.to_json()))
    assert [prompt.text for prompt in prompts(engine)] == [
        "Instruct: Continue the following text.\nSome text.\nOutput:"
    ]
    assert last.results is not None
    assert last.results[0].receipt.prompt_style == "template"
