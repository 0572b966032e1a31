"""The content of a tasks.json, and what is wrong with it. Knows no file and no adapter."""

import keyword
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from phi2demo.data.checks import check_choice, check_text, first_problem
from phi2demo.data.cleaning import clean
from phi2demo.errors import SettingsError, listed, quoted, shortened
from phi2demo.tasks import BUILT_IN

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
_TABS = ("compare", "explain", "evaluate", "model")
_TAKEN = (
    {name: f"{name} is a part of the page" for name in _TABS}
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
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


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
        return f"one of {listed(self.choices)}" if self.choices else "a text"

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
                raise SettingsError(f"{name} is {quoted(value)}; give a {what} from {low} to {high}.")
            assert isinstance(value, int | float)
            return int(value) if self.is_whole else value
        if not isinstance(value, str):
            raise SettingsError(f"{name} is {quoted(value)}; give a text.")
        if len(value) > MAX_FIELD_CHARACTERS:
            raise SettingsError(
                f"{name} has {len(value):,} characters; at most {MAX_FIELD_CHARACTERS:,} are read. Shorten it."
            )
        return check_text(value, what=f'field "{name}"') if value.strip() else ""

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


class TaskEntry(BaseModel):
    """What tasks.json says of a built-in task."""

    model_config = ConfigDict(strict=True, extra="forbid")

    languages: list[str] | None = None
    modes: list[str] | None = None
    lengths: list[str] | None = None
    labels: list[str] | None = None
    decoding: dict[str, Any] | None = None


class TasksFile(BaseModel):
    """The whole of tasks.json. A file that says only the template leaves the tasks open."""

    model_config = ConfigDict(extra="forbid")

    tasks: dict[str, dict[str, Any]] | None = None
    template: str | None = None
    system: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "TasksFile":
        if self.tasks is None and self.template is None:
            raise ValueError("it names neither tasks nor a template")
        return self


def problem_in(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe the first thing that `model` refuses, and of an unknown key which one may be meant."""
    problem = error.errors(include_url=False, include_context=False)[0]
    if problem["type"] != "extra_forbidden":
        return first_problem(error)
    *where, key = map(str, problem["loc"])
    near = get_close_matches(key.lower(), (OwnField if where else model).model_fields, n=1)
    return first_problem(error) + (f"; {near[0]} may be meant" if near else "")


def problem_of(name: str, declaration: Declaration) -> str:
    """Say what is wrong with a task of one's own, and what to do; empty where nothing is. Its examples are not checked."""
    return (
        _problem_of_id(name)
        or _problem_of_fields(declaration.fields)
        or _problem_of_instruction(declaration)
        or _problem_of_title(declaration.title or as_title(name))
        or _problem_of_output(declaration)
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
        if not _NAME.fullmatch(name) or len(name) > MAX_TITLE:
            return (
                f"fields: {quoted(name)} is no name of lower-case letters, digits and underscores, at most {MAX_TITLE}; "
                "rename it."
            )
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
    placeholders = PLACEHOLDER.findall(declaration.instruction)
    if placeholders.count("text") != 1:
        what = "contains {text} more than once; keep one" if "text" in placeholders else "lacks {text}; put it"
        return f"instruction {what} where the person's text goes."
    for name in placeholders:
        if name not in ("text", *declaration.fields):
            return f"instruction contains {{{shortened(name)}}}, which is no field; add it to fields, or remove the braces."
    for name in declaration.fields:
        if name not in placeholders:
            return f"instruction lacks {{{name}}}, so the field changes nothing; put it there, or remove the field."
    return ""


def as_title(name: str) -> str:
    """Make a title of a name."""
    return name.replace("_", " ").strip().capitalize()


def _problem_of_title(title: str) -> str:
    if len(title) > MAX_TITLE or "\n" in title:
        return f"title is {quoted(title)}; give one line of at most {MAX_TITLE} characters."
    if title.strip().casefold() in _TABS:
        return f"title is {quoted(title)}, which is a part of the page; give another title."
    return ""


def _problem_of_output(declaration: Declaration) -> str:
    if declaration.output == "text" and declaration.labels:
        return 'labels are given, but output is "text"; set output to "label", or remove the labels.'
    if declaration.output == "label":
        if len(declaration.labels) < 2:
            return f"labels is {quoted(list(declaration.labels))}; give at least two to choose from."
        if len(declaration.labels) > MAX_LABELS:
            return f"there are {len(declaration.labels):,} labels; give at most {MAX_LABELS}."
        if problem := problem_of_labels(declaration.labels):
            return f"labels: {problem}"
    known = METRICS[declaration.output]
    if declaration.metric and declaration.metric not in known:
        return f"metric is {quoted(declaration.metric)}; for the output {declaration.output} give one of {', '.join(known)}."
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
            return (
                f"{quoted(choice)} has spaces around it, unusual characters or a line break, or is empty. Correct it."
            )
    twice = next((choice for choice in choices if choices.count(choice) > 1), None)
    return f"{quoted(twice)} is there twice; remove one." if twice else ""


def _problem_of_beginnings(labels: tuple[str, ...]) -> str:
    """Say which label begins another: the tokens of the other are then never likelier than its own."""
    for first in labels:
        for other in labels:
            if other != first and other.startswith(first):
                return f"{quoted(other)} begins with {quoted(first)}, which would always be the likelier one; reword one of them."
    return ""
