"""The inputs of a tab: the text with its counter, the options of a task, and examples."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

import gradio as gr

from phi2demo.data.checks import check_choice
from phi2demo.engine.engine import Variant, variants_named
from phi2demo.settings import ASSETS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.own_task import OwnTask
from phi2demo.tasks.request import Request
from phi2demo.tasks.task import AnyTask
from phi2demo.ui import markup
from phi2demo.ui.files import SUFFIXES
from phi2demo.ui.options import (
    Fields,
    OptionInputs,
)

FOLDER = ASSETS / "examples"


@dataclass(frozen=True)
class Example:
    """One text with the options of its task."""

    label: str
    """The text of its button."""
    text: str
    options: Mapping[str, Any]


MAX_LABEL = 40
"""Characters of the button of an example that has no name."""


def read_examples(task: AnyTask, adapter_tasks: AdapterTasks) -> list[Example]:
    """Return the examples of a task whose languages and modes are declared."""
    if isinstance(task, OwnTask):
        return [
            Example(shorten(sample.text, MAX_LABEL, placeholder="…"), sample.text, sample.values)
            for sample in task.examples
        ]
    path = FOLDER / f"{task.name}.json"
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    examples = [Example(entry["label"], entry["text"], entry.get("options", {})) for entry in entries]
    return [example for example in examples if _is_declared(example, adapter_tasks)]


def _is_declared(example: Example, adapter_tasks: AdapterTasks) -> bool:
    offered = {
        "source": adapter_tasks.languages,
        "target": adapter_tasks.languages,
        "mode": adapter_tasks.modes,
    }
    return all(value in offered[name] for name, value in example.options.items() if name in offered)


@dataclass(frozen=True)
class AskInputs:
    """The inputs of a tab that become a request."""

    text: Any
    counter: Any
    fields: Fields
    variant: Any
    """None where only one model can answer."""
    base_prompt_style: Any
    options: OptionInputs
    adapter_tasks: AdapterTasks
    task: AnyTask
    others: tuple[Variant, ...] = ()
    """The variants of further adapters."""

    def all(self) -> set[Any]:
        """Return every component, as the inputs of an event."""
        variant = {self.variant} if self.variant else set()
        return {self.text, *self.fields.values(), *variant, self.base_prompt_style, *self.options.all()}

    def counted(self) -> list[Any]:
        """Return the components that the counter depends on."""
        kept = self.options.components.get("max_new_tokens")
        return [self.text, *self.fields.values(), *([kept] if kept else [])]

    def read(self, values: Mapping[Any, Any]) -> Request:
        """Return the request of these values; SettingsError where an option is out of range."""
        generation, seed = self.options.read(values)
        chosen = {name: values[component] for name, component in self.fields.items()}
        options = replace(self.adapter_tasks.default_options(self.task.name), **chosen)
        variant = values[self.variant] if self.variant else "base"
        return Request(
            task=self.task.name,
            text=values[self.text] or "",
            options=self.adapter_tasks.adapt(options),
            generation=generation,
            variants=variants_named(variant, self.others),
            seed=seed,
            base_prompt_style=values[self.base_prompt_style],
        )


@dataclass(frozen=True)
class CompareInputs:
    """The inputs of the tab Compare that become a request, or that its answers are shown by."""

    text: Any
    counter: Any
    task: Any
    asks: dict[str, AskInputs]
    """By task: its own fields and options, and the shared input box."""
    reference: Any
    marks: Any
    """The choice of the answer that the others are compared with."""
    variants: tuple[Variant, ...]
    """All models that answer."""

    def all(self) -> set[Any]:
        """Return every component, as the inputs of an event."""
        asked = {component for ask in self.asks.values() for component in ask.all()}
        return asked | {self.task, self.reference, self.marks}

    def counted(self) -> list[Any]:
        """Return the components that the counter depends on."""
        return [self.task, *dict.fromkeys(component for ask in self.asks.values() for component in ask.counted())]

    def read(self, values: Mapping[Any, Any]) -> Request:
        """Return the request of these values, for every model; SettingsError where an option is out of range."""
        task = values[self.task]
        check_choice("task", task, self.asks)
        return replace(self.asks[task].read(values), variants=self.variants)


def input_box(label: str, placeholder: str, *, with_files: bool = True, lines: int = 7) -> tuple[Any, Any, Any]:
    """Lay out the input box, its counter, and the button that opens a file, if wanted."""
    text = gr.Textbox(
        label=label,
        lines=lines,
        max_lines=18,
        placeholder=placeholder,
        elem_classes="input-text",
        autofocus=False,
    )
    with gr.Row(elem_classes="under-input"):
        counter = gr.HTML(markup.counter(0), apply_default_css=False)
        upload = None
        if with_files:
            upload = gr.UploadButton(
                "Open a file",
                file_types=list(SUFFIXES),
                size="sm",
                min_width=0,
                scale=0,
                elem_classes="quiet",
            )
    return text, counter, upload


def examples_to_try(samples: Sequence[tuple[str, str]]) -> Any:
    """Lay out examples as buttons, from pairs of label and text; None where there are none."""
    if not samples:
        return None
    return gr.Dataset(
        components=[gr.Textbox(visible=False)],
        samples=[[text] for _, text in samples],
        sample_labels=[label for label, _ in samples],
        label="Try one",
        type="index",
        samples_per_page=12,
        elem_classes="examples",
    )
