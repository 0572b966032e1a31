"""The Compare tab: one text at the top, and the answers of all models side by side below."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from phi2demo.engine.engine import Variant
from phi2demo.settings import LONGEST_S
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, VariantTasks
from phi2demo.ui.answer_column import STATE_S, AnswerColumn, answer_column, download_as
from phi2demo.ui.description import ModelDescription, label_of
from phi2demo.ui.inputs import FOLDER, AskInputs, CompareInputs, examples_to_try, input_box
from phi2demo.ui.options import (
    base_prompt_style_field,
    chooses_prompt_style,
    fields_above,
    fields_below,
    option_inputs,
)
from phi2demo.ui.run import Run, build_run
from phi2demo.ui.sessions import Sessions

ID = "compare"
"""Of the tab."""
REFERENCE, NOTHING = "reference", "nothing"
"""Values of the choice of marks, besides the models."""


def order(variants: Iterable[Variant]) -> tuple[Variant, ...]:
    """Return variants in the order of their columns: the base first, then its adapters."""
    return tuple(sorted(variants, key=lambda variant: variant != "base"))


@dataclass(frozen=True)
class Sample:
    """An example text with a reference answer."""

    label: str
    task: str
    text: str
    reference: str
    options: dict[str, str]


@dataclass(frozen=True)
class CompareTab:
    """The components of the tab."""

    ask: CompareInputs
    groups: dict[str, tuple[Any, Any]]
    """By task: the columns above and below the input box, shown while the task is selected."""
    legend: Any
    columns: dict[Variant, AnswerColumn]
    comparison: Any
    """The comparison that is shown."""
    after: Any
    """Copy and download, shown once there is a comparison."""
    written: Any
    """The comparison as hidden JSON, for copy and download."""
    run: Run
    upload: Any
    examples: Any
    samples: list[Sample]
    variant_tasks: VariantTasks
    """What the models that answer here were finetuned for."""

    def chosen(self) -> list[Any]:
        """Return the components that another task updates."""
        return [self.ask.text, *(group for pair in self.groups.values() for group in pair)]

    def filled(self) -> list[Any]:
        """Return the components that an example updates."""
        fields = [component for ask in self.ask.asks.values() for component in ask.fields.values()]
        return [self.ask.task, self.ask.reference, *fields, *self.chosen()]

    def marked(self) -> list[Any]:
        """Return the components that another choice of marks updates."""
        return [
            self.legend,
            *(component for column in self.columns.values() for component in (column.text, column.marked)),
        ]

    def shown(self) -> list[Any]:
        """Return the components that answers update."""
        answers = [component for column in self.columns.values() for component in column.shown()]
        return [*answers, self.legend, self.comparison, self.after, self.written]


def build_compare_tab(
    description: ModelDescription, declared: VariantTasks, sessions: Sessions, *, longest_s: float = LONGEST_S
) -> CompareTab:
    """Lay out the tab with the tasks of either adapter; there are at least two models.

    Requests may take `longest_s` seconds.
    """
    adapter_tasks = declared.either
    names = adapter_tasks.tasks
    samples = read_samples(adapter_tasks)
    with gr.Column(elem_classes="task compare"):
        with gr.Column(elem_classes="ask"):
            with gr.Row(elem_classes="compare-what", equal_height=False):
                task = gr.Dropdown(
                    [(TASKS[name].title, name) for name in names],
                    value=names[0],
                    label="Task",
                    min_width=160,
                    scale=1,
                    elem_classes="task-choice",
                )
                with gr.Column(scale=3, min_width=240, elem_classes="fields-column"):
                    above = {name: _fields(name, adapter_tasks, shown=name == names[0]) for name in names}
            with gr.Row(elem_classes="compare-texts", equal_height=False):
                with gr.Column(scale=3, min_width=280):
                    text, counter, upload = input_box(
                        TASKS[names[0]].input_label, "Type a text, or open a file …", lines=4
                    )
                with gr.Column(scale=2, min_width=240):
                    reference = gr.Textbox(
                        label="Reference answer (optional)",
                        lines=4,
                        max_lines=18,
                        placeholder="Every answer is scored against it …",
                        elem_classes="reference",
                    )
            run = build_run(ID, "Compare", sessions)
            run.status.render()
            below, base_prompt_styles = {}, {}
            for name in names:
                with gr.Column(visible=name == names[0], elem_classes="fields options-group") as group:
                    base_prompt_styles[name] = base_prompt_style_field(
                        description.base_prompt_style, visible=chooses_prompt_style(TASKS[name], adapter_tasks)
                    )
                    inputs = option_inputs(
                        TASKS[name],
                        adapter_tasks.generation(name),
                        has_strength=description.has_strength,
                        base_prompt_style=base_prompt_styles[name],
                        longest_s=longest_s,
                    )
                    below[name] = group, inputs
            examples = examples_to_try([(sample.label, sample.text) for sample in samples])
        with gr.Column(elem_classes="answers"):
            marks, legend = _marks(description)
            with gr.Row(elem_classes="columns", equal_height=False):
                columns = {
                    variant: answer_column(ID, variant, lines=3, file=f"{variant}", bars=True)
                    for variant in order(description.variants)
                }
            comparison = gr.State(None, time_to_live=STATE_S)
            after, written = _downloads()
    asks = {
        name: AskInputs(
            text, counter, above[name][1], None, base_prompt_styles[name], below[name][1], adapter_tasks, TASKS[name]
        )
        for name in names
    }
    ask = CompareInputs(text, counter, task, asks, reference, marks, tuple(columns))
    groups = {name: (above[name][0], below[name][0]) for name in names}
    return CompareTab(
        ask, groups, legend, columns, comparison, after, written,
        run, upload, examples, samples, declared,
    )  # fmt: skip


def read_samples(adapter_tasks: AdapterTasks) -> list[Sample]:
    """Return the examples of the tab whose task and languages are declared."""
    samples = [Sample(**entry) for entry in json.loads((FOLDER / "compare.json").read_text(encoding="utf-8"))]
    return [
        sample
        for sample in samples
        if sample.task in adapter_tasks.tasks
        and {sample.options[end] for end in ("source", "target") if end in sample.options}
        <= set(adapter_tasks.languages)
    ]


def _fields(name: str, adapter_tasks: AdapterTasks, *, shown: bool) -> tuple[Any, dict[str, Any]]:
    with gr.Column(visible=shown, elem_classes="fields") as group:
        fields = fields_above(TASKS[name], adapter_tasks, with_swap=False)[0]
        fields |= fields_below(TASKS[name], adapter_tasks)
    return group, fields


def _marks(description: ModelDescription) -> tuple[Any, Any]:
    anchors = [(label_of(variant), variant) for variant in order(description.variants)]
    marks = gr.Radio(
        [*anchors, ("Reference", REFERENCE), ("Nothing", NOTHING)],
        value="base",
        label="Mark differences from",
        elem_classes="choice",
    )
    return marks, gr.HTML("", apply_default_css=False, elem_classes="marks-legend")


def _downloads() -> tuple[Any, Any]:
    with gr.Row(visible=False, elem_classes="receipt-actions") as after:
        copy = gr.Button("Copy as JSON", size="sm", min_width=0, scale=0, elem_classes="copy-json")
        save = gr.Button("Download JSON", size="sm", min_width=0, scale=0)
    written = gr.Textbox(visible="hidden", label="Comparison as JSON", elem_id="compare-json")
    copy.click(None, written, js="(text) => window.phi2demoCopy('.copy-json', text)", api_visibility="private")
    save.click(None, written, js=download_as("comparison.json"), api_visibility="private")
    return after, written
