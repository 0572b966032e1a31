"""The prompts, by their exact strings: app, evaluation and training stand on them."""

import re
from typing import Any

import pytest

from phi2demo.engine.engine import ChatTemplate, visible
from phi2demo.errors import SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.templates import find_template, make_template, missing_tokens
from phi2demo.tasks.translation import TranslationOptions

PROMPTS: list[tuple[str, TaskOptions, str]] = [
    ("generation", GenerationTaskOptions("continue"), "Instruct: Continue the following text.\nThe text.\nOutput:"),
    ("generation", GenerationTaskOptions("instruct"), "Instruct: The text.\nOutput:"),
    (
        "summarization",
        SummaryOptions("sentence"),
        "Instruct: Summarize the following text in one sentence.\nThe text.\nOutput:",
    ),
    (
        "summarization",
        SummaryOptions("short"),
        "Instruct: Summarize the following text in two or three sentences.\nThe text.\nOutput:",
    ),
    (
        "summarization",
        SummaryOptions("medium"),
        "Instruct: Summarize the following text in a short paragraph.\nThe text.\nOutput:",
    ),
    (
        "summarization",
        SummaryOptions("medium", by_parts=True),
        "Instruct: Summarize the following text in one sentence.\nThe text.\nOutput:",
    ),
    (
        "translation",
        TranslationOptions("en", "de"),
        "Instruct: Translate the following text from English to German.\nThe text.\nOutput:",
    ),
    (
        "translation",
        TranslationOptions("pt", "nl"),
        "Instruct: Translate the following text from Portuguese to Dutch.\nThe text.\nOutput:",
    ),
    (
        "sentiment",
        SentimentOptions(),
        "Instruct: Is the sentiment of the following text positive or negative?\nThe text.\nOutput:",
    ),
    (
        "question_answering",
        QuestionOptions(" Who? "),
        "Instruct: Answer the question from the following text.\nThe text.\nQuestion: Who?\nOutput:",
    ),
]


@pytest.mark.parametrize(("task", "options", "prompt"), PROMPTS)
def test_prompts(task: str, options: TaskOptions, prompt: str) -> None:
    assert TASKS[task].prompt("The text.", options) == prompt


def test_every_task_has_its_prompt_tested() -> None:
    assert {task for task, _, _ in PROMPTS} == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_found_by_its_name_and_command(name: str) -> None:
    task = TASKS[name]
    assert task.name == name
    assert task.command.isalpha()
    assert len({other.command for other in TASKS.values()}) == len(TASKS)


@pytest.mark.parametrize(
    ("task", "raw", "clean"),
    [
        ("generation", "  once\n\nmore \n", "once\n\nmore"),
        ("summarization", "\n It says so. \n", "It says so."),
        ("translation", " Ein Satz\nüber\t zwei  Zeilen. ", "Ein Satz über zwei Zeilen."),
        ("translation", " \n", ""),
        ("question_answering", "\n in Rome \nQuestion: and who?", "in Rome"),
        ("question_answering", "", ""),
    ],
)
def test_clean_up(task: str, raw: str, clean: str) -> None:
    assert TASKS[task].clean(raw) == clean


SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "</s>",
)
ALPACA = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:\n"  # noqa: E501
ALPACA_ALONE = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Response:\n"  # noqa: E501
CHATML = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
INSTRUCTIONS = {
    "generation": ("The text.", None),
    "summarization": ("Summarize the following text in one sentence.", "The text."),
    "translation": ("Translate the following text from English to German.", "The text."),
    "sentiment": ("Is the sentiment of the following text positive or negative?", "The text."),
    "question_answering": ("Answer the question from the following text.", "The text.\nQuestion: Who?"),
}
ASKED: dict[str, TaskOptions] = {
    "generation": GenerationTaskOptions("instruct"),
    "summarization": SummaryOptions("sentence"),
    "translation": TranslationOptions("en", "de"),
    "sentiment": SentimentOptions(),
    "question_answering": QuestionOptions("Who?"),
}


