"""A task: its prompts, its limits, the check of its requests. Knows nothing of torch or of the page."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

from phi2demo.data.checks import check_choice, check_text
from phi2demo.data.cleaning import clean, looks_changed, without_capitals
from phi2demo.data.rows import Row
from phi2demo.engine.engine import END_OF_TEXT, MAX_SEED, Engine, GenerationOptions, Variant
from phi2demo.errors import InputError, SettingsError, listed, quoted
from phi2demo.tasks.confidence import Grounds
from phi2demo.tasks.request import PROMPT_STYLES, PromptStyle, Request, TaskOptions, check_variants, language_of
from phi2demo.tasks.templates import PHI, PLAIN, Instruction, Template, Templates


@dataclass(frozen=True)
class PromptLimit:
    """How much text one prompt may hold."""

    count_tokens: Callable[[str], int]
    tokens: int
    """For the whole prompt: the context less what the output may need."""
    output_tokens: int = 0
    """Kept for the output."""
    template: Template = PHI
    """Around each piece of the text."""

    def fits(self, prompt: str) -> bool:
        """Whether `prompt` leaves room for its output."""
        return len(prompt.encode()) <= self.tokens or self.count_tokens(prompt) <= self.tokens


@dataclass(frozen=True)
class Pieces:
    """A text cut into what is asked for one by one, and how the answers are put together again."""

    texts: tuple[str, ...]
    join: Callable[[Sequence[str]], str]
    """Answers so far (possibly fewer than the texts) to one text."""
    noun: str = "part"
    later: int = 0
    """At most this many pieces follow in later passes: for the progress bar only."""


def problem_of_label(row: Row, labels: Sequence[str]) -> str:
    """Say that the output of a row is none of the labels; empty where it is one."""
    return "" if row["output"] in labels else f"output is {quoted(row['output'])}; give one of {listed(labels)}."


QUOTED = 80
"""Characters of a text that a note quotes."""

O = TypeVar("O", bound=TaskOptions)  # noqa: E741


class Task(ABC, Generic[O]):
    """One thing a model can be asked to do: its template, its options, its clean-up."""

    name: str
    """Key in TASKS, in tasks.json and in receipts."""
    command: str
    """On the command line and as API endpoint: a verb."""
    title: str
    """Of the tab."""
    input_label: str
    options_type: type[TaskOptions]
    generation: GenerationOptions
    """How tokens are chosen where an adapter says nothing of it."""
    labels: tuple[str, ...] = ()
    """Where a task classifies: the outputs to choose from, by their probability."""
    no_answer: str = ""
    """What is said in the place of an answer that the text does not support; empty where that is not told."""
    has_right_answer: bool = True
    """Whether it can be asked how sure a model is of its answer."""
    splits: bool = False
    """Whether a text of any length is read, piece by piece."""
    keeps_layout: bool = False
    """Whether indentation and line breaks at the end count, as in code, or where the layout is put together again."""
    recases: bool = True
    """Whether the case of the person's text can be changed before the model reads it."""
    plain_stop: tuple[str, ...] = ("\n",)
    """Strings that end the answer to a plain prompt."""

    @property
    def declared(self) -> dict[str, Any]:
        """Return what a tasks.json says to declare this task; a built-in one needs no declaration."""
        return {}

    def with_labels(self, labels: Sequence[str]) -> "Task[O]":
        """Return the task with other labels to choose from; SettingsError where it cannot have them."""
        raise SettingsError(f"{self.name} has no labels to choose from; remove labels.")

    @abstractmethod
    def instruction(self, text: str, options: O) -> Instruction:
        """Return what the model is asked, and the text that this is about."""

    @abstractmethod
    def plain(self, text: str, options: O) -> str:
        """A text that holds the answer next: up to there the one that `pretrain` makes of an example."""

    def from_row(self, row: Row) -> tuple[str, O]:
        """Return the text and the options of a row of data."""
        options: Any = self.options_type()
        return row["text"], options

    def problem_of_row(self, row: Row) -> str:
        """Say why a row with `task`, `text` and `output` cannot be used for this task; empty where it can."""
        return f"rows of {self.name} have fields of their own; assets/docs/training.md lists them."

    def prompt_style_of(self, variant: Variant, options: O, base_prompt_style: PromptStyle) -> PromptStyle:
        """How these weights are asked: adapters by the template that they were finetuned on."""
        return base_prompt_style if variant == "base" else "template"

    def prompt(self, text: str, options: O, template: Template = PHI) -> str:
        """Return the template around `text`, the same in the app, in evaluation and in training.

        A plain prompt begins a text, as in pretraining, where each text follows the end of another.
        """
        if template.is_plain:
            return END_OF_TEXT + self.plain(text, options)
        return template.render(self.instruction(text, options))

    def read(self, request: Request) -> Request:
        """The request as the model reads it: its text cleaned as training texts are, and with `sentence_case` recased."""
        text = clean(request.text, keep_layout=self.keeps_layout)
        if request.generation.sentence_case and self.recases:
            text = self.recased(text, language_of(request.options))
        return replace(request, text=text)

    def reading_notes(self, request: Request) -> tuple[str, ...]:
        """How the model read the text where a person would see a difference, by the first line that has one."""
        read, typed = self.read(request).text, request.text.splitlines()
        cleaned = clean(request.text, keep_layout=self.keeps_layout)
        if read != cleaned:
            pairs = zip(cleaned.split("\n"), read.split("\n"), strict=True)
            return (f"The model read your text in sentence case: {_quoted(next(b for a, b in pairs if a != b))}",)
        if line := next(filter(looks_changed, typed), ""):
            return (f"The model read your text in plain letters: {_quoted(clean(line))}",)
        return ()

    def recased(self, text: str, language: str) -> str:
        """A text in capitals as sentences are written, as long as before."""
        return without_capitals(text, language=language)

    def without(self, options: O, template: Template = PHI) -> str:
        """Return the prompt without a text, for guidance; empty where nothing is left."""
        return self.prompt("", options, template)

    def pieces(self, text: str, options: O, budget: PromptLimit) -> Pieces:
        """Cut a text into prompts that fit; one piece unless the task splits. InputError where it does not fit."""
        prompt = self.prompt(text, options, budget.template)
        if not budget.fits(prompt):
            count = budget.count_tokens(prompt)
            advice = "Shorten it." if self.labels else "Shorten it, or lower the number of new tokens."
            raise InputError(
                f"The text has {count} tokens with its instruction; this model reads at most {budget.tokens} here. {advice}"
            )
        return Pieces((text,), join=lambda outputs: "".join(outputs[:1]))

    def next_pieces(self, outputs: Sequence[str], options: O, budget: PromptLimit) -> Pieces | None:
        """Return the pieces of a further pass over the answers (summaries of summaries); None where they are the result."""
        return None

    def reverse(self, options: O) -> O | None:
        """The options that ask for the text back, given an answer; None where a text does not follow from its answer."""
        return None

    @property
    def reversible(self) -> bool:
        """Whether a text follows from its answer."""
        anything: Task[Any] = self
        return anything.reverse(self.options_type()) is not None

    def grounds(self, text: str, options: O, template: Template = PHI) -> Grounds | None:
        """What `text` makes likelier if it holds the answer; None where a task's answers need no support."""
        return None

    def clean(self, raw: str) -> str:
        """The answer as shown."""
        return raw.strip()

    def kept(self, output: str, options: O) -> str:
        """The beginning of an output, not yet cleaned, that is an answer to what was asked; what follows is dropped."""
        return output

    def preferred(self, text: str, outputs: Sequence[str]) -> int:
        """Which of several cleaned outputs is taken, where they are likeliest first."""
        return 0

    def remark(self, text: str, output: str) -> str:
        """What is told of a cleaned output beside others, where `preferred` looks at more than how likely they are."""
        return ""

    def notes(self, text: str, output: str, options: O) -> tuple[str, ...]:
        """What a person should know about this answer."""
        return ()

    def facts(self, text: str, output: str) -> tuple[str, ...]:
        """Measures of this answer, in words."""
        return ()

    def check(self, request: Request) -> "CheckedRequest":
        """Refuse a request that cannot be answered, before any model is asked.

        Raises InputError for an empty, too long or binary text, and SettingsError for options of another task, an
        unknown variant or a seed that is out of range.
        """
        settled = self._with_checked_settings(request)
        check_text(request.text)
        return CheckedRequest(self, settled)

    def _with_checked_settings(self, request: Request) -> Request:
        """Return the request with a seed, if everything in it but the text can be used."""
        if not isinstance(request.options, self.options_type):
            raise SettingsError(
                f"{self.name} takes {self.options_type.__name__}, not {type(request.options).__name__}."
            )
        check_variants(request.variants)
        check_choice("base_prompt_style", request.base_prompt_style, PROMPT_STYLES)
        if request.generation.reverse_weight and not self.reversible:
            raise SettingsError(f"{self.name} cannot be asked the other way round: leave reverse_weight at 0.")
        if request.generation.min_support and not self.no_answer:
            raise SettingsError(f"{self.name} has no answer that a text lacks: leave min_support at 0.")
        if request.generation.sentence_case and not self.recases:
            raise SettingsError(f"{self.name} reads a text as it is typed: leave sentence_case off.")
        seed = request.seed
        if seed is not None and (type(seed) is not int or not 0 <= seed <= MAX_SEED):
            raise SettingsError(f"The seed is {quoted(seed)}; give a whole number from 0 to {MAX_SEED}, or none.")
        if seed is None:
            seed = secrets.randbelow(MAX_SEED + 1)
        return replace(request, seed=seed)


