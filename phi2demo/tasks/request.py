"""A request: task, text, options, and how the model is prompted. Knows no single task."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import GenerationOptions, Variant
from phi2demo.errors import SettingsError, quoted

PromptStyle = Literal["template", "plain"]

PROMPT_STYLES: dict[PromptStyle, str] = {"plain": "As plain text", "template": "With the template"}
"""The names of the prompt styles, wherever they are shown."""
RECORD = "pretraining.json"
"""A file beside a base that this package pretrained. Such a base knows plain prompts, and no template."""


@dataclass(frozen=True)
class TaskOptions:
    """Base of the options that only one task has."""


@dataclass(frozen=True)
class Request:
    """One text with a task and its options, for one or several variants of the model."""

    task: str
    """A key of TASKS."""
    text: str
    options: TaskOptions
    generation: GenerationOptions
    variants: tuple[Variant, ...] = ("finetuned",)
    """One, or several to compare."""
    seed: int | None = None
    """None draws a random one when the request is checked; the receipt records it."""
    base_prompt_style: PromptStyle = "template"
    """How the base is prompted, if it answers and the task leaves the choice."""
    prompt_style: PromptStyle | None = None
    """How every variant is prompted, as a receipt records it; None leaves it to `Task.prompt_style_of`."""


def best_prompt_style(folder: Path | None) -> PromptStyle:
    """Return the better prompt style for the base in a folder: plain if this package pretrained it, else the template."""
    return "plain" if folder is not None and (folder / RECORD).is_file() else "template"


def language_of(options: TaskOptions) -> str:
    """Return the language of the text, if the options name one; else English."""
    source = str(getattr(options, "source", "en"))
    return source if source in LANGUAGES else "en"


def check_variants(variants: object) -> None:
    """Raise SettingsError unless `variants` is a tuple of names, each once; the loaded model decides whether it has them."""
    if (
        not isinstance(variants, tuple)
        or not variants
        or not all(variant and isinstance(variant, str) for variant in variants)
    ):
        raise SettingsError(f"The models to ask are {quoted(variants)}; name finetuned, base or a further adapter.")
    if len(set(variants)) < len(variants):
        raise SettingsError(f"The models to ask are {quoted(variants)}; name each once.")
