"""What a person can ask for: one file per task, and the way of a request. Knows nothing of torch or of the page."""

from phi2demo.errors import SettingsError
from phi2demo.tasks.generation import Generation
from phi2demo.tasks.question_answering import QuestionAnswering
from phi2demo.tasks.sentiment import Sentiment
from phi2demo.tasks.summarization import Summarization
from phi2demo.tasks.task import AnyTask
from phi2demo.tasks.translation import Translation

TASKS: dict[str, AnyTask] = {
    task.name: task for task in (Generation(), Summarization(), Translation(), Sentiment(), QuestionAnswering())
}
"""Every task, in the order of the tabs."""


def task_named(name: str) -> AnyTask:
    """Return the task of a name; SettingsError where there is none."""
    if not isinstance(name, str) or name not in TASKS:
        raise SettingsError(f"There is no task {name!r}; choose one of {', '.join(TASKS)}.")
    return TASKS[name]
