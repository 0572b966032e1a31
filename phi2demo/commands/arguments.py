"""Command-line arguments that several commands share, and the settings they become. They override the environment."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import RANGES, SWITCHES, GenerationOptions, Variant, adapter_variants, variants_named
from phi2demo.errors import SettingsError, listed, quoted
from phi2demo.settings import (
    LONGEST_S,
    SERVED_LONGEST_S,
    Device,
    Dtype,
    EngineName,
    ModelSettings,
    Quantization,
    ServerSettings,
    model_settings_from,
    server_settings_from,
)
from phi2demo.tasks import BUILT_IN, TASKS
from phi2demo.tasks.declared import AdapterTasks, register_declared
from phi2demo.tasks.generation import MODES, GenerationTaskOptions
from phi2demo.tasks.own_task import OwnTask
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import PROMPT_STYLES, TaskOptions
from phi2demo.tasks.summarization import LENGTHS, SummaryOptions
from phi2demo.tasks.task import AnyTask

if TYPE_CHECKING:
    from phi2demo.engine.planning import ModelPlan

_MODEL_HELP = {
    "model": "folder or hub id of the base model; default: the one that the adapter names, or the embedded one",
    "adapter": "folder or hub id of a PEFT adapter",
    "revision": "commit, tag or branch of the base model on the hub",
    "adapter_revision": "commit, tag or branch of the adapter on the hub",
    "template": "how the model is prompted: phi, alpaca, chatml, chat (of the tokenizer), plain, or a text with {prompt}",
    "system": "system text for a template that takes one",
    "base": "base of a wholly finetuned --model, to compare it with",
}
_MODEL_OPTIONS = (*_MODEL_HELP, "device", "dtype", "engine", "quantize")
_REPEATED = ("adapter", "adapter_revision")


class Parser(argparse.ArgumentParser):
    """An argument parser that raises SettingsError, so that wrong arguments end in one line like any other error."""

    def __init__(self, command: str, **arguments: Any) -> None:
        super().__init__(prog=f"python -m phi2demo {command}".strip(), allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """Raise SettingsError instead of exiting."""
        raise SettingsError(f"{message}. See {self.prog} --help.")


class _Once(argparse.Action):
    """Stores a value, and refuses a second one, which would replace the first without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} is given twice, and this command takes one. Run it once for each")
        setattr(namespace, self.dest, values)


def option(name: str) -> str:
    """Return the argument of a field: `max_new_tokens` is set by --max-new-tokens."""
    return "--" + name.replace("_", "-")


def add_model_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the arguments that choose the model, with several adapters on one base where the command compares them."""
    group = parser.add_argument_group("model")
    for name, help_text in _MODEL_HELP.items():
        if name not in _REPEATED:
            group.add_argument(option(name), help=help_text)
        elif several:
            group.add_argument(
                option(name), action="append", help=f"{help_text}; may be given again, to compare several"
            )
        else:
            group.add_argument(option(name), action=_Once, help=help_text)
    group.add_argument(
        "--device", choices=get_args(Device), help="an explicit choice never falls back to another device"
    )
    group.add_argument("--dtype", choices=get_args(Dtype))
    group.add_argument(
        "--engine",
        choices=get_args(EngineName),
        help="the library that generates; onnx is ONNX Runtime GenAI, on a CPU",
    )
    group.add_argument("--quantize", choices=get_args(Quantization), help="weights of --engine onnx; none is float32")


def model_settings(
    arguments: argparse.Namespace, environment: Mapping[str, str] | None = None, *, several: bool = False
) -> ModelSettings:
    """Return the settings from the arguments, else from the environment; `several` is as in `add_model_arguments`."""
    overrides = {name: getattr(arguments, name) for name in _MODEL_OPTIONS}
    return model_settings_from(environment, overrides, several=several)


def model_options(settings: ModelSettings) -> list[str]:
    """Return the arguments from which another process gets the same settings; it inherits the environment."""
    values = {name: getattr(settings, name) for name in _MODEL_OPTIONS}
    return [f"{option(name)}={value}" for name, value in values.items() if value is not None]


def check_variants(option: str, choice: str, settings: ModelSettings) -> tuple[Variant, ...]:
    """Return the variants of a choice; SettingsError where an adapter that it names is not given."""
    others = adapter_variants(settings.other_adapters)
    try:
        return variants_named(choice, others)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error} Give a further adapter with another --adapter.") from error


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for serving the page."""
    group = parser.add_argument_group("page")
    group.add_argument("--host", help=f"address to serve at; default: {ServerSettings.host}, on a Space 0.0.0.0")
    group.add_argument("--port", type=int, help=f"0 for any free port; default: {ServerSettings.port}")
    group.add_argument("--share", action="store_true", default=None, help="create a public link, valid for three days")
    group.add_argument("--auth", metavar="USER:PASSWORD", help="login that every visitor has to enter")
    group.add_argument("--public", action="store_true", default=None, help="allow a public link without a password")
    group.add_argument(
        "--time-limit",
        type=int,
        metavar="SECONDS",
        help=f"longest time of one request; default: {SERVED_LONGEST_S} where others are served, else {LONGEST_S}",
    )


