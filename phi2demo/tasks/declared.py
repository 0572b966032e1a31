"""What a model says it was finetuned for: `tasks.json` in its folder. Knows nothing of the page."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from phi2demo.data.languages import LANGUAGES, detect_foreign, foreign_script, language_name
from phi2demo.engine.engine import GenerationOptions, ModelInfo, Variant
from phi2demo.errors import ModelError, SettingsError, quoted
from phi2demo.tasks import BUILT_IN, TASKS, register
from phi2demo.tasks.declaration import TaskEntry, TasksFile, problem_in, problem_of_labels
from phi2demo.tasks.generation import MODES, GenerationTaskOptions
from phi2demo.tasks.own_task import make_own_task
from phi2demo.tasks.request import PromptStyle, Request, TaskOptions, best_prompt_style
from phi2demo.tasks.summarization import LENGTHS, SummaryOptions
from phi2demo.tasks.task import AnyTask
from phi2demo.tasks.templates import CHAT, Template, Templates, find_template, make_template
from phi2demo.tasks.translation import TranslationOptions

FILE = "tasks.json"
_DECODING = tuple(option.name for option in fields(GenerationOptions) if option.name not in ("stop", "time_limit_s"))
"""What an adapter may say of how tokens are chosen: the rest is the task's or the person's."""


@dataclass(frozen=True)
class AdapterTasks:
    """Tasks and what each of them offers; a model that declares nothing offers all."""

    tasks: tuple[str, ...] = tuple(TASKS)
    languages: tuple[str, ...] = tuple(LANGUAGES)
    """Of translation."""
    training_languages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of other tasks, where the adapter says in which languages the texts were that it was finetuned on."""
    modes: tuple[str, ...] = tuple(MODES)
    """Of generation."""
    lengths: tuple[str, ...] = tuple(LENGTHS)
    """Of summaries that the model was finetuned on; others are put together from these."""
    decoding: Mapping[str, GenerationOptions] = field(default_factory=dict)
    """Of the tasks for which the adapter says how its tokens are best chosen."""
    template: str | None = None
    """Name or text of the prompt template that the adapter was finetuned with."""
    system: str | None = None
    """The system text of that template."""
    own: tuple[AnyTask, ...] = ()
    """The tasks that the file declares itself, and built-in ones with labels of their own; see `phi2demo.tasks.register`."""

    def __post_init__(self) -> None:
        names: dict[str, str] = {}
        for name in self.tasks:
            other = names.setdefault(self.task(name).title.strip().casefold(), name)
            if other != name:
                raise ModelError(
                    f"The tasks {other} and {name} have the same title {quoted(self.task(name).title)}. Give one of the two "
                    "another title in its tasks.json."
                )

    @property
    def names_tasks(self) -> bool:
        """Whether anything is said besides the prompt template."""
        return replace(self, template=None, system=None) != AdapterTasks()

    def generation(self, task: str) -> GenerationOptions:
        """How the tokens of a task are chosen unless a person says otherwise."""
        return self.decoding.get(task, self.task(task).generation)

    def task(self, name: str) -> AnyTask:
        """Return a task of the file, or one that is known anyway."""
        return next((own for own in self.own if own.name == name), None) or TASKS[name]

    def adapt(self, options: TaskOptions) -> TaskOptions:
        """The options as this model can follow them; SettingsError for a language it was not finetuned for."""
        if isinstance(options, SummaryOptions) and options.length not in self.lengths:
            return replace(options, by_parts=True)
        if isinstance(options, TranslationOptions):
            for code in (options.source, options.target):
                if code not in self.languages:
                    offered = ", ".join(f"{known} ({language_name(known)})" for known in self.languages)
                    raise SettingsError(
                        f"This model was not finetuned for {language_name(code)}; choose from {offered}."
                    )
        return options

    def directions(self, source: str | None = None, target: str | None = None) -> TranslationOptions:
        """A translation between the given languages; where one is not given, the first declared that is not the other."""
        source = source or next(code for code in self.languages if code != target)
        return TranslationOptions(source, target or next(code for code in self.languages if code != source))

    def default_options(self, task: str) -> TaskOptions:
        """The options that a tab starts with."""
        if task == "translation":
            return self.directions()
        if task == "generation":
            return GenerationTaskOptions(self.modes[0])
        return self.task(task).options_type()

    def missing(self, task: str, options: TaskOptions) -> str:
        """What of a request the model was not finetuned for, in a sentence; empty where it was for all."""
        what = ""
        if task not in self.tasks:
            what = task.replace("_", " ")
        elif isinstance(options, TranslationOptions):
            unknown = [code for code in (options.source, options.target) if code not in self.languages]
            what = " and ".join(map(language_name, unknown))
        elif isinstance(options, GenerationTaskOptions) and options.mode not in self.modes:
            what = f"the mode {MODES[options.mode]!r}"
        elif isinstance(options, SummaryOptions) and options.length not in self.lengths and not options.by_parts:
            what = f"summaries of {LENGTHS[options.length]}"
        return f"This adapter was not finetuned for {what}." if what else ""

    def foreign(self, task: str, text: str) -> str:
        """That a text is in no script or language that its task was finetuned on, in a sentence; empty where it may be."""
        known = self.training_languages.get(task, ())
        if not known:
            return ""
        if script := foreign_script(text):
            what = f"is written in {script} characters"
        elif code := detect_foreign(text, known):
            what = f"looks like {language_name(code)}"
        else:
            return ""
        names = " and ".join(map(language_name, known))
        return f"The text {what}; this task was finetuned on {names} texts alone: the answer may be worthless."

    def joined(self, other: "AdapterTasks") -> "AdapterTasks":
        """What this model or another was finetuned for; of two, one of which declares nothing, what the other does."""
        if not (self.names_tasks and other.names_tasks):
            return self if self.names_tasks else other
        return AdapterTasks(
            tasks=_either(TASKS, self.tasks, other.tasks),
            languages=self._of_either("translation", "languages", other),
            modes=self._of_either("generation", "modes", other),
            lengths=self._of_either("summarization", "lengths", other),
            training_languages=self._joined_training_languages(other),
            decoding=self._decoding_beside(other),
            own=tuple(dict.fromkeys((*self.own, *other.own))),
        )

    def _joined_training_languages(self, other: "AdapterTasks") -> dict[str, tuple[str, ...]]:
        """Return the training languages of both, by task; a task is left out where one that declares it names none."""
        declared = {
            task: [
                adapter_tasks.training_languages.get(task, ())
                for adapter_tasks in (self, other)
                if task in adapter_tasks.tasks
            ]
            for task in TASKS
        }
        return {
            task: _either(LANGUAGES, *languages) for task, languages in declared.items() if languages and all(languages)
        }

    def _decoding_beside(self, other: "AdapterTasks") -> dict[str, GenerationOptions]:
        """This model's own; the other's for what only the other was finetuned for."""
        theirs = {task: options for task, options in other.decoding.items() if task not in self.tasks}
        return {**theirs, **self.decoding}

    def _of_either(self, task: str, key: str, other: "AdapterTasks") -> tuple[str, ...]:
        """Join a list over the models that declare the task; the defaults of a model without the task do not count."""
        declared = [getattr(adapter_tasks, key) for adapter_tasks in (self, other) if task in adapter_tasks.tasks]
        return _either(getattr(AdapterTasks, key), *declared) if declared else getattr(AdapterTasks, key)

    def to_json(self) -> str:
        """What `read_adapter_tasks` reads."""
        extra = {
            "generation": {"modes": list(self.modes)},
            "translation": {"languages": list(self.languages)},
            "summarization": {"lengths": list(self.lengths)},
        }
        languages = {task: {"languages": list(codes)} for task, codes in self.training_languages.items()}
        own = {task.name: task.declared for task in self.own}
        entries = {
            task: extra.get(task, {}) | languages.get(task, {}) | own.get(task, {}) | self._said_of_decoding(task)
            for task in self.tasks
        }
        prompts = {name: value for name in ("template", "system") if (value := getattr(self, name))}
        return json.dumps({**prompts, "tasks": entries}, indent=2, ensure_ascii=False) + "\n"

    def _said_of_decoding(self, task: str) -> dict[str, Any]:
        """Only what is not the task's own anyway."""
        default, chosen = self.task(task).generation, self.generation(task)
        other = {name: getattr(chosen, name) for name in _DECODING if getattr(chosen, name) != getattr(default, name)}
        return {"decoding": other} if other else {}


