"""The column of one model's answer, and the protocol of tabs that show answers."""

from dataclasses import dataclass
from typing import Any, Protocol

import gradio as gr

from phi2demo.engine.engine import Variant
from phi2demo.tasks.declared import VariantTasks
from phi2demo.ui.description import label_of
from phi2demo.ui.inputs import AskInputs, CompareInputs
from phi2demo.ui.run import Run

STATE_S = 3600
"""The server forgets an answer after this time; the page still shows it."""
_LOW_CONFIDENCE_WARNING = 'It may be wrong or biased: check what matters. <a href="#limits">Limits</a>'


@dataclass(frozen=True)
class AnswerColumn:
    """The components that show one model's answer."""

    box: Any
    text: Any
    marked: Any
    """Replaces the text where differences are marked; otherwise hidden."""
    score: Any
    """The scores against a reference answer; empty where there is none."""
    bars: Any
    why: Any
    """Opens the Explain tab with this answer; enabled once there is one."""
    answered: Any
    """The answer with its request, for the Explain tab."""
    after: Any
    """Everything below, shown once there is an answer."""
    facts: Any
    alternatives: Any
    """The other candidates; empty where there were none."""
    details: Any
    receipt: Any
    """The receipt as hidden JSON, for download and replay."""
    replay: Any
    replayed: Any

    def shown(self) -> list[Any]:
        """Return the components that an answer updates."""
        return [
            self.text,
            self.marked,
            self.score,
            self.bars,
            self.why,
            self.answered,
            self.after,
            self.facts,
            self.alternatives,
            self.details,
            self.receipt,
            self.replayed,
        ]


class AnswersTab(Protocol):
    """A tab that asks models and shows their answers."""

    @property
    def run(self) -> Run:
        """The run of the tab."""
        ...

    @property
    def variant_tasks(self) -> VariantTasks:
        """What the models that answer there were finetuned for."""
        ...

    @property
    def ask(self) -> AskInputs | CompareInputs:
        """The inputs that become a request."""
        ...

    @property
    def upload(self) -> Any:
        """The button that opens a file; None where there is none."""
        ...

    @property
    def columns(self) -> dict[Variant, AnswerColumn]:
        """The columns, by the model that answers there."""
        ...

    @property
    def examples(self) -> Any:
        """Texts to try; None where there are none."""
        ...

    def filled(self) -> list[Any]:
        """Return the components that an example updates."""
        ...

    def shown(self) -> list[Any]:
        """Return the components that answers update."""
        ...


def answer_column(
    name: str, variant: Variant, *, lines: int, file: str, bars: bool, visible: bool = True
) -> AnswerColumn:
    """Lay out the column of one answer; `name` is part of element ids, `file` starts the names of downloads."""
    with gr.Column(min_width=260, visible=visible, elem_classes="answer") as box:
        text = gr.Textbox(
            label=label_of(variant),
            lines=lines,
            max_lines=24,
            interactive=False,
            buttons=["copy"],
            placeholder="The answer appears here.",
            elem_id=f"{name}-{variant}-text",
            elem_classes="output-text",
        )
        marked = gr.HTML("", apply_default_css=False, visible=False, elem_classes="marked")
        score = gr.HTML("", apply_default_css=False, visible=False)
        chances = gr.HTML("", apply_default_css=False, visible=bars)
        why = gr.Button("Why these words?", size="sm", min_width=0, scale=0, interactive=False, elem_classes="why")
        answered = gr.State(None, time_to_live=STATE_S)
        with gr.Column(visible=False, elem_classes="after") as after:
            facts = gr.HTML("", apply_default_css=False)
            gr.HTML(_LOW_CONFIDENCE_WARNING, elem_classes="low-confidence-warning", apply_default_css=False)
            others = gr.HTML("", apply_default_css=False)
            with gr.Accordion("Receipt", open=False, elem_classes="details"):
                details = gr.HTML("", apply_default_css=False)
                with gr.Row(elem_classes="receipt-actions"):
                    replay = gr.Button("Replay", size="sm", min_width=0, scale=0)
                    save_receipt = gr.Button("Download receipt", size="sm", min_width=0, scale=0)
                    save_text = gr.Button("Download text", size="sm", min_width=0, scale=0)
                replayed = gr.HTML("", elem_classes="replayed", apply_default_css=False)
                receipt = gr.Textbox(visible="hidden", label="Receipt as JSON", elem_id=f"{name}-{variant}-receipt")
    save_receipt.click(None, receipt, js=download_as(f"{file}-receipt.json"), api_visibility="private")
    save_text.click(None, text, js=download_as(f"{file}.txt"), api_visibility="private")
    return AnswerColumn(
        box, text, marked, score, chances, why, answered, after, facts, others, details, receipt, replay, replayed
    )


def download_as(name: str) -> str:
    """Return JavaScript that saves a text in the browser, so that no file is written on the server."""
    return f"(text) => window.phi2demoDownload({name!r}, text)"
