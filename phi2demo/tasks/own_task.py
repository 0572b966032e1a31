"""A task of one's own, as a tasks.json declares it: an instruction with fields, and a text or one of several labels as answer.

Knows no single task, and no file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Any, ClassVar

from pydantic import ValidationError

from phi2demo.data.checks import check_text
from phi2demo.data.cleaning import clean
from phi2demo.data.rows import Row
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, Phi2DemoError, SettingsError, listed, quoted, shortened
from phi2demo.tasks import BUILT_IN
from phi2demo.tasks.declaration import (
    METRICS,
    PLACEHOLDER,
    TEXT,
    Declaration,
    FieldValue,
    OwnField,
    as_title,
    problem_in,
    problem_of,
)
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.task import Task, problem_of_label
from phi2demo.tasks.templates import Instruction


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
        self.title = declaration.title or as_title(name)
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
        return self.fields[name].label or as_title(name)

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
                expected = listed(f"{known}=... ({entry.expects})" for known, entry in self.fields.items())
                raise SettingsError(f"--field {shortened(pair)} is no field of {self.name}; give {expected or 'none'}.")
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
        if unknown is None:
            return ""
        return f"{shortened(unknown)} is no field of {self.name}; it has {listed(self.fields) or 'none'}."


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
            f"{shortened(name)}: {problem_in(error, Declaration)}. It is none of {', '.join(BUILT_IN)}, so it is a task of your "
            f"own: it needs an instruction, and may have {known}."
        ) from error
    if problem := problem_of(name, declaration) or _problem_of_examples(OwnTask(name, declaration)):
        raise SettingsError(f"{shortened(name)}: {problem}")
    return OwnTask(name, declaration)


def _problem_of_examples(task: OwnTask) -> str:
    for number, example in enumerate(task.declaration.examples, 1):
        where = f"examples: number {number}"
        unknown = [name for name in example if name not in ("text", *task.fields)]
        if unknown:
            return f"{where} has {quoted(unknown[0])}, which is no field; add it to fields, or remove it."
        try:
            check_text(example.get("text", ""))
            task.from_row(example)
        except (InputError, SettingsError) as error:
            return f"{where}: {error}"
    return ""


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template in one pass, so that braces in a value stay as they were typed."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
