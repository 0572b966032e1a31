"""What a person can ask for: one file per task, and the way of a request. Knows nothing of torch or of the page."""

from collections.abc import Iterable

from phi2demo.errors import ModelError, SettingsError, listed, quoted
from phi2demo.tasks.generation import Generation
from phi2demo.tasks.question_answering import QuestionAnswering
from phi2demo.tasks.sentiment import Sentiment
from phi2demo.tasks.summarization import Summarization
from phi2demo.tasks.task import AnyTask
from phi2demo.tasks.translation import Translation

TASKS: dict[str, AnyTask] = {
    task.name: task for task in (Generation(), Summarization(), Translation(), Sentiment(), QuestionAnswering())
}
"""Every task, in the order of the tabs: the built-in ones, then those that `register` added."""
BUILT_IN = dict(TASKS)
"""The tasks that every model has."""


def register(tasks: Iterable[AnyTask]) -> None:
    """Add tasks that a tasks.json declares, also built-in ones with labels of their own.

    Raises ModelError where another file has declared the same task differently.
    """
    for task in tasks:
        present = TASKS.get(task.name)
        if present == task:
            continue
        if present is not None and present is not BUILT_IN.get(task.name):
            raise ModelError(
                f"The task {task.name} is declared in two ways by the models that are loaded. Give one of the two another "
                "name in its tasks.json, or declare both alike."
            )
        TASKS[task.name] = task


def task_named(name: str) -> AnyTask:
    """Return the task of a name; SettingsError where there is none."""
    if not isinstance(name, str) or name not in TASKS:
        raise SettingsError(f"There is no task {quoted(name)}; choose one of {listed(TASKS)}.")
    return TASKS[name]
