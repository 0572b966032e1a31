"""A task of one's own, as a tasks.json declares it: an instruction with fields, and a text or one of several labels as answer.

Knows no single task, and no file.
"""

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phi2demo.data.checks import check_choice, check_text, first_problem
from phi2demo.data.cleaning import clean
from phi2demo.data.rows import Row
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, Phi2DemoError, SettingsError
from phi2demo.tasks import BUILT_IN
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.task import Task, problem_of_label
from phi2demo.tasks.templates import Instruction

FieldValue = str | int | float
METRICS = {
    "label": {"accuracy": "sentiment"},
    "text": {"chrf": "generation", "rouge": "summarization", "exact_match": "question_answering"},
}
"""By kind of output, its metrics, each with the built-in task that is scored alike; the first one is the default."""
RESERVED = (
    "text", "task", "output", "variant", "seed", "options", "base_prompt_style", "returns", "self", "api_name", "fn_index",
    "values",
)  # fmt: skip
"""Names that a row of data, or an endpoint and its clients, have beside the fields of a task."""
_TAKEN = (
    {name: f"{name} is a part of the page" for name in ("compare", "explain", "evaluate", "model")}
    | {name: f"{name} is a kind of data" for name in ("prose", "continuation", "simplification", "replay")}
    | {task.command: f"{task.command} is a command" for task in BUILT_IN.values()}
)
"""Ids that a task of one's own cannot have, with the reason."""
MAX_TITLE, MAX_INSTRUCTION, MAX_LABELS = 40, 4000, 200
MAX_FIELD_CHARACTERS = 2000
MAX_NUMBER = 10**15
"""Largest bound of a number: a browser keeps whole numbers exactly up to about nine times this."""
TEXT = "{text}"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


class OwnField(BaseModel):
    """A field of a task: free text, a choice, or a number in a range."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    label: str = ""
    """What the page calls it; its name where this is empty."""
    choices: tuple[str, ...] = ()
    number: tuple[int | float, int | float] | None = None
    """Lowest and highest value; two whole numbers allow whole numbers only."""

    @property
    def default(self) -> FieldValue:
        """Return the value of a field that is not filled in: the first choice, the lowest number, or nothing."""
        return self.choices[0] if self.choices else self.number[0] if self.number else ""

    @property
    def expects(self) -> str:
        """Return what a value of the field is, in a few words."""
        if self.number:
            return f"{self.number[0]} to {self.number[1]}"
        return f"one of {', '.join(self.choices)}" if self.choices else "a text"

    @property
    def is_whole(self) -> bool:
        """Return whether the field takes whole numbers only."""
        return self.number is not None and all(isinstance(bound, int) for bound in self.number)

    def check(self, name: str, value: object) -> FieldValue:
        """Return a value of the field; SettingsError where it is none."""
        if self.choices:
            check_choice(name, value, self.choices)
            return str(value)
        if self.number:
            low, high = self.number
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
            if not is_number or (self.is_whole and not float(str(value)).is_integer()):
                what = "whole number" if self.is_whole else "number"
                raise SettingsError(f"{name} is {value!r}; give a {what} from {low} to {high}.")
            assert isinstance(value, int | float)
            return int(value) if self.is_whole else value
        if not isinstance(value, str):
            raise SettingsError(f"{name} is {value!r}; give a text.")
        if len(value) > MAX_FIELD_CHARACTERS:
            raise SettingsError(
                f"{name} has {len(value):,} characters; at most {MAX_FIELD_CHARACTERS:,} are read. Shorten it."
            )
        return check_text(value, what=name) if value.strip() else ""

    def parse(self, name: str, text: str) -> FieldValue:
        """Return the value that was typed on a command line."""
        if not self.number:
            return self.check(name, text)
        try:
            return self.check(name, int(text) if text.strip().lstrip("-").isdecimal() else float(text))
        except ValueError:
            return self.check(name, text)


class Declaration(BaseModel):
    """What tasks.json says of a task of one's own."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    title: str = ""
    """Of the tab; made from the id where this is empty."""
    instruction: str
    """With `{text}` where the person's text goes, and `{name}` for each field."""
    fields: dict[str, OwnField] = Field(default_factory=dict)
    output: Literal["text", "label"] = "text"
    labels: tuple[str, ...] = ()
    """The answers to choose from, where the output is a label."""
    examples: tuple[dict[str, str | int | float], ...] = ()
    """Each with a `text`, and values of fields."""
    decoding: dict[str, Any] | None = None
    metric: str = ""
    """One of METRICS; the first one where this is empty."""


