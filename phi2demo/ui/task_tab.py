"""One tab: what is asked on the left, what is answered on the right. The same function for every task."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from phi2demo.engine.engine import Use
from phi2demo.errors import SettingsError
from phi2demo.tasks.declaration import Declaration
from phi2demo.tasks.task import AnyTask, Request
from phi2demo.ui import markup
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.examples import Example, read_examples
from phi2demo.ui.fields import Fields, fields_above, fields_below
from phi2demo.ui.files import SUFFIXES
from phi2demo.ui.options import OptionInputs, option_inputs

USES: dict[str, tuple[Use, ...]] = {
    "finetuned": ("finetuned",),
    "base": ("base",),
    "both": ("finetuned", "base"),
}
"""What the switch offers, as the uses of a request."""

_USE_LABELS = [("Finetuned", "finetuned"), ("Base", "base"), ("Side by side", "both")]
_RUN_LABELS = {"question_answering": "Ask", "sentiment": "Classify"}
_PLACEHOLDERS = {
    "generation": "Begin a story …",
    "summarization": "Paste an article, or open a file …",
    "translation": "Type a sentence, or open a file …",
    "sentiment": "Type a review …",
    "question_answering": "Paste the text that holds the answer …",
}
STATE_S = 3600
"""An answer is forgotten by the server after this long; the page still shows it."""
_WITHOUT_FILES = ("sentiment",)
_CAUTION = 'It may be wrong or biased: check what matters. <a href="#limits">Limits</a>'


@dataclass(frozen=True)
class AskInputs:
    """What a person sets on a tab."""

    text: Any
    counter: Any
    fields: Fields
    use: Any
    """None where only one model can answer."""
    options: OptionInputs
    declaration: Declaration
    task: AnyTask

    def all(self) -> set[Any]:
        """Every component, as the inputs of an event."""
        return {self.text, *self.fields.values(), *({self.use} if self.use else ()), *self.options.all()}

    def read(self, values: Mapping[Any, Any]) -> Request:
        """The request that the values ask for; SettingsError where an option is out of range."""
        generation, seed = self.options.read(values)
        chosen = {name: values[component] for name, component in self.fields.items()}
        options = replace(self.declaration.default_options(self.task.name), **chosen)
        use = values[self.use] if self.use else "base"
        if use not in USES:
            raise SettingsError(f"The model chosen is {use!r}; choose one of {', '.join(USES)}.")
        return Request(
            task=self.task.name,
            text=values[self.text] or "",
            options=self.declaration.adapt(options),
            generation=generation,
            uses=USES[use],
            seed=seed,
        )


@dataclass(frozen=True)
class AnswerColumn:
    """One model's answer."""

    box: Any
    text: Any
    bars: Any
    why: Any
    """Opens the Explain tab with this answer; enabled once there is one."""
    answered: Any
    """The answer as that tab takes it over."""
    after: Any
    """Shown once there is an answer: all that follows."""
    facts: Any
    details: Any
    receipt: Any
    """The receipt as JSON, out of sight: what is downloaded and replayed."""
    replay: Any
    replayed: Any


@dataclass(frozen=True)
class TaskTab:
    """The components of one tab."""

    task: AnyTask
    ask: AskInputs
    run: Any
    stop: Any
    status: Any
    columns: dict[Use, AnswerColumn]
    upload: Any
    swap: Any
    examples: Any
    samples: list[Example]


def build_task_tab(task: AnyTask, description: ModelDescription, declaration: Declaration) -> TaskTab:
    """Lay out the tab of a task."""
    samples = read_examples(task.name, declaration)
    with gr.Row(elem_classes="task", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="ask"):
            above, swap = fields_above(task, declaration)
            text, counter, upload = _input(task)
            fields = above | fields_below(task, declaration)
            use = _switch(description)
            with gr.Row(elem_classes="actions"):
                label = _RUN_LABELS.get(task.name, task.title)
                run = gr.Button(label, variant="primary", elem_classes="run", min_width=0, scale=0)
                stop = gr.Button("Stop", elem_classes="stop", interactive=False, min_width=0, scale=0)
            status = gr.HTML(markup.KEYS, elem_classes="status-line", apply_default_css=False)
            options = option_inputs(task)
            examples = _examples(samples)
        with (
            gr.Column(scale=7, min_width=300, elem_classes="answers"),
            gr.Row(elem_classes="columns", equal_height=False),
        ):
            columns = _columns(task, description)
    ask = AskInputs(text, counter, fields, use, options, declaration, task)
    return TaskTab(task, ask, run, stop, status, columns, upload, swap, examples, samples)


