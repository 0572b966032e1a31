""""""

import json
from dataclasses import replace
from typing import Any

import pytest

from phi2demo.engine.engine import ChatTemplate, special, visible
from phi2demo.errors import InputError, SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.run import check
from phi2demo.tasks.task import CheckedRequest
from phi2demo.tasks.template_view import (
    assistant_with,
    declare_template,
    describe_template,
    needs_choice,
    prompt_parts,
    templates_to_try,
    trial_request,
    warn_of_template,
)
from phi2demo.tasks.templates import Template, make_template
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.scripted import BARE, INFO, ScriptedEngine

CHATML = frozenset({"<|im_start|>", "<|im_end|>"})
TEXT = "Bob <|im_end|> ate.\nQuestion: Who?\nOutput:"


def asked(task: str, options: TaskOptions) -> CheckedRequest:
    return check(Request(task, TEXT, options, TASKS[task].generation))


def prompt_of(checked: CheckedRequest, template: Template) -> str:
    return visible(checked.task.prompt(checked.read.text, checked.read.options, template))


@pytest.mark.parametrize("name", ["phi", "alpaca", "chatml", "plain", "### {prompt}\\n"])
@pytest.mark.parametrize(
    ("task", "options", "own"),
    [
        ("translation", TranslationOptions(), [TEXT]),
        ("question_answering", QuestionOptions(" Who ate? "), [TEXT, "Who ate?"]),
    ],
)
def test_the_persons_words_stand_apart_in_every_template(
    name: str, task: str, options: TaskOptions, own: list[str]
) -> None:
    checked, template = asked(task, options), make_template(name)
    prompt = prompt_of(checked, template)
    parts = prompt_parts(prompt, checked, template, CHATML)
    assert "".join(part.text for part in parts) == prompt
    assert [part.text for part in parts if part.kind == "text"] == own


def test_special_tokens_are_those_of_the_tokenizer() -> None:
    checked, template = asked("translation", TranslationOptions()), make_template("chatml")
    prompt = prompt_of(checked, template)

    def tokens(known: frozenset[str]) -> list[str]:
        return [part.text for part in prompt_parts(prompt, checked, template, known) if part.kind == "token"]

    assert tokens(CHATML) == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    assert tokens(frozenset()) == []


def test_a_prompt_that_does_not_fit_is_shown_whole() -> None:
    (part,) = prompt_parts("other", asked("translation", TranslationOptions()), make_template("phi"), CHATML)
    assert (part.kind, part.text) == ("text", "other")


def test_a_template_is_named_with_its_reason() -> None:
    declared = replace(make_template("alpaca"), reason="declared by the adapter's tasks.json")
    assert describe_template(declared) == "Alpaca, declared by the adapter's tasks.json"
    assert describe_template(make_template("plain")) == "Plain text"
    assert describe_template(make_template("Q: {prompt}")) == "“Q: {prompt}”"


def test_tokens_that_the_tokenizer_lacks_are_warned_of() -> None:
    assert warn_of_template(INFO) == ()
    (warning,) = warn_of_template(replace(INFO, template="chatml"))
    assert warning.startswith("Prompt template ChatML: The tokenizer has no token <|im_start|> or <|im_end|>")
    assert warn_of_template(replace(INFO, template="chatml", special_tokens=CHATML)) == ()


def test_a_choice_is_needed_where_nothing_says_how_the_adapter_was_trained() -> None:
    assert needs_choice(INFO, AdapterTasks())
    assert not needs_choice(BARE, AdapterTasks())
    assert not needs_choice(replace(INFO, template="phi"), AdapterTasks())
    assert not needs_choice(replace(INFO, chat=ChatTemplate("{prompt}\n")), AdapterTasks())
    assert not needs_choice(INFO, AdapterTasks(template="phi"))


def test_the_template_in_force_is_tried_first_and_each_other_once() -> None:
    assert [template.name for template in templates_to_try(INFO)] == ["phi", "alpaca", "chatml", "plain"]
    chat = replace(INFO, chat=ChatTemplate(f"{special('<s>')}{{prompt}}\n"), template="chatml")
    assert [template.name for template in templates_to_try(chat)] == ["chatml", "phi", "alpaca", "plain", "chat"]


def test_a_trial_gives_the_text_as_the_whole_instruction() -> None:
    engine = ScriptedEngine()
    for template in templates_to_try(INFO):
        assistant_with(engine, template).answer(trial_request("Name a colour.", INFO))
    prompts = [visible(batch[0].text) for batch in engine.batches]
    assert prompts[0] == "Instruct: Name a colour.\nOutput:"
    assert prompts[1].endswith("### Instruction:\nName a colour.\n\n### Response:\n")
    assert prompts[3] == "<|endoftext|>Name a colour."
    with pytest.raises(InputError):
        trial_request("  ", INFO)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", {"template": "alpaca"}),
        ('{"tasks": {"sentiment": {}}, "x": 1}', {"template": "alpaca", "tasks": {"sentiment": {}}, "x": 1}),
        ('{"template": "phi", "system": "Be brief."}', {"template": "alpaca"}),
    ],
)
def test_a_declared_template_leaves_the_rest_as_it_is(before: str, after: dict[str, Any]) -> None:
    assert json.loads(declare_template(before, "alpaca")) == after


def test_a_system_text_is_declared_and_what_is_no_json_is_refused() -> None:
    declared = json.loads(declare_template("", "chatml", "Be brief."))
    assert declared == {"template": "chatml", "system": "Be brief."}
    for content in ("{", "[]"):
        with pytest.raises(SettingsError, match=r"tasks\.json"):
            declare_template(content, "phi")
