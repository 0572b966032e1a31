"""What only one task asks for: languages, a length, a mode, a question."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from phi2demo.tasks.declaration import Declaration
from phi2demo.tasks.form import FORMS, Form
from phi2demo.tasks.generation import MODES
from phi2demo.tasks.languages import LANGUAGES
from phi2demo.tasks.summarization import LENGTHS
from phi2demo.tasks.task import AnyTask

Fields = dict[str, Any]
"""Components by the name of the task option that they set."""


def fields_above(task: AnyTask, declaration: Declaration, *, with_swap: bool = True) -> tuple[Fields, Any]:
    """What stands above the input box, and the button that swaps languages where there is one."""
    if task.name != "translation":
        return {}, None
    choices = [(LANGUAGES[code], code) for code in declaration.languages]
    start = declaration.default_options(task.name)
    with gr.Row(elem_classes="languages", equal_height=True):
        source = gr.Dropdown(choices, value=getattr(start, "source"), label="From", min_width=110)  # noqa: B009
        swap = None
        if with_swap:
            swap = gr.Button("Swap", elem_classes="swap", size="sm", min_width=0, scale=0)
        target = gr.Dropdown(choices, value=getattr(start, "target"), label="To", min_width=110)  # noqa: B009
    return {"source": source, "target": target}, swap


def fields_below(task: AnyTask, declaration: Declaration) -> Fields:
    """What stands below the input box."""
    lay_out: dict[str, Callable[[Declaration], Fields]] = {
        "generation": _mode,
        "summarization": _length,
        "question_answering": _question,
    }
    return lay_out[task.name](declaration) if task.name in lay_out else {}


def chooses_form(task: AnyTask, declaration: Declaration) -> bool:
    """Whether how the base is asked can be chosen: a text to go on with is given as it is."""
    return task.name != "generation" or "instruct" in declaration.modes


def base_form_field(start: Form, *, visible: bool) -> Any:
    """How the base is asked, shown where it is."""
    labels = FORMS | ({"plain": "As it was pretrained"} if start == "plain" else {})
    choices = [(label, form) for form, label in labels.items()]
    return gr.Radio(choices, value=start, label="Ask the base", elem_classes="choice", visible=visible)


def _mode(declaration: Declaration) -> Fields:
    if len(declaration.modes) < 2:
        return {}
    choices = [(MODES[mode], mode) for mode in declaration.modes]
    return {"mode": gr.Radio(choices, value=declaration.modes[0], label="Mode", elem_classes="choice")}


def _length(declaration: Declaration) -> Fields:
    choices = [(words[0].upper() + words[1:], length) for length, words in LENGTHS.items()]
    start = declaration.default_options("summarization")
    return {"length": gr.Radio(choices, value=getattr(start, "length"), label="Length", elem_classes="choice")}  # noqa: B009


def _question(declaration: Declaration) -> Fields:
    return {
        "question": gr.Textbox(
            label="Your question", lines=1, max_lines=3, placeholder="What does the text say about …?"
        )
    }