def _input(task: AnyTask) -> tuple[Any, Any, Any]:
    text = gr.Textbox(
        label=task.input_label,
        lines=7,
        max_lines=18,
        placeholder=_PLACEHOLDERS.get(task.name, ""),
        elem_classes="input-text",
        autofocus=False,
    )
    with gr.Row(elem_classes="under-input"):
        counter = gr.HTML(markup.counter(0, tokens=None, context=0), apply_default_css=False)
        upload = None
        if task.name not in _WITHOUT_FILES:
            upload = gr.UploadButton(
                "Open a file",
                file_types=list(SUFFIXES),
                size="sm",
                min_width=0,
                scale=0,
                elem_classes="quiet",
            )
    return text, counter, upload


def _switch(description: ModelDescription) -> Any:
    if not description.has_adapter:
        return None
    return gr.Radio(_USE_LABELS, value="finetuned", label="Answer with", elem_classes="choice")


def _examples(samples: list[Example]) -> Any:
    if not samples:
        return None
    return gr.Dataset(
        components=[gr.Textbox(visible=False)],
        samples=[[sample.text] for sample in samples],
        sample_labels=[sample.label for sample in samples],
        label="Try one",
        type="index",
        samples_per_page=12,
        elem_classes="examples",
    )


def _columns(task: AnyTask, description: ModelDescription) -> dict[Use, AnswerColumn]:
    if not description.has_adapter:
        return {"base": _column(task, "base", "Base", visible=True)}
    return {
        "finetuned": _column(task, "finetuned", "Finetuned", visible=True),
        "base": _column(task, "base", "Base", visible=False),
    }


def _column(task: AnyTask, use: Use, label: str, *, visible: bool) -> AnswerColumn:
    name = f"{task.name}-{use}"
    with gr.Column(min_width=260, visible=visible, elem_classes="answer") as box:
        text = gr.Textbox(
            label=label,
            lines=1 if task.labels else 6,
            max_lines=24,
            interactive=False,
            buttons=["copy"],
            placeholder="The answer appears here.",
            elem_id=f"{name}-text",
            elem_classes="output-text",
        )
        bars = gr.HTML("", apply_default_css=False, visible=bool(task.labels))
        why = gr.Button("Why these words?", size="sm", min_width=0, scale=0, interactive=False, elem_classes="why")
        answered = gr.State(None, time_to_live=STATE_S)
        with gr.Column(visible=False, elem_classes="after") as after:
            facts = gr.HTML("", apply_default_css=False)
            gr.HTML(_CAUTION, elem_classes="caution", apply_default_css=False)
            with gr.Accordion("Receipt", open=False, elem_classes="details"):
                details = gr.HTML("", apply_default_css=False)
                with gr.Row(elem_classes="receipt-actions"):
                    replay = gr.Button("Replay", size="sm", min_width=0, scale=0)
                    save_receipt = gr.Button("Download receipt", size="sm", min_width=0, scale=0)
                    save_text = gr.Button("Download text", size="sm", min_width=0, scale=0)
                replayed = gr.HTML("", elem_classes="replayed", apply_default_css=False)
                receipt = gr.Textbox(visible="hidden", label="Receipt as JSON", elem_id=f"{name}-receipt")
    save_receipt.click(None, receipt, js=_download(f"{task.command}-receipt.json"), api_visibility="private")
    save_text.click(None, text, js=_download(f"{task.command}.txt"), api_visibility="private")
    return AnswerColumn(box, text, bars, why, answered, after, facts, details, receipt, replay, replayed)


def _download(name: str) -> str:
    """In the browser: what is downloaded never becomes a file on the server."""
    return f"(text) => window.phi2demoDownload({name!r}, text)"