def read_adapter_tasks(adapter: Path | None, base: Path | None = None) -> AdapterTasks:
    """What the tasks.json in an adapter's folder says, else that of its base; everything where there is none.

    A base has one where it was finetuned as a whole, or an adapter was merged into it. ModelError where it is malformed.
    """
    paths = [folder / FILE for folder in (adapter, base) if folder]
    return next((read_tasks_file(path) for path in paths if path.is_file()), AdapterTasks())


def register_declared(*adapters: Path | None, base: Path | None = None) -> None:
    """Make the own tasks of a base's adapters known to the whole process. Raises as `register` does."""
    for adapter in adapters:
        register(read_adapter_tasks(adapter, base).own)


def read_tasks_file(path: Path) -> AdapterTasks:
    """Read a tasks.json; ModelError where it is malformed."""
    try:
        content = TasksFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        problem = problem_in(error, TasksFile) if isinstance(error, ValidationError) else error.strerror
        raise ModelError(
            f"{_shown(path)} cannot be read: {problem}. It should look like "
            '{"tasks": {"translation": {"languages": ["en", "de"]}, "sentiment": {}}}.'
        ) from error
    _check_template(content, path)
    if content.tasks is None:
        return AdapterTasks(template=content.template, system=content.system)
    tasks = {name: _task_entry(name, entry, path) for name, entry in content.tasks.items() if name in BUILT_IN}
    own = {name: task for name, entry in content.tasks.items() if (task := _own_task(name, entry, path))}
    names = _known("tasks", list(tasks | own), (*BUILT_IN, *own), path)
    decoding = {name: content.tasks[name].get("decoding") for name in names}
    return AdapterTasks(
        tasks=names,
        languages=_listed(tasks, "translation", "languages", tuple(LANGUAGES), path),
        modes=_listed(tasks, "generation", "modes", tuple(MODES), path),
        lengths=_listed(tasks, "summarization", "lengths", tuple(LENGTHS), path),
        training_languages={
            name: _known("languages", entry.languages, tuple(LANGUAGES), path)
            for name, entry in tasks.items()
            if name != "translation" and entry.languages is not None
        },
        decoding={
            name: _decoding(own.get(name) or BUILT_IN[name], chosen, path)
            for name, chosen in decoding.items()
            if chosen is not None
        },
        template=content.template,
        system=content.system,
        own=tuple(own.values()),
    )