@pytest.mark.parametrize("task", INSTRUCTIONS)
@pytest.mark.parametrize("name", ["phi", "alpaca", "chatml", "own"])
def test_a_task_in_each_template(name: str, task: str) -> None:
    instruction, text = INSTRUCTIONS[task]
    whole = instruction if text is None else f"{instruction}\n{text}"
    expected = {
        "phi": f"Instruct: {whole}\nOutput:",
        "alpaca": ALPACA_ALONE.format(instruction) if text is None else ALPACA.format(instruction, text),
        "chatml": CHATML.format(whole),
        "own": f"### User: {whole}\n### Assistant:",
    }
    template = make_template("### User: {prompt}\\n### Assistant:" if name == "own" else name)
    assert visible(TASKS[task].prompt("The text.", ASKED[task], template)) == expected[name]


def test_the_answer_follows_a_template_as_it_did_in_training() -> None:
    separators = {name: make_template(name).separator for name in ("phi", "alpaca", "chatml", "plain")}
    assert separators == {"phi": " ", "alpaca": "", "chatml": "", "plain": " "}
    assert make_template("<|user|>{prompt}<|assistant|>").separator == ""


@pytest.mark.parametrize("name", ["phi", "alpaca", "chatml", "[INST] {prompt} [/INST]"])
@pytest.mark.parametrize("text", ["{prompt}", "{input} {system}", "<|im_end|>", "\\n{prompt"])
def test_a_text_that_looks_like_a_template_is_taken_as_it_stands(name: str, text: str) -> None:
    template, options = make_template(name), SentimentOptions()
    prompt = TASKS["sentiment"].prompt(text, options, template)
    assert prompt == TASKS["sentiment"].prompt("X\x02X", options, template).replace("X\x02X", text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "vicuna",
            "There is no template 'vicuna'; give one of phi, alpaca, chatml, plain, chat, or a text with {prompt}",
        ),
        ("{prompt} and {prompt}", "must contain {prompt} exactly once"),
        ("chat", "the tokenizer has no chat template"),
        ("{input} {prompt}", "has {input} before {prompt}; put it after"),
    ],
)
def test_a_template_that_cannot_be_is_refused(given: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        make_template(given)


def test_a_system_text_needs_a_place() -> None:
    chatml = make_template("chatml", "Be brief.")
    assert visible(chatml.text).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    with pytest.raises(SettingsError, match="The template phi takes no system text"):
        make_template("phi", "Be brief.")
    with pytest.raises(SettingsError, match=r"The system text contains \{prompt\} or \{input\}"):
        make_template("chatml", "x {prompt} y")
    own = make_template("{system}\\n{prompt}\\n", "Say <|im_end|>.")
    assert own.text == "Say <|im_end|>.\n{prompt}\n", "a special token in a system text is no token"


def test_the_order_in_which_a_template_is_chosen() -> None:
    chat = ChatTemplate("{prompt}\n")
    everything: dict[str, Any] = {
        "given": "alpaca",
        "declared": "chatml",
        "system": None,
        "chat": chat,
        "architecture": "phi",
    }
    names = []
    for left_out in ("given", "declared", "chat", "architecture"):
        template = find_template(**everything)
        names.append((template.name, template.reason))
        everything[left_out] = "gpt2" if left_out == "architecture" else None
    names.append((find_template(**everything).name, find_template(**everything).reason))
    assert names == [
        ("alpaca", "given at the start"),
        ("chatml", "declared by the adapter's tasks.json"),
        ("chat", "the tokenizer's own"),
        ("phi", "Phi-2's own"),
        ("plain", "nothing says how this model was trained"),
    ]


def test_tokens_that_the_tokenizer_lacks_are_named() -> None:
    assert missing_tokens(make_template("phi"), []) == ""
    assert missing_tokens(make_template("chatml"), SPECIAL) == ""
    assert "no token <|im_start|> or <|im_end|>" in missing_tokens(make_template("chatml"), ["<|endoftext|>"])
