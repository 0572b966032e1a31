"""Tasks that a tasks.json declares: what is refused, the prompts, the fields, and the way of a request to its replay."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.commands import arguments
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, ModelError, SettingsError
from phi2demo.tasks import TASKS, register
from phi2demo.tasks.declared import FILE, AdapterTasks, read_adapter_tasks, register_declared
from phi2demo.tasks.own_task import make_own_task
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import Sentiment
from phi2demo.tasks.templates import NAMED, PHI, PLAIN
from tests.tasks.own_tasks import POLITE, URGENCY, polite, urgency
from tests.tasks.scripted import ScriptedEngine


def write(folder: Path, **entries: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(json.dumps({"tasks": entries}), encoding="utf-8")
    return folder


LABELS = {"output": "label", "labels": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("generate", {}, "generate is a command; give the task another id."),
        ("compare", {}, "compare is a part of the page; give the task another id."),
        ("prose", {}, "prose is a kind of data; give the task another id."),
        (
            "Urgency",
            {},
            "the id of a task is a lower-case letter, then letters, digits and underscores, at most 40; rename",
        ),
        ("how-urgent", {}, "the id of a task is a lower-case letter"),
        ("mine", {"instruction": None}, "instruction is None"),
        ("mine", {"instruction": "Rewrite it."}, "instruction lacks {text}; put it where the person's text goes."),
        ("mine", {"instruction": "{text} {text}"}, "instruction contains {text} more than once; keep one where"),
        (
            "mine",
            {"instruction": "For {who}:\n{text}"},
            "instruction contains {who}, which is no field; add it to fields",
        ),
        (
            "mine",
            {"fields": {"who": {}}},
            "instruction lacks {who}, so the field changes nothing; put it there, or remove",
        ),
        ("mine", {"fields": {"Who": {}}}, "fields: 'Who' is no name of lower-case letters"),
        ("mine", {"fields": {"seed": {}}}, "fields: the name seed is taken; rename the field, and set its label."),
        ("mine", {"fields": {"from": {}}}, "fields: the name from is taken"),
        ("mine", {"fields": {"who": {"choice": ["a"]}}}, "the field fields.who.choice is unknown"),
        ("mine", {"fields": {"who": {"choices": []}}}, "fields: choices of who: the list is empty"),
        (
            "mine",
            {"fields": {"who": {"choices": ["a", "a"]}}},
            "fields: choices of who: 'a' is there twice; remove one.",
        ),
        ("mine", {"fields": {"who": {"choices": ["a "]}}}, "fields: choices of who: 'a ' has spaces around it"),
        (
            "mine",
            {"fields": {"who": {"number": [3, 1]}}},
            "fields: number of who is [3, 1]; give the lowest value, then",
        ),
        ("mine", {"fields": {"who": {"number": [3]}}}, "fields.who.number[1] is missing"),
        (
            "mine",
            {"fields": {"who": {"number": [1, 2], "choices": ["a"]}}},
            "fields: who has choices and number; keep one",
        ),
        ("mine", {"title": "x" * 41}, "title is 'xxx"),
        ("mine", {"title": "Explain"}, "title is 'Explain', which is a part of the page; give another title."),
        ("model_", {}, "title is 'Model', which is a part of the page"),
        ("mine", {"output": "number"}, "output is 'number'"),
        ("mine", {"labels": ["a", "b"]}, 'labels are given, but output is "text"; set output to "label", or remove'),
        ("mine", {"output": "label"}, "labels is []; give at least two to choose from."),
        ("mine", LABELS | {"labels": ["a"]}, "labels is ['a']; give at least two to choose from."),
        ("mine", LABELS | {"labels": ["a", "a"]}, "labels: 'a' is there twice; remove one."),
        ("mine", LABELS | {"labels": ["a", ""]}, "labels: '' has spaces around it, unusual characters"),
        (
            "mine",
            LABELS | {"labels": ["very", "very high"]},
            "labels: 'very high' begins with 'very', which would always",
        ),
        ("mine", LABELS | {"labels": ["1", "2", "10"]}, "labels: '10' begins with '1', which would always"),
        (
            "mine",
            LABELS | {"labels": [str(number) for number in range(1000, 1300)]},
            "there are 300 labels; give at most",
        ),
        ("mine", {"fields": {"values": {}}}, "fields: the name values is taken"),
        ("mine", {"fields": {"who": {"number": [0, 10**20]}}}, "fields: number of who is out of range"),
        ("mine", {"instruction": "x" * 4001 + "{text}"}, "instruction has 4,007 characters; shorten it"),
        ("sentiment", {"instruction": "{text}"}, "sentiment: a built-in task keeps its instruction"),
        ("sentiment", {"labels": ["positive", "negative", "negative a"]}, "'negative a' begins with 'negative'"),
        ("sentiment", {"labels": ["positive", "negative", "neutral", "neutral"]}, "'neutral' is there twice"),
        ("mine", LABELS | {"metric": "rouge"}, "metric is 'rouge'; for the output label give one of accuracy."),
        ("mine", {"metric": "beauty"}, "metric is 'beauty'; for the output text give one of chrf, rouge, exact_match."),
        ("mine", {"examples": [{"title": "a"}]}, "examples: number 1 has 'title', which is no field; add it to fields"),
        ("mine", {"examples": [{"text": "a"}, {}]}, "examples: number 2: The text is empty."),
        ("mine", {"decoding": {"beams": 2}}, "decoding of mine has ['beams']; it takes max_new_tokens"),
        ("mine", {"label": ["a", "b"]}, "the field label is unknown; labels may be meant. It is none of generation"),
    ],
)
def test_a_wrong_declaration_is_refused_with_file_field_and_what_to_do(
    name: str, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    entry = changes if name == "sentiment" else {"instruction": "Rewrite {text}."} | changes
    folder = write(tmp_path / "adapter", **{name: entry})
    with pytest.raises(ModelError) as error:
        read_adapter_tasks(folder)
    assert str(error.value).startswith("adapter/tasks.json: ")
    assert name in str(error.value)
    assert told in str(error.value)


LONG = "x" * 10_000


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (LONG, {}),
        ("mine", {LONG: 1}),
        ("mine", {"title": LONG}),
        ("mine", {"instruction": [LONG]}),
        ("mine", {"instruction": f"{{{'x' * 3000}}} {{text}}"}),
        ("mine", {"fields": {LONG: {}}}),
        ("mine", {"fields": {f"{LONG}!": {}}}),
        ("mine", {"fields": {"who": {LONG: 1}}}),
        ("mine", {"fields": {"who": {"choices": [LONG, LONG]}}}),
        ("mine", LABELS | {"labels": [LONG]}),
        ("mine", LABELS | {"labels": [LONG, f"{LONG} "]}),
        ("mine", LABELS | {"labels": [LONG, f"{LONG}y"]}),
        ("mine", {"metric": LONG}),
        ("mine", {"examples": [{LONG: "a"}]}),
        ("mine", {"decoding": {LONG: 2}}),
        ("mine", {"decoding": {"num_beams": LONG}}),
        ("sentiment", {"labels": [LONG]}),
        ("sentiment", {"languages": [LONG]}),
        ("sentiment", {"languages": LONG}),
    ],
)
def test_a_message_on_a_huge_declaration_is_short(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    entry = changes if name == "sentiment" else {"instruction": "Rewrite {text}."} | changes
    with pytest.raises(ModelError) as error:
        read_adapter_tasks(write(tmp_path / "adapter", **{name: entry}))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("row", [{"team": LONG}, {"days": LONG}, {"note": [LONG]}, {"output": LONG}, {LONG: 1}])
def test_a_message_on_a_huge_row_is_short(row: dict[str, Any]) -> None:
    task = urgency(labels=["low", *(f"{number:03}{LONG}" for number in range(100))])
    told = task.problem_of_row({"task": "urgency", "text": "It leaks.", "output": "low"} | row)
    assert 0 < len(told) < 2000


def test_a_file_is_read_and_written_with_its_tasks_behind_the_built_in_ones(tmp_path: Path) -> None:
    read = read_adapter_tasks(write(tmp_path / "a", urgency=URGENCY, polite=POLITE, translation={}))
    assert read.tasks == ("translation", "urgency", "polite")
    assert read.own == (urgency(), polite())
    assert read.generation("polite").max_new_tokens == 40
    assert read.generation("urgency") == GenerationOptions()
    (tmp_path / "a" / FILE).write_text(read.to_json())
    assert read_adapter_tasks(tmp_path / "a") == read
    assert read_adapter_tasks(tmp_path).joined(read).own == read.own


def test_a_task_is_known_once_it_is_registered_and_only_in_one_way(tmp_path: Path) -> None:
    first, same = write(tmp_path / "a", urgency=URGENCY), write(tmp_path / "b", urgency=URGENCY)
    register_declared(first, same, None)
    assert list(TASKS)[5:] == ["urgency"]
    with pytest.raises(ModelError, match="The task urgency is declared in two ways by the models that are loaded"):
        register_declared(write(tmp_path / "c", urgency=URGENCY | {"title": "Other"}))


def test_the_tasks_of_one_test_are_unknown_to_the_next() -> None:
    assert len(TASKS) == 5


def test_a_built_in_task_may_have_more_labels(tmp_path: Path) -> None:
    labels = ("positive", "neutral", "negative")
    read = read_adapter_tasks(write(tmp_path / "a", sentiment={"labels": list(labels)}))
    assert read.tasks == ("sentiment",)
    register(read.own)
    asked = TASKS["sentiment"].prompt("So so.", TASKS["sentiment"].options_type())
    assert asked == "Instruct: Is the sentiment of the following text positive, neutral or negative?\nSo so.\nOutput:"
    (result,) = Assistant(ScriptedEngine()).answer(
        check(Request("sentiment", "neutral", TASKS["sentiment"].options_type(), GenerationOptions()))
    )
    assert (result.text, tuple(result.probabilities)) == ("neutral", labels)
    with pytest.raises(ModelError, match=r"labels is \['good', 'bad'\]; give negative, positive and any others"):
        read_adapter_tasks(write(tmp_path / "a", sentiment={"labels": ["good", "bad"]}))
    with pytest.raises(ModelError, match="translation has no labels to choose from; remove labels"):
        read_adapter_tasks(write(tmp_path / "a", translation={"labels": ["good", "bad"]}))
    assert Sentiment() == Sentiment() != Sentiment(labels)


FILLED = {"team": "sales", "days": 3, "note": "a {text} of {team}"}
QUESTION = "How urgent is this for sales, 3 days before the deadline? Note: a {text} of {team}"


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (PHI, f"Instruct: {QUESTION}\nIt {{team}} leaks.\nOutput:"),
        (PLAIN, f"<|endoftext|>{QUESTION}\nIt {{team}} leaks.\nHow urgent:"),
        (
            NAMED["alpaca"],
            "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
            f"response that appropriately completes the request.\n\n### Instruction:\n{QUESTION}\n\n"
            "### Input:\nIt {team} leaks.\n\n### Response:\n",
        ),
    ],
)
def test_what_is_typed_in_braces_stays_as_typed(template: Any, prompt: str) -> None:
    task = urgency()
    assert task.prompt("It {team} leaks.", task.options_type(**FILLED), template) == prompt


def test_a_text_within_the_instruction_has_no_input_of_its_own() -> None:
    task = polite()
    prompt = task.prompt("go away", task.options_type(), NAMED["alpaca"])
    assert "### Input:" not in prompt
    assert "### Instruction:\nRewrite go away politely.\n\n### Response:\n" in prompt


def test_fields_have_defaults_and_survive_json() -> None:
    options = urgency().options_type(days=3.0)
    assert asdict(options) == {"team": "support", "days": 3, "note": ""}
    assert urgency().options_type(**json.loads(json.dumps(asdict(options)))).__dict__ == asdict(options)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("team", "kitchen", "team is 'kitchen'; give one of support, sales."),
        ("team", None, "team is None; give one of support, sales."),
        ("days", 31, "days is 31; give a whole number from 0 to 30."),
        ("days", 2.5, "days is 2.5; give a whole number from 0 to 30."),
        ("days", True, "days is True; give a whole number from 0 to 30."),
        ("days", "3", "days is '3'; give a whole number from 0 to 30."),
        ("note", 3, "note is 3; give a text."),
        ("note", "x" * 2001, "note has 2,001 characters; at most 2,000 are read. Shorten it."),
        ("note", "a\x00", 'The field "note" holds NUL bytes'),
    ],
)
def test_values_that_a_field_does_not_take(name: str, value: object, told: str) -> None:
    with pytest.raises((SettingsError, InputError)) as error:
        urgency().options_type(**{name: value})
    assert told in str(error.value)


@pytest.mark.parametrize(("typed", "value"), [("3", 3), (" 3.0", 3), ("three", None), ("nan", None), ("²", None)])
def test_a_number_is_typed_on_the_command_line(typed: str, value: int | None) -> None:
    days = urgency().fields["days"]
    if value is None:
        with pytest.raises(SettingsError, match=f"days is .*{typed}.*; give a whole number from 0 to 30"):
            days.parse("days", typed)
    else:
        assert days.parse("days", typed) == value


def test_a_row_of_data_gives_text_and_fields() -> None:
    task = urgency()
    row = {"task": "urgency", "text": "It leaks.", "days": 4, "output": "low"}
    assert task.problem_of_row(row) == ""
    assert task.from_row(row) == ("It leaks.", task.options_type(days=4))
    assert task.problem_of_row(row | {"output": "lwo"}) == "output is 'lwo'; give one of low, medium, very high."
    assert task.problem_of_row(row | {"team": "x"}) == "team is 'x'; give one of support, sales."
    assert task.problem_of_row(row | {"taem": "x"}) == "taem is no field of urgency; it has team, days, note."


def test_a_request_is_answered_and_its_receipt_replayed() -> None:
    register((urgency(), polite()))
    assistant = Assistant(ScriptedEngine())
    options = TASKS["urgency"].options_type(**FILLED | {"note": "  two\u00a0 spaces "})
    (result,) = assistant.answer(check(Request("urgency", "very very low", options, GenerationOptions())))
    assert result.text == "very high"
    assert "Note: two spaces\nvery very low" in result.receipt.prompt
    receipt = Receipt.from_json(result.receipt.to_json())
    assert receipt.options == {"team": "sales", "days": 3, "note": "  two\u00a0 spaces "}
    *_, last = assistant.replay(receipt)
    assert last.results is not None
    assert last.results[0].text == "very high"
    (text,) = assistant.answer(check(Request("polite", "go", TASKS["polite"].options_type(), GenerationOptions())))
    assert text.receipt.prompt == "Instruct: Rewrite go politely.\nOutput:"
    with pytest.raises(InputError, match="The receipt's options do not fit this version"):
        next(assistant.replay(replace(receipt, options={"who": "x"})))


def test_an_adapter_with_only_own_tasks_offers_no_other(tmp_path: Path) -> None:
    read = read_adapter_tasks(write(tmp_path / "a", polite=POLITE))
    assert read.tasks == ("polite",)
    assert read.default_options("polite") == read.own[0].options_type()
    assert (
        read.missing("sentiment", TASKS["sentiment"].options_type()) == "This adapter was not finetuned for sentiment."
    )
    assert AdapterTasks().tasks == ("generation", "summarization", "translation", "sentiment", "question_answering")


def test_a_percent_sign_in_a_choice_is_shown_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    task = make_own_task("offer", {"instruction": "{text} {cut}", "fields": {"cut": {"choices": ["50%", "10% off"]}}})
    parser = arguments.Parser("ask")
    arguments.add_task_arguments(parser, task)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    assert "cut (one of 50%, 10% off)" in " ".join(capsys.readouterr().out.split())