def _task_entry(name: str, entry: dict[str, Any], path: Path) -> TaskEntry:
    if "instruction" in entry:
        raise ModelError(
            f"{_shown(path)}: {name}: a built-in task keeps its instruction; give a task of your own another id."
        )
    try:
        return TaskEntry.model_validate(entry)
    except ValidationError as error:
        raise ModelError(f"{_shown(path)}: {name}: {problem_in(error, TaskEntry)}. Correct it.") from error


def _own_task(name: str, entry: dict[str, Any], path: Path) -> AnyTask | None:
    """Return a task of one's own, or a built-in one with labels of its own; None for one that is as it always is."""
    try:
        if name not in BUILT_IN:
            return make_own_task(name, entry)
        labels = entry.get("labels")
        task = None if labels is None else BUILT_IN[name].with_labels(labels)
        if task and (problem := problem_of_labels(tuple(labels or ()))):
            raise SettingsError(f"{name}: labels: {problem}")
        return task
    except SettingsError as error:
        raise ModelError(f"{_shown(path)}: {error}") from error


def _check_template(content: TasksFile, path: Path) -> None:
    if content.template in (None, CHAT):
        return
    try:
        make_template(content.template, content.system)
    except SettingsError as error:
        raise ModelError(f"{_shown(path)}: template: {error}") from error


def _either(known: Container[str], *lists: Sequence[str]) -> tuple[str, ...]:
    """In the order of the first, with what only another one has behind."""
    return tuple(dict.fromkeys(name for names in lists for name in names if name in known))


def _listed(tasks: dict[str, TaskEntry], task: str, key: str, known: tuple[str, ...], path: Path) -> tuple[str, ...]:
    values = getattr(tasks.get(task), key, None)
    return known if values is None else _known(key, values, known, path, least=2 if key == "languages" else 1)


