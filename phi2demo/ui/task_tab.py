"""The tab of a task: input on the left, answers on the right. One function lays out every task."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from phi2demo.engine.engine import Variant
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.declared import AdapterTasks, VariantTasks
from phi2demo.tasks.own_task import OwnTask
from phi2demo.tasks.task import AnyTask
from phi2demo.ui.answer_column import AnswerColumn, answer_column
from phi2demo.ui.description import ModelDescription, label_of
from phi2demo.ui.inputs import AskInputs, Example, examples_to_try, input_box, read_examples
from phi2demo.ui.options import (
    base_prompt_style_field,
    chooses_prompt_style,
    fields_above,
    fields_below,
    option_inputs,
)
from phi2demo.ui.run import Run, build_run
from phi2demo.ui.sessions import Sessions

_RUN_LABELS = {"question_answering": "Ask", "sentiment": "Classify"}
_PLACEHOLDERS = {
    "generation": "Begin a story …",
    "summarization": "Paste an article, or open a file …",
    "translation": "Type a sentence, or open a file …",
    "sentiment": "Type a review …",
    "question_answering": "Paste the text that holds the answer …",
}
_WITHOUT_FILES = ("sentiment",)


@dataclass(frozen=True)
class TaskTab:
    """The components of one tab."""

    task: AnyTask
    ask: AskInputs
    run: Run
    columns: dict[Variant, AnswerColumn]
    upload: Any
    swap_languages: Any
    examples: Any
    samples: list[Example]

    @property
    def variant_tasks(self) -> VariantTasks:
        """What the models that answer here were finetuned for."""
        return VariantTasks(self.ask.adapter_tasks)

    def filled(self) -> list[Any]:
        """Return the components that an example updates."""
        return [self.ask.text, *self.ask.fields.values()]

    def shown(self) -> list[Any]:
        """Return the components that answers update."""
        return [component for column in self.columns.values() for component in column.shown()]


def build_task_tab(
    task: AnyTask,
    description: ModelDescription,
    adapter_tasks: AdapterTasks,
    sessions: Sessions,
    *,
    longest_s: float = LONGEST_S,
) -> TaskTab:
    """Lay out the tab of a task, whose requests may take `longest_s` seconds."""
    samples = read_examples(task, adapter_tasks)
    with gr.Row(elem_classes="task", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="ask"):
            above, swap_languages = fields_above(task, adapter_tasks)
            text, counter, upload = input_box(
                task.input_label,
                _PLACEHOLDERS.get(task.name, "Type or paste a text …"),
                with_files=task.name not in _WITHOUT_FILES,
            )
            fields = above | fields_below(task, adapter_tasks)
            variant = _switch(description)
            base_prompt_style = base_prompt_style_field(
                description.base_prompt_style,
                visible=not description.has_adapter and chooses_prompt_style(task, adapter_tasks),
            )
            run = build_run(
                task.name, _RUN_LABELS.get(task.name, "Run" if isinstance(task, OwnTask) else task.title), sessions
            )
            run.status.render()
            options = option_inputs(
                task,
                adapter_tasks.generation(task.name),
                has_strength=description.has_strength,
                base_prompt_style=base_prompt_style,
                longest_s=longest_s,
            )
            examples = examples_to_try([(sample.label, sample.text) for sample in samples])
        with (
            gr.Column(scale=7, min_width=300, elem_classes="answers"),
            gr.Row(elem_classes="columns", equal_height=False),
        ):
            columns = _columns(task, description)
    ask = AskInputs(text, counter, fields, variant, base_prompt_style, options, adapter_tasks, task, description.others)
    return TaskTab(task, ask, run, columns, upload, swap_languages, examples, samples)


def _switch(description: ModelDescription) -> Any:
    if not description.has_adapter:
        return None
    alone = [(label_of(variant), variant) for variant in description.variants]
    beside = [(f"{other} and base", f"{other}+base") for other in description.others]
    choices = [*alone, ("Side by side", "both"), *beside]
    return gr.Radio(choices, value="finetuned", label="Model", elem_classes="choice")


def _columns(task: AnyTask, description: ModelDescription) -> dict[Variant, AnswerColumn]:
    shown_first = description.variants[0]
    variants = ("finetuned", *description.others, "base") if description.has_adapter else ("base",)
    lines = 1 if task.labels else 6
    return {
        variant: answer_column(
            task.name, variant, lines=lines, file=task.command, bars=bool(task.labels), visible=variant == shown_first
        )
        for variant in variants
    }
