"""The request for an explanation, checked on creation. Knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from phi2demo.data.checks import check_choice, check_text
from phi2demo.data.cleaning import CleanedText, clean, clean_aligned
from phi2demo.engine.engine import MAX_SEED, Engine, GenerationOptions, Output, Variant
from phi2demo.errors import InputError, SettingsError, quoted
from phi2demo.explain.units import UnitKind
from phi2demo.tasks import task_named
from phi2demo.tasks.declared import templates_of
from phi2demo.tasks.request import PROMPT_STYLES, PromptStyle, Request, TaskOptions
from phi2demo.tasks.result import Result
from phi2demo.tasks.task import CheckedRequest
from phi2demo.tasks.templates import Templates

Method = Literal["auto", "partition", "exact", "permutation", "lime"]
Of = str
"""A variant, or "difference"."""
Value = Literal["log-probability", "log-odds"]

EMPTY_OUTPUT = "The output is empty, so there is nothing to explain. Ask the model first, or type an output."

METHODS: dict[str, str] = {
    "auto": "SHAP, exact where few units allow it",
    "partition": "SHAP over a tree (Owen values)",
    "exact": "SHAP, exact Shapley values",
    "permutation": "SHAP by permutations",
    "lime": "LIME",
}
UNITS: dict[str, str] = {
    "auto": "as fine as fits ten seconds",
    "tokens": "tokens",
    "words": "words",
    "sentences": "sentences",
    "paragraphs": "paragraphs",
}
OF: dict[str, str] = {
    "finetuned": "the finetuned model",
    "base": "the base model",
    "difference": "what finetuning changed",
}
VALUES: dict[str, str] = {"log-probability": "log-probability", "log-odds": "log-odds, as in stock shap"}

EVALS = (16, 20_000)
"""The fewest and the most masked texts that a method may score."""
MAX_EXACT_UNITS = 12
"""Exact Shapley values need every subset of the units: 4,096 of twelve."""
MAX_MASK_CHARACTERS = 40


@dataclass(frozen=True)
class ExplainRequest:
    """What to explain. Raises InputError for a text or an output that cannot be explained, SettingsError for the rest."""

    task: str
    """A key of TASKS."""
    text: str
    """The person's own text. It is attributed; the template around it is not."""
    options: TaskOptions
    outputs: tuple[Output, ...]
    """As generated, in text or token ids: one for each piece that the task cut the text into, else a single one."""
    of: Of = "finetuned"
    """The variant whose output is explained, or the difference between the finetuned and the base model."""
    target: tuple[int, int] | None = None
    """Index of the first output token and one more than that of the last, over all pieces; None is the whole output."""
    instead: str | None = None
    """A contrast: explain how much likelier the target is than this text."""
    method: Method = "auto"
    """With "auto": exact where `max_evals` allows every subset, permutation up to ten units, partition beyond. The request
    of an Attribution holds the method that was chosen."""
    units: UnitKind | Literal["auto"] = "auto"
    value: Value = "log-probability"
    mask: str = ""
    """The text that replaces hidden units; empty: they are dropped."""
    max_evals: int = 500
    """Masked texts that the method may score; those of the trust figures come on top."""
    trust: bool = True
    """Whether to measure deletion, insertion and the agreement of two methods too."""
    base_prompt_style: PromptStyle = "template"
    """The prompt style for the base: see `Request`."""
    adapter_strength: float = 1.0
    """The strength that the output was generated with: see `GenerationOptions`."""
    sentence_case: bool = False
    """Whether the text was read in sentence case when the output was generated: see `GenerationOptions`."""
    seed: int = 0
    templates: Templates = field(default_factory=Templates, repr=False)
    """The prompt templates of the loaded model; see `for_model`."""
    asked: CheckedRequest = field(init=False, repr=False, compare=False)
    """The request that the output answers, which knows its prompts."""
    _cleaned: CleanedText = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        task = task_named(self.task)
        if not isinstance(self.options, task.options_type):
            raise SettingsError(f"{self.task} takes {task.options_type.__name__}, not {type(self.options).__name__}.")
        object.__setattr__(self, "text", check_text(self.text))
        object.__setattr__(self, "outputs", _checked_outputs(self.outputs))
        for name, value, choices in (
            ("method", self.method, METHODS),
            ("units", self.units, UNITS),
            ("value", self.value, VALUES),
            ("base_prompt_style", self.base_prompt_style, PROMPT_STYLES),
        ):
            check_choice(name, value, choices)
        object.__setattr__(
            self, "base_prompt_style", task.prompt_style_of("base", self.options, self.base_prompt_style)
        )
        if self.instead is not None:
            check_text(self.instead, what="text after 'instead of'")
        _check_target(self.target)
        if not isinstance(self.of, str) or not self.of:
            raise SettingsError(
                f"of is {quoted(self.of)}; give finetuned, base, difference, or the name of a further adapter."
            )
        if not isinstance(self.mask, str) or len(self.mask) > MAX_MASK_CHARACTERS or "\n" in self.mask:
            raise SettingsError(
                f"mask is {quoted(self.mask)}; give a text of one line and at most {MAX_MASK_CHARACTERS} characters, or none."
            )
        generation = GenerationOptions(adapter_strength=self.adapter_strength, sentence_case=self.sentence_case)
        asked = Request(self.task, self.text, self.options, generation, base_prompt_style=self.base_prompt_style)
        object.__setattr__(self, "asked", CheckedRequest(task, asked, self.templates))
        object.__setattr__(self, "_cleaned", clean_aligned(self.text, keep_layout=task.keeps_layout))
        _check_whole("max_evals", self.max_evals, *EVALS)
        _check_whole("seed", self.seed, 0, MAX_SEED)

    @classmethod
    def from_result(cls, engine: Engine, request: Request, result: Result, **settings: Any) -> "ExplainRequest":
        """Build the request to explain an answer: its text, its tokens as generated, and the variant that gave it.

        `settings` are fields of this class, which take precedence.
        """
        token_ids = result.token_ids or (None,) * len(result.raw)
        outputs = tuple(
            _without_end(engine, raw, ids) if ids else raw for raw, ids in zip(result.raw, token_ids, strict=True)
        )
        defaults: dict[str, Any] = {
            "of": result.variant,
            "base_prompt_style": request.base_prompt_style,
            "adapter_strength": request.generation.adapter_strength,
            "sentence_case": request.generation.sentence_case,
        }
        return cls(request.task, request.text, request.options, outputs, **(defaults | settings))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants that are scored."""
        return ("finetuned", "base") if self.of == "difference" else (self.of,)

    @property
    def text_read(self) -> str:
        """The text as the model reads it."""
        return self.asked.read.text

    @property
    def is_recased(self) -> bool:
        """Whether the model reads the text in another case than it was typed in."""
        return self.text_read != self._cleaned.text

    @property
    def edges(self) -> tuple[int, ...]:
        """For each place between two characters of `text_read`, both ends included, the matching place in `text`."""
        return self._cleaned.edges  # recasing moves no character

    def span_read(self, start: int, end: int) -> tuple[int, int]:
        """Return the span in `text_read` of a unit, `text[start:end]`."""
        return self._cleaned.to_cleaned(start, end)

    def for_model(self, engine: Engine) -> "ExplainRequest":
        """Return the request with the templates of a loaded model; a typed output begins as an answer to them does."""
        request = replace(self, templates=templates_of(engine.info))
        if request.asked.template(self.variants[0]).separator:
            return request
        outputs = (output.removeprefix(" ") if isinstance(output, str) else output for output in self.outputs)
        return replace(request, outputs=tuple(outputs))


def as_output(text: str) -> str:
    """Return a typed text as the model would write it: cleaned, and with the space that follows most prompts."""
    return f" {clean(text, keep_layout=True).rstrip()}"


def _without_end(engine: Engine, raw: str, ids: tuple[int, ...]) -> tuple[int, ...]:
    """Return the ids of the tokens that `raw` consists of: without end token and stop string."""
    spans = engine.tokens(ids).spans
    return tuple(token for token, (start, end) in zip(ids, spans, strict=True) if start < min(end, len(raw)))


def _checked_outputs(outputs: Sequence[Output]) -> tuple[Output, ...]:
    checked = tuple(tuple(output) if not isinstance(output, str) else output for output in outputs)
    if not any(output.strip() if isinstance(output, str) else output for output in checked):
        raise InputError(EMPTY_OUTPUT)
    return checked


def _check_target(target: object) -> None:
    if target is None:
        return
    is_pair = isinstance(target, tuple) and len(target) == 2 and all(type(index) is int for index in target)
    if not is_pair or not 0 <= target[0] < target[1]:  # type: ignore[index]
        raise SettingsError(
            f"target is {quoted(target)}; give the first output token and the one after the last, as (3, 5)."
        )


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise SettingsError(f"{name} is {quoted(value)}; give a whole number from {low} to {high}.")


assert (*METHODS, *VALUES) == (*get_args(Method), *get_args(Value))