def _decoding(task: AnyTask, decoding: dict[str, Any], path: Path) -> GenerationOptions:
    """The task's own with those given."""
    name = task.name
    if unknown := [option for option in decoding if option not in _DECODING]:
        raise ModelError(f"{_shown(path)}: decoding of {name} has {quoted(unknown)}; it takes {', '.join(_DECODING)}.")
    try:
        options = replace(task.generation, **decoding)
    except SettingsError as error:
        raise ModelError(f"{_shown(path)}: decoding of {name}: {error}") from error
    if options.sentence_case and not task.recases:
        raise ModelError(f"{_shown(path)}: decoding of {name}: its texts are read as typed, without sentence_case.")
    if options.min_support and not task.no_answer:
        raise ModelError(f"{_shown(path)}: decoding of {name}: only answers from a text have a min_support.")
    if options.reverse_weight and not task.reversible:
        raise ModelError(f"{_shown(path)}: decoding of {name}: only what can be asked both ways has a reverse_weight.")
    return options


def _known(key: str, values: list[str], known: tuple[str, ...], path: Path, *, least: int = 1) -> tuple[str, ...]:
    """In the order given: the first are what the page begins with."""
    distinct = tuple(dict.fromkeys(values))
    if len(distinct) < least or any(value not in known for value in distinct):
        raise ModelError(f"{_shown(path)}: {key} is {quoted(values)}; list at least {least} of {', '.join(known)}.")
    return distinct


def _shown(path: Path) -> str:
    """Without the folders of a machine: the page shows it."""
    return f"{path.parent.name}/{path.name}"


@dataclass(frozen=True)
class VariantTasks:
    """The tasks of the first adapter, or of a bare base, and those of further adapters."""

    first: AdapterTasks = field(default_factory=AdapterTasks)
    others: Mapping[Variant, AdapterTasks] = field(default_factory=dict)
    base_prompt_style: PromptStyle = "template"
    """How the base is asked unless a person says otherwise."""

    def prompt_style(self, chosen: PromptStyle | None) -> PromptStyle:
        """How the base is asked: as given, where something is."""
        return self.base_prompt_style if chosen is None else chosen

    @property
    def either(self) -> AdapterTasks:
        """Return what at least one adapter was finetuned for; one that declares nothing does not count."""
        return self.of(("finetuned", *self.others))

    def of(self, variants: Sequence[Variant]) -> AdapterTasks:
        """Return what these models are asked for: the base what the adapter beside it is, several adapters what any is."""
        declared = [self.others[variant] for variant in variants if variant in self.others]
        if "finetuned" in variants or not declared:
            declared.insert(0, self.first)
        return reduce(AdapterTasks.joined, declared)

    def asked_of(self, variant: str) -> AdapterTasks:
        """Return what these weights alone are asked for, or the difference that finetuning made."""
        return self.others.get(variant, self.first)

    def adapt(self, task: str, options: TaskOptions, variants: Sequence[Variant]) -> TaskOptions:
        """The options as these models can follow them; SettingsError for what none of them was finetuned for."""
        adapter_tasks = self.of(variants)
        if task not in adapter_tasks.tasks:
            able = [name for name in ("finetuned", *self.others) if task in self.asked_of(name).tasks]
            raise SettingsError(
                f"This model was not finetuned for {task.replace('_', ' ')}; choose {' or '.join(able) or 'another task'}."
            )
        return adapter_tasks.adapt(options)

    def notes(self, request: Request, variant: Variant) -> tuple[str, ...]:
        """The notes on an answer: its adapter was not finetuned for the request, or not on the language of the text.

        The language note stands beside an answer of the base too: nothing is known of either in that language.
        """
        adapter_tasks = self.asked_of(variant)
        missing = "" if variant == "base" else adapter_tasks.missing(request.task, request.options)
        foreign = adapter_tasks.foreign(request.task, request.text)
        return tuple(note for note in (missing, foreign) if note)


def read_variant_tasks(info: ModelInfo) -> VariantTasks:
    """Of what is loaded; ModelError where a tasks.json is malformed."""
    base = info.base_folder
    others = {other.variant: read_adapter_tasks(other.folder, base) for other in info.others}
    return VariantTasks(read_adapter_tasks(info.adapter_folder, base), others, best_prompt_style(base))


@lru_cache(maxsize=8)
def templates_of(info: ModelInfo) -> Templates:
    """Return the prompt templates of what is loaded; see `find_template`."""
    declared = read_variant_tasks(info)
    others = {variant: _template_of(info, adapter_tasks) for variant, adapter_tasks in declared.others.items()}
    return Templates(_template_of(info, declared.first), others)


def _template_of(info: ModelInfo, adapter_tasks: AdapterTasks) -> Template:
    return find_template(
        given=info.template,
        declared=adapter_tasks.template,
        system=info.system or adapter_tasks.system,
        chat=info.chat,
        architecture=info.architecture,
    )
