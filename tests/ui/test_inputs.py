import pytest

from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.request import Request
from phi2demo.ui.inputs import read_examples


@pytest.mark.parametrize("task", TASKS)
def test_every_example_can_be_asked(task: str) -> None:
    examples = read_examples(TASKS[task], AdapterTasks())
    assert len(examples) >= 3
    for example in examples:
        options = TASKS[task].options_type(**example.options)
        TASKS[task].check(Request(task, example.text, options, TASKS[task].generation))


def test_only_declared_languages_and_modes_are_offered() -> None:
    languages = {
        example.options[end]
        for example in read_examples(TASKS["translation"], AdapterTasks(languages=("en", "de")))
        for end in ("source", "target")
    }
    assert languages == {"en", "de"}
    modes = {e.options["mode"] for e in read_examples(TASKS["generation"], AdapterTasks(modes=("continue",)))}
    assert modes == {"continue"}