def server_settings(arguments: argparse.Namespace, environment: Mapping[str, str] | None = None) -> ServerSettings:
    """Settings from the arguments, else from the environment."""
    names = ("host", "port", "share", "auth", "public", "time_limit")
    return server_settings_from(environment, {name: getattr(arguments, name) for name in names})


def add_generation_arguments(
    parser: argparse.ArgumentParser,
    defaults: GenerationOptions,
    *,
    reversible: bool,
    may_withhold: bool = False,
    recases: bool = False,
    labels: bool = False,
) -> None:
    """Add the arguments for generation; a task with `labels` generates no tokens and gets only the adapter strength."""
    group = parser.add_argument_group("generation", "An adapter may declare other defaults.")
    for name, (low, high) in RANGES.items():
        if labels and name != "adapter_strength":
            continue
        if (name == "reverse_weight" and not reversible) or (name == "min_support" and not may_withhold):
            continue
        group.add_argument(
            option(name.removesuffix("_s")),
            dest=name,
            type=type(low),
            metavar="SECONDS" if name.endswith("_s") else "N",
            help=f"{low} to {high}; default: {getattr(defaults, name)}",
        )
    if recases:
        group.add_argument(
            "--sentence-case",
            action=argparse.BooleanOptionalAction,
            help="convert a text in all capitals, or without any, to normal sentences; default: as typed",
        )
    if not labels:
        group.add_argument(
            "--stop", action="append", metavar="TEXT", help="text before which the output ends; may be repeated"
        )


def generation_options(arguments: argparse.Namespace, defaults: GenerationOptions) -> GenerationOptions:
    """Return the defaults with the options from arguments; SettingsError where one is out of range."""
    names = (*RANGES, *SWITCHES)
    changes = {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}
    stop = tuple(getattr(arguments, "stop", None) or defaults.stop)
    return replace(defaults, stop=stop, **changes)


def built_in_task(command: str) -> AnyTask:
    """Return the task that has a command of its own."""
    return next(task for task in BUILT_IN.values() if task.command == command)


def find_task(name: str, settings: ModelSettings) -> AnyTask:
    """Return the task of a command or an id; SettingsError where there is none.

    The tasks that the model itself declares are read where it is none of the known ones.
    """
    if name not in _commands():
        from phi2demo.engine.planning import plan

        register_planned(plan(settings))
    known = _commands()
    if name not in known:
        raise SettingsError(f"There is no task {quoted(name)}; this model has {listed(TASKS)}.")
    return known[name]


def register_planned(planned: "ModelPlan") -> None:
    """Make the tasks known that a model and its adapters declare."""
    others = (other.source.folder for other in planned.others)
    register_declared(planned.adapter_folder, *others, base=planned.base_folder)


def _commands() -> dict[str, AnyTask]:
    """Return every task by its command, and by its id."""
    return {task.command: task for task in TASKS.values()} | TASKS


def add_task_arguments(parser: argparse.ArgumentParser, task: AnyTask) -> None:
    """Add the arguments that only this task has."""
    if isinstance(task, OwnTask) and task.fields:
        described = ", ".join(f"{name} ({entry.expects})" for name, entry in task.fields.items()).replace("%", "%%")
        parser.add_argument(
            "--field", dest="own_fields", action="append", default=[], metavar="NAME=VALUE", help=f"one of {described}"
        )
    match task.name:
        case "generation":
            parser.add_argument("--mode", choices=MODES, help="default: the mode that the model was finetuned for")
        case "summarization":
            parser.add_argument("--length", choices=LENGTHS, default="sentence", help="default: sentence")
        case "translation":
            languages = ", ".join(f"{code} {name}" for code, name in LANGUAGES.items())
            parser.add_argument("--from", dest="source", choices=LANGUAGES, metavar="CODE", help=languages)
            parser.add_argument(
                "--to", dest="target", choices=LANGUAGES, metavar="CODE", help="another of these languages"
            )
        case "question_answering":
            parser.add_argument("--question", required=True, help="question about the text")


def add_base_prompt_style(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the prompt style of the base."""
    parser.add_argument(
        "--base-prompt-style",
        choices=PROMPT_STYLES,
        help="prompt style of the base: plain, a text to continue, or template, with the prompt template; "
        "default: plain where its training record says that it was pretrained on it",
    )


def task_options(arguments: argparse.Namespace, task: AnyTask, adapter_tasks: AdapterTasks) -> TaskOptions:
    """Return the task's options from arguments, then from what the adapter declares."""
    if isinstance(task, OwnTask):
        return task.options_from(getattr(arguments, "own_fields", ()))
    match task.name:
        case "generation":
            return GenerationTaskOptions(arguments.mode or adapter_tasks.modes[0])
        case "summarization":
            return SummaryOptions(arguments.length)
        case "translation":
            return adapter_tasks.directions(arguments.source, arguments.target)
        case "question_answering":
            return QuestionOptions(arguments.question)
    return task.options_type()