AnyTask = Task[Any]


@dataclass(frozen=True)
class CheckedRequest:
    """A request that its task accepts. `Task.check` makes it where the request enters; nothing behind checks again."""

    task: AnyTask
    request: Request
    """With a seed."""
    templates: Templates = field(default_factory=Templates)
    """Of the loaded model; `Assistant.run` sets them."""

    @cached_property
    def read(self) -> Request:
        """The request as the model reads it."""
        return self.task.read(self.request)

    def prompt_style(self, variant: Variant) -> PromptStyle:
        """Return how this variant is prompted."""
        options: Any = self.request.options
        chosen = self.request.prompt_style
        return chosen or self.task.prompt_style_of(variant, options, self.request.base_prompt_style)

    def template(self, variant: Variant) -> Template:
        """Return the template around this variant's prompts."""
        return PLAIN if self.prompt_style(variant) == "plain" else self.templates.of(variant)

    def prompt(self, piece: str, variant: Variant) -> str:
        """Return the prompt around a piece of the text."""
        return self.task.prompt(piece, self.read.options, self.template(variant))

    def stop(self, variant: Variant) -> tuple[str, ...]:
        """Return the strings that end the outputs of this variant."""
        template = self.template(variant)
        return (*(self.task.plain_stop if template.is_plain else ()), *self.templates.of(variant).stop)

    def with_settings(self, **settings: Any) -> "CheckedRequest":
        """The same text with settings that only the loaded model decides; SettingsError where they cannot be used."""
        return replace(self, request=self.task._with_checked_settings(replace(self.request, **settings)))


