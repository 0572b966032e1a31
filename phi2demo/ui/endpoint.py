"""What endpoints have in common: how long they wait, what a client may give, and the errors it is told."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import gradio as gr

from phi2demo.data.checks import check_choice
from phi2demo.engine.engine import RANGES, SWITCHES, GenerationOptions
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError, SettingsError
from phi2demo.evaluation.confidence import ConfidenceBands
from phi2demo.evaluation.reports import REPORTS_FOLDER
from phi2demo.settings import LONGEST_S
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, VariantTasks
from phi2demo.tasks.request import PromptStyle, TaskOptions
from phi2demo.tasks.run import Assistant
from phi2demo.tasks.task import AnyTask
from phi2demo.ui.options import check_time_limit

log = logging.getLogger(__name__)

LOADING_TIMEOUT_S = 120.0
"""How long a call waits for the weights."""
FRAME_S = 0.2
"""Partial answers come at most this often."""

BasePromptStyle = PromptStyle | None
Options = dict[str, float | bool] | None


class Endpoint:
    """What endpoints that answer have in common."""

    def __init__(
        self,
        loader: EngineLoader,
        declared: VariantTasks,
        *,
        reports: Path = REPORTS_FOLDER,
        longest_s: float = LONGEST_S,
    ) -> None:
        """`reports` is the folder of evaluation reports: they say what being unsure means.

        A request may take `longest_s` seconds.
        """
        self._loader, self._declared, self._reports, self._longest_s = loader, declared, reports, longest_s

    def _assistant(self) -> Assistant:
        """Waits for the weights; NotReadyError where that takes too long."""
        engine = self._loader.engine(timeout_s=LOADING_TIMEOUT_S)
        return Assistant(engine, self._declared, ConfidenceBands(engine.info, self._reports))


def task_of_command(command: object, adapter_tasks: AdapterTasks) -> AnyTask:
    """The task whose own endpoint has this name; SettingsError where there is none."""
    known = {TASKS[name].command: TASKS[name] for name in adapter_tasks.tasks}
    check_choice("task", command, known)
    return known[str(command)]


def task_options_of(task: AnyTask, given: object, adapter_tasks: AdapterTasks) -> TaskOptions:
    """The options of a task, those given over those it starts with; SettingsError for what it does not take."""
    start = asdict(adapter_tasks.default_options(task.name))
    given = {} if given is None else given
    if not isinstance(given, Mapping) or (unknown := [name for name in given if name not in start]):
        what = f"has {', '.join(map(repr, unknown))}" if isinstance(given, Mapping) else f"is {given!r}"
        raise SettingsError(f"task_options {what}; {task.command} takes {', '.join(start) or 'none'}.")
    return adapter_tasks.adapt(task.options_type(**(start | dict(given))))


@contextmanager
def told_to_client() -> Iterator[None]:
    """Errors that a person can do something about, as the client's own; others are logged and named in short."""
    try:
        yield
    except Phi2DemoError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:
        log.exception("a request of the API failed")
        raise gr.Error(
            "Something went wrong on our side; the log of the app says what.", print_exception=False
        ) from error


def checked_seed(seed: int | None) -> int | None:
    """As given; SettingsError where it is no whole number."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise SettingsError(f"seed is {seed!r}; give a whole number, or null for a random one.")
    return seed


def generation_of(defaults: GenerationOptions, options: Options, *, longest_s: float) -> GenerationOptions:
    """The task's options with those given; SettingsError for what is unknown, out of range or takes too long."""
    defaults = defaults.within(longest_s)
    if options is None:
        return defaults
    known = (*RANGES, *SWITCHES)
    if not isinstance(options, Mapping) or (unknown := [name for name in options if name not in known]):
        what = f"has {', '.join(map(repr, unknown))}" if isinstance(options, Mapping) else f"is {options!r}"
        raise SettingsError(f"options {what}; give values of {', '.join(known)}.")
    return check_time_limit(replace(defaults, **options), longest_s)  # type: ignore[arg-type]
