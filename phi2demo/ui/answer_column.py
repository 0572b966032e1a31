"""Where one model's answer stands with all that belongs to it; and what every tab that shows answers has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gradio as gr

from phi2demo.engine.engine import Variant
from phi2demo.tasks.declared import VariantTasks
from phi2demo.tasks.request import Request
from phi2demo.ui.run import Run

STATE_S = 3600
"""An answer is forgotten by the server after this long; the page still shows it."""
LABELS: dict[Variant, str] = {"finetuned": "Finetuned", "base": "Base", "second": "Second adapter"}
_LOW_CONFIDENCE_WARNING = 'It may be wrong or biased: check what matters. <a href="#limits">Limits</a>'


@dataclass(frozen=True)
class AnswerColumn:
    """One model's answer."""

    box: Any
    text: Any
    marked: Any
    """In the place of the text where differences are marked; hidden else."""
    score: Any
    """How near the answer is to a good one; empty where there is none."""
    bars: Any
    why: Any
    """Opens the Explain tab with this answer; enabled once there is one."""
    answered: Any
    """The answer as that tab takes it over."""
    after: Any
    """Shown once there is an answer: all that follows."""
    facts: Any
    alternatives: Any
    """What else was weighed; empty where nothing was."""
    details: Any
    receipt: Any
    """The receipt as JSON, out of sight: what is downloaded and replayed."""
    replay: Any
    replayed: Any

    def shown(self) -> list[Any]:
        """What an answer fills."""
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
    """What a tab has that asks models and shows their answers."""

    @property
    def run(self) -> Run:
        """What asks the models."""
        ...

    @property
    def variant_tasks(self) -> VariantTasks:
        """What the models that answer there were finetuned for."""
        ...

    @property
    def text(self) -> Any:
        """The input box."""
        ...

    @property
    def counter(self) -> Any:
        """What the input box holds."""
        ...

    @property
    def upload(self) -> Any:
        """The button that opens a file; None where there is none."""
        ...

    @property
    def columns(self) -> dict[Variant, AnswerColumn]:
        """By the model that answers there."""
        ...

    @property
    def examples(self) -> Any:
        """Texts to try; None where there are none."""
        ...

    def counted(self) -> list[Any]:
        """What decides how much of the room for a text is taken."""
        ...

    def inputs(self) -> set[Any]:
        """Every component that a request depends on."""
        ...

    def filled(self) -> list[Any]:
        """What an example changes."""
        ...

    def shown(self) -> list[Any]:
        """What answers fill."""
        ...

    def read(self, values: Mapping[Any, Any]) -> Request:
        """The request that the values ask for; SettingsError where an option is out of range."""
        ...


def answer_column(
    name: str, variant: Variant, *, lines: int, file: str, bars: bool, visible: bool = True
) -> AnswerColumn:
    """Lay out the place of one answer; `name` tells columns apart, `file` begins the names of downloads."""
    with gr.Column(min_width=260, visible=visible, elem_classes="answer") as box:
        text = gr.Textbox(
            label=LABELS[variant],
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
            gr.HTML(_LOW_CONFIDENCE_WARNING, elem_classes="caution", apply_default_css=False)
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
    """In the browser: what is downloaded never becomes a file on the server."""
    return f"(text) => window.phi2demoDownload({name!r}, text)"
