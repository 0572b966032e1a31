"""What all endpoints share: their documentation, how long they wait, and how errors reach a client."""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from phi2demo.data.checks import check_choice
from phi2demo.engine.engine import RANGES, SWITCHES, GenerationOptions
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError, SettingsError, listed, quoted
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
"""The time that a call waits for the weights."""
FRAME_S = 0.2
"""Partial answers come at most this often."""

BasePromptStyle = PromptStyle | None
Options = dict[str, float | bool] | None


DECODING = (
    "max_new_tokens, temperature, top_p, top_k, repetition_penalty, no_repeat_ngram_size, num_beams, "
    "guidance_scale, copy_bias, adapter_strength, time_limit_s"
)
"""The options of every task that generates text."""
SENTENCE_CASE = "sentence_case (true: convert a text in capitals, or without any, to sentence case)"

_PARAMETERS = {
    "variant": '"finetuned", "base", "both" (finetuned and base), "all", or the name of a further adapter; null: '
    "finetuned, or base where there is no adapter.",
    "seed": "A whole number; the same seed gives the same sampled answer. null: a random seed, given in the receipt.",
    "options": f"Any of {DECODING}.",
    "base_prompt_style": 'The prompt of the base: "plain" (a text to continue) or "template" (with the prompt template); '
    "null: plain where the folder of the base records that it was pretrained without instructions, else template.",
    "task": '"generate", "summarize", "translate", "classify", "answer", or the id of a task that the adapter declares.',
    "task_options": "The options of that task, as its own endpoint takes them: mode, length, source and target, question, or "
    "the fields of a declared task.",
}
"""Descriptions of parameters that several endpoints take."""

_FIELDS = {
    "probabilities": "the probability of each label",
    "mean_probability": "the mean probability of the tokens of the answer, or the probability of the label",
    "confidence_band": "the score that answers with a similar probability have on a test set, where that was measured",
    "withheld": "an answer that was withheld because the text does not support it",
    "alternatives": "the candidates that each part of the answer was chosen from; missing where num_beams is 1",
}
"""Fields that only some answers have."""

Function = TypeVar("Function", bound=Callable[..., Any])


def documented(*, returns: str, **parameters: str) -> Callable[[Function], Function]:
    """Complete the docstring of an endpoint for gradio's API page, where every description has to be one line.

    `parameters` are the descriptions of its own parameters; shared ones are added. A parameter without any is a KeyError.
    """

    def complete(function: Function) -> Function:
        descriptions = _PARAMETERS | parameters
        names = [name for name in inspect.signature(function).parameters if name != "self"]
        lines = [f"{name}: {descriptions[name]}" for name in names]
        function.__doc__ = (
            "\n    ".join([f"{function.__doc__}\n\nParameters:", *lines]) + f"\n\nReturns:\n    {returns}"
        )
        return function

    return complete


def answer_with(*fields: str) -> str:
    """Describe the answer of a task's endpoint, which has these fields besides those of every answer."""
    names = ", ".join(f'"{name}"' for name in ("text", "variant", "notes", "facts", "receipt", *fields))
    described = "".join(f" {name}: {_FIELDS[name]}." for name in fields)
    return f'{{{names}}}; a list of these for "both" and "all".{described}'


class Endpoint:
    """The base of endpoints that answer."""

    def __init__(
        self,
        loader: EngineLoader,
        declared: VariantTasks,
        *,
        reports: Path = REPORTS_FOLDER,
        longest_s: float = LONGEST_S,
    ) -> None:
        """Create the endpoint; `reports` is the folder of evaluation reports, which tell what a low confidence means.

        A request may take `longest_s` seconds.
        """
        self._loader, self._declared, self._reports, self._longest_s = loader, declared, reports, longest_s

    def _assistant(self) -> Assistant:
        """Waits for the weights; NotReadyError where that takes too long."""
        engine = self._loader.engine(timeout_s=LOADING_TIMEOUT_S)
        return Assistant(engine, self._declared, ConfidenceBands(engine.info, self._reports))


def task_of_command(command: object, adapter_tasks: AdapterTasks) -> AnyTask:
    """Return the task whose endpoint has this name; SettingsError where there is none."""
    known = {TASKS[name].command: TASKS[name] for name in adapter_tasks.tasks}
    check_choice("task", command, known)
    return known[str(command)]


def task_options_of(task: AnyTask, options: object, adapter_tasks: AdapterTasks) -> TaskOptions:
    """Return the options of a task: those given, and defaults for the others; SettingsError for unknown ones."""
    start = asdict(adapter_tasks.default_options(task.name))
    options = {} if options is None else options
    if not isinstance(options, Mapping) or (unknown := [name for name in options if name not in start]):
        what = f"has {listed(map(repr, unknown))}" if isinstance(options, Mapping) else f"is {quoted(options)}"
        raise SettingsError(f"task_options {what}; {task.command} takes {listed(start) or 'none'}.")
    return adapter_tasks.adapt(task.options_type(**(start | dict(options))))


@contextmanager
def errors_for_client() -> Iterator[None]:
    """Raise errors for the client: messages of our own as they are, others as a short one, with the details in the log."""
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
    """Return the seed; SettingsError where it is no whole number."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise SettingsError(f"seed is {quoted(seed)}; give a whole number, or null for a random one.")
    return seed


def generation_of(defaults: GenerationOptions, options: Options, *, longest_s: float) -> GenerationOptions:
    """Return the options of a task, with defaults for those not given; SettingsError for what is unknown or out of range."""
    defaults = defaults.within(longest_s)
    if options is None:
        return defaults
    known = (*RANGES, *SWITCHES)
    if not isinstance(options, Mapping) or (unknown := [name for name in options if name not in known]):
        what = f"has {listed(map(repr, unknown))}" if isinstance(options, Mapping) else f"is {quoted(options)}"
        raise SettingsError(f"options {what}; give values of {', '.join(known)}.")
    return check_time_limit(replace(defaults, **options), longest_s)  # type: ignore[arg-type]