def _quoted(line: str) -> str:
    line = line.strip()
    return line if len(line) <= QUOTED else f"{line[:QUOTED].rstrip()} …"


COUNTED_CHARACTERS = 100_000
"""The pieces of a longer text are not counted: that takes seconds, and the page counts at every key."""


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens a text has, and how many it may have."""

    tokens: int
    """Of the text as the model reads it."""
    limit: int | None = None
    """The most tokens that the text may have; None where a longer one is read in pieces."""
    pieces: int | None = None
    """Into how many pieces the text is cut; None where they were not counted."""
    noun: str = "piece"
    """What a piece is."""


def prompt_limit_of(
    engine: Engine, task: AnyTask, generation: GenerationOptions, template: Template = PHI
) -> PromptLimit:
    """Return how many tokens a prompt may have: the context without the tokens that are kept for the output."""
    context = engine.info.context
    if task.labels:
        longest = max(engine.count_tokens(f"{template.separator}{label}") for label in task.labels)
        return PromptLimit(engine.count_tokens, context - longest - 1, template=template)
    reserved = min(generation.max_new_tokens, context // 2)
    return PromptLimit(engine.count_tokens, context - reserved, reserved, template)


def token_budget_for(engine: Engine, task: AnyTask, request: Request, template: Template = PHI) -> TokenBudget:
    """Return the token budget of a request, which need not be checked yet."""
    read, budget = task.read(request), prompt_limit_of(engine, task, request.generation, template)
    tokens = engine.count_tokens(read.text)
    if not task.splits:
        around = engine.count_tokens(task.prompt(read.text, read.options, template)) - tokens
        return TokenBudget(tokens, max(0, budget.tokens - around))
    if len(read.text) > COUNTED_CHARACTERS:
        return TokenBudget(tokens)
    try:
        pieces = task.pieces(read.text, read.options, budget)
    except InputError:  # the message comes when the request is checked
        return TokenBudget(tokens)
    return TokenBudget(tokens, None, len(pieces.texts), pieces.noun)