@dataclass(frozen=True)
class OwnOptions(TaskOptions):
    """The fields of an own task. Each task has a subclass with an attribute for each of its fields."""

    _declared: ClassVar[Mapping[str, OwnField]] = {}

    def __post_init__(self) -> None:
        for name, declared in self._declared.items():
            object.__setattr__(self, name, declared.check(name, getattr(self, name)))

    @property
    def values(self) -> dict[str, FieldValue]:
        """Return the value of each field by its name."""
        return {option.name: getattr(self, option.name) for option in fields(self)}


@dataclass(frozen=True)
class OwnExample:
    """An example to try."""

    text: str
    values: Mapping[str, FieldValue] = field(default_factory=dict)


class OwnTask(Task[OwnOptions]):
    """A task that the adapter's tasks.json declares."""

    input_label = "Your text"
    plain_stop = ()  # an answer may have several lines

    def __init__(self, name: str, declaration: Declaration) -> None:
        """Make a task of a declaration; `make_own_task` checks it."""
        self.name = self.command = name
        self.declaration = declaration
        self.title = declaration.title or _as_title(name)
        self.labels = declaration.labels
        self.generation = GenerationOptions()
        self.metric = declaration.metric or next(iter(METRICS[declaration.output]))
        self.options_type = _options_type(name, tuple(declaration.fields.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnTask) and (self.name, self.declaration) == (other.name, other.declaration)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def fields(self) -> Mapping[str, OwnField]:
        """Return the fields by name."""
        return self.declaration.fields

    @property
    def declared(self) -> dict[str, Any]:
        """Return the entry of tasks.json, without the decoding."""
        return self.declaration.model_dump(mode="json", exclude_unset=True, exclude={"decoding"})

    @property
    def examples(self) -> tuple[OwnExample, ...]:
        """Return the examples to try."""
        return tuple(
            OwnExample(str(example["text"]), {name: value for name, value in example.items() if name != "text"})
            for example in self.declaration.examples
        )

    def label_of(self, name: str) -> str:
        """Return what the page calls a field."""
        return self.fields[name].label or _as_title(name)

    def instruction(self, text: str, options: OwnOptions) -> Instruction:
        """Fill in the instruction; a text that ends it on a line of its own is its input."""
        values = {name: str(value) for name, value in options.values.items()}
        whole = self.declaration.instruction
        if whole.endswith(f"\n{TEXT}"):
            return Instruction(_filled(whole.removesuffix(f"\n{TEXT}"), values), text)
        return Instruction(_filled(whole, values | {"text": text}))

    def plain(self, text: str, options: OwnOptions) -> str:
        """The instruction, then the title of what follows."""
        return f"{self.instruction(text, options).whole}\n{self.title}:"

    def read(self, request: Request) -> Request:
        """With the fields read as the text is."""
        read = super().read(request)
        assert isinstance(read.options, OwnOptions)
        cleaned = {name: clean(value) for name, value in read.options.values.items() if isinstance(value, str)}
        return replace(read, options=replace(read.options, **cleaned))

    def from_row(self, row: Row) -> tuple[str, OwnOptions]:
        """Take the fields from a row; a field that it lacks has its default."""
        values = {name: row[name] for name in self.fields if name in row}
        options = self.options_type(**values)
        assert isinstance(options, OwnOptions)
        return row["text"], options

    def options_from(self, pairs: Sequence[str]) -> OwnOptions:
        """Return the options of pairs as `team=sales` that were typed on a command line."""
        values = {}
        for pair in pairs:
            name, separator, typed = pair.partition("=")
            if not separator or name not in self.fields:
                listed = ", ".join(f"{known}=... ({entry.expects})" for known, entry in self.fields.items())
                raise SettingsError(f"--field {pair} is no field of {self.name}; give {listed or 'none'}.")
            values[name] = self.fields[name].parse(name, typed)
        return self.from_row({"text": "", **values})[1]

    def accept_pair(self, row: Row) -> Row:
        """Return a row of a person's own pairs with its numbers as numbers; SettingsError where it does not fit."""
        typed = {
            name: entry.parse(name, row[name]) for name, entry in self.fields.items() if isinstance(row.get(name), str)
        }
        if problem := self.problem_of_row(row | typed):
            raise SettingsError(problem)
        return row | typed

    def problem_of_row(self, row: Row) -> str:
        """Refuse a field or a label that the task does not have."""
        try:
            self.from_row(row)
        except Phi2DemoError as error:
            return str(error)
        if self.labels and (problem := problem_of_label(row, self.labels)):
            return problem
        known = ("text", "task", "output", "title", *self.fields)
        unknown = next((name for name in row if name not in known), None)
        return f"{unknown} is no field of {self.name}; it has {', '.join(self.fields) or 'none'}." if unknown else ""


@cache
def _options_type(name: str, declared: tuple[tuple[str, OwnField], ...]) -> type[TaskOptions]:
    """Make the type of a task's options, the same one for every copy of the task."""
    options = [(key, Any, entry.default) for key, entry in declared]
    namespace = {"_declared": dict(declared)}
    return make_dataclass(f"{name}_options", options, bases=(OwnOptions,), frozen=True, namespace=namespace)


def make_own_task(name: str, entry: Mapping[str, Any]) -> OwnTask:
    """Make a task of an entry of tasks.json; SettingsError, which names task and field and says what to do."""
    try:
        declaration = Declaration.model_validate_json(json.dumps(entry))
    except ValidationError as error:
        known = ", ".join(key for key in Declaration.model_fields if key != "instruction")
        raise SettingsError(
            f"{name}: {first_problem(error)}. It is none of {', '.join(BUILT_IN)}, so it is a task of your own: it needs an "
            f"instruction, and may have {known}."
        ) from error
    if problem := _problem_of(name, declaration):
        raise SettingsError(f"{name}: {problem}")
    return OwnTask(name, declaration)


def _problem_of(name: str, declaration: Declaration) -> str:
    """Say what is wrong with a declaration, and what to do; empty where nothing is."""
    return (
        _problem_of_id(name)
        or _problem_of_fields(declaration.fields)
        or _problem_of_instruction(declaration)
        or _problem_of_output(declaration)
        or _problem_of_examples(OwnTask(name, declaration))
    )


def _problem_of_id(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > MAX_TITLE:
        return (
            f"the id of a task is a lower-case letter, then letters, digits and underscores, at most {MAX_TITLE}; "
            "rename it, and give it a title."
        )
    return f"{_TAKEN[name]}; give the task another id." if name in _TAKEN else ""


def _problem_of_fields(declared: Mapping[str, OwnField]) -> str:
    for name, entry in declared.items():
        if not _NAME.fullmatch(name):
            return f"fields: {name!r} is no name of lower-case letters, digits and underscores; rename it."
        if name in RESERVED or keyword.iskeyword(name):
            return f"fields: the name {name} is taken; rename the field, and set its label."
        if entry.choices and entry.number:
            return f"fields: {name} has choices and number; keep one of them."
        if "choices" in entry.model_fields_set and (problem := _problem_of_choices(entry.choices)):
            return f"fields: choices of {name}: {problem}"
        if entry.number and not all(abs(bound) <= MAX_NUMBER for bound in entry.number):
            return f"fields: number of {name} is out of range; give bounds of at most {MAX_NUMBER:,}."
        if entry.number and not entry.number[0] < entry.number[1]:
            low, high = entry.number
            return f"fields: number of {name} is [{low}, {high}]; give the lowest value, then a higher one."
    return ""


def _problem_of_instruction(declaration: Declaration) -> str:
    if len(declaration.instruction) > MAX_INSTRUCTION:
        return (
            f"instruction has {len(declaration.instruction):,} characters; shorten it to at most {MAX_INSTRUCTION:,}."
        )
    placeholders = _PLACEHOLDER.findall(declaration.instruction)
    if placeholders.count("text") != 1:
        what = "contains {text} more than once; keep one" if "text" in placeholders else "lacks {text}; put it"
        return f"instruction {what} where the person's text goes."
    for name in placeholders:
        if name not in ("text", *declaration.fields):
            return f"instruction contains {{{name}}}, which is no field; add it to fields, or remove the braces."
    for name in declaration.fields:
        if name not in placeholders:
            return f"instruction lacks {{{name}}}, so the field changes nothing; put it there, or remove the field."
    if len(declaration.title) > MAX_TITLE or "\n" in declaration.title:
        return f"title is {declaration.title!r}; give one line of at most {MAX_TITLE} characters."
    return ""


def _problem_of_output(declaration: Declaration) -> str:
    if declaration.output == "text" and declaration.labels:
        return 'labels are given, but output is "text"; set output to "label", or remove the labels.'
    if declaration.output == "label":
        if len(declaration.labels) < 2:
            return f"labels is {list(declaration.labels)}; give at least two to choose from."
        if len(declaration.labels) > MAX_LABELS:
            return f"there are {len(declaration.labels):,} labels; give at most {MAX_LABELS}."
        if problem := problem_of_labels(declaration.labels):
            return f"labels: {problem}"
    known = METRICS[declaration.output]
    if declaration.metric and declaration.metric not in known:
        return f"metric is {declaration.metric!r}; for the output {declaration.output} give one of {', '.join(known)}."
    return ""


def problem_of_labels(labels: tuple[str, ...]) -> str:
    """Say what is wrong with labels to choose from, and what to do; empty where nothing is."""
    return _problem_of_choices(labels) or _problem_of_beginnings(labels)


def _problem_of_choices(choices: tuple[str, ...]) -> str:
    """Say what is wrong with labels or choices, which are compared with texts that were cleaned."""
    if not choices:
        return "the list is empty; give what to choose from."
    for choice in choices:
        if not choice or clean(choice) != choice or "\n" in choice:
            return f"{choice!r} has spaces around it, unusual characters or a line break, or is empty; correct it."
    twice = next((choice for choice in choices if choices.count(choice) > 1), None)
    return f"{twice!r} is there twice; remove one." if twice else ""


def _problem_of_beginnings(labels: tuple[str, ...]) -> str:
    """Say which label begins another: the tokens of the other are then never likelier than its own."""
    for first in labels:
        for other in labels:
            if other != first and other.startswith(first):
                return f"{other!r} begins with {first!r}, which would always be the likelier one; reword one of them."
    return ""


def _problem_of_examples(task: OwnTask) -> str:
    for number, example in enumerate(task.declaration.examples, 1):
        where = f"examples: number {number}"
        unknown = [name for name in example if name not in ("text", *task.fields)]
        if unknown:
            return f"{where} has {unknown[0]!r}, which is no field; add it to fields, or remove it."
        try:
            check_text(example.get("text", ""))
            task.from_row(example)
        except (InputError, SettingsError) as error:
            return f"{where}: {error}"
    return ""


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template in one pass, so that braces in a value stay as they were typed."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def _as_title(name: str) -> str:
    return name.replace("_", " ").strip().capitalize()
