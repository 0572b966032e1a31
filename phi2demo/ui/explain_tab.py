"""The Explain tab: text, output and settings on the left, the explanation on the right."""

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui import explanation_view
from phi2demo.ui.answer_column import STATE_S
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.explain_inputs import ExplainInputs, explain_inputs, rare_inputs
from phi2demo.ui.inputs import FOLDER, examples_to_try
from phi2demo.ui.run import Run, build_run
from phi2demo.ui.sessions import Sessions

ID = "explain"
"""Of the tab."""
_PICK = "window.phi2demoPick(element, trigger)"


@dataclass(frozen=True)
class Sample:
    """An example text with an output."""

    label: str
    task: str
    text: str
    output: str
    options: dict[str, str]
    instead: str = ""


@dataclass(frozen=True)
class ExplainTab:
    """The components of the tab."""

    tabs: Any
    """All tabs of the page, to open this one."""
    ask: ExplainInputs
    run: Run
    samples: list[Sample]
    examples: Any
    picker: Any
    hint: Any
    view: Any
    after: Any
    """Everything below, shown once there is an explanation."""
    bars: Any
    table: Any
    trust: Any
    settings: Any
    downloads: dict[str, Any]
    """Buttons, by the ending of the file."""
    download: Any
    """The hidden text of a download."""
    attribution: Any
    """The explanation that is shown."""

    def shown(self) -> list[Any]:
        """Return the components that an explanation updates."""
        return [
            self.picker,
            self.hint,
            self.view,
            self.after,
            self.bars,
            self.table,
            self.trust,
            self.settings,
            self.attribution,
        ]


def build_explain_tab(
    tabs: Any, description: ModelDescription, adapter_tasks: AdapterTasks, sessions: Sessions
) -> ExplainTab:
    """Lay out the tab."""
    samples = read_samples(adapter_tasks)
    with gr.Row(elem_classes="task explain", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="ask"):
            ask = explain_inputs(description, adapter_tasks)
            run = build_run(ID, "Explain", sessions)
            run.status.render()
            run.estimate_line.render()
            rare_inputs(ask)
            examples = examples_to_try([(sample.label, sample.label) for sample in samples])
        with gr.Column(scale=7, min_width=300, elem_classes="answers"):
            picker = gr.HTML(
                explanation_view.NO_OUTPUT, elem_classes="output-tokens", js_on_load=_PICK, apply_default_css=False
            )
            hint = gr.HTML("", elem_classes="hint", apply_default_css=False)
            view = gr.HTML(explanation_view.EMPTY, elem_classes="view", apply_default_css=False)
            with gr.Column(visible=False, elem_classes="found") as after:
                bars = gr.HTML("", apply_default_css=False)
                trust = gr.HTML("", apply_default_css=False)
                with gr.Accordion("Every value as a table", open=False, elem_classes="details"):
                    table = gr.HTML("", apply_default_css=False)
                settings = gr.HTML("", apply_default_css=False)
                with gr.Row(elem_classes="receipt-actions"):
                    downloads = {
                        ending: gr.Button(f"Download {ending.upper()}", size="sm", min_width=0, scale=0)
                        for ending in ("json", "csv", "html")
                    }
            download = gr.Textbox(visible="hidden", label="Explanation to download", elem_id="explain-download")
            attribution = gr.State(None, time_to_live=STATE_S)
    return ExplainTab(
        tabs, ask, run, samples, examples, picker, hint, view,
        after, bars, table, trust, settings, downloads, download, attribution,
    )  # fmt: skip


def read_samples(adapter_tasks: AdapterTasks) -> list[Sample]:
    """Return the examples of the tab whose task and languages are declared."""
    samples = [Sample(**entry) for entry in json.loads((FOLDER / "explain.json").read_text(encoding="utf-8"))]
    return [sample for sample in samples if sample.task in adapter_tasks.tasks and _is_known(sample, adapter_tasks)]


def _is_known(sample: Sample, adapter_tasks: AdapterTasks) -> bool:
    codes = [sample.options[end] for end in ("source", "target") if end in sample.options]
    return set(codes) <= set(adapter_tasks.languages)
