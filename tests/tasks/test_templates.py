"""The prompts, by their exact strings: app, evaluation and training stand on them."""

import pytest

from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
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
    assert task.stop == ("\nInstruct:", "\nOutput:")
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
