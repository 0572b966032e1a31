"""What a person asks for: task, text, options, and how the model is asked. Knows no task of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from phi2demo.engine.engine import GenerationOptions, Variant
from phi2demo.errors import SettingsError

PromptStyle = Literal["template", "plain"]

PROMPT_STYLES: dict[PromptStyle, str] = {"plain": "As plain text", "template": "With the instruction"}
RECORD = "pretraining.json"
"""Beside a base that this package pretrained: it knows the plain forms, and no template."""


@dataclass(frozen=True)
class TaskOptions:
    """Base of the options that only one task has."""


@dataclass(frozen=True)
class Request:
    """What a person asks for."""

    task: str
    """A key of TASKS."""
    text: str
    options: TaskOptions
    generation: GenerationOptions
    variants: tuple[Variant, ...] = ("finetuned",)
    """One, or several for side by side."""
    seed: int | None = None
    """None: one is drawn, and the receipt says which."""
    base_prompt_style: PromptStyle = "template"
    """How the base is asked, where it is and the task leaves the choice."""
    prompt_style: PromptStyle | None = None
    """How all weights are asked, as a receipt says; None: as `Task.prompt_style_of` does."""


def best_prompt_style(folder: Path | None) -> PromptStyle:
    """How the base in a folder is asked best, as far as can be told: Phi-2 knows the template."""
    return "plain" if folder is not None and (folder / RECORD).is_file() else "template"


def language_of(options: TaskOptions) -> str:
    """Of the person's text, as far as the task says it."""
    return str(getattr(options, "source", "en"))


def check_variants(variants: object) -> None:
    """SettingsError where `variants` does not name models, each once."""
    known = get_args(Variant)
    if not isinstance(variants, tuple) or not variants or any(variant not in known for variant in variants):
        raise SettingsError(f"The models to ask are {variants!r}; choose among {', '.join(known)}.")
    if len(set(variants)) < len(variants):
        raise SettingsError(f"The models to ask are {variants!r}; name each once.")
