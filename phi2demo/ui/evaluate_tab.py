"""The Evaluate tab: the choice of figures on the left, the figures on the right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from phi2demo.data.test_sets import TestSet
from phi2demo.evaluation.examples import Example
from phi2demo.evaluation.report import Report
from phi2demo.evaluation.reports import known_test_sets
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui import markup, report_view
from phi2demo.ui.answer_column import STATE_S
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.evaluate_inputs import (
    LiveInputs,
    own_inputs,
    seed_input,
    shipped_inputs,
    system_inputs,
    tasks_with_pairs,
)
from phi2demo.ui.run import Run, build_run
from phi2demo.ui.sessions import Sessions

ID = "evaluate"
"""Of the tab."""
SOURCES = {"report": "A report", "run": "Run now", "own": "Your own pairs"}
"""Where figures come from."""
TICK_S = 2.0
_ORDERS = [("Worst", "worst"), ("Best", "best"), ("Biggest change", "change")]


@dataclass(frozen=True, eq=False)
class ShownReport:
    """The report that is shown, with its examples and its JSON document."""

    report: Report
    examples: tuple[Example, ...] = ()
    live: bool = False
    """Whether the report was made on this page."""


@dataclass(frozen=True)
class ExampleInputs:
    """The components of the list of examples."""

    box: Any
    test_set: Any
    order: Any
    list: Any
    more: Any
    count: Any
    """The number of examples that are shown."""


@dataclass(frozen=True)
class EvaluateTab:
    """The components of the tab."""

    source: Any
    groups: dict[str, Any]
    """By source: shown while the source is selected."""
    asking: Any
    """The columns that only a live run needs."""
    report: Any
    upload: Any
    live: LiveInputs
    run: Run
    about: Any
    plot: Any
    after: Any
    """Everything below, shown once there are figures."""
    table: Any
    slices: Any
    examples: ExampleInputs
    downloads: dict[str, Any]
    """Buttons, by the ending of the file."""
    download: Any
    """The hidden text of a download."""
    shown_report: Any
    running: Any
    """The live run that waits for its next turn."""
    turn: Any
    """A hidden number; when it changes, the next turn begins."""
    timer: Any
    """Ticks until the weights are loaded."""

    def shown(self) -> list[Any]:
        """Return the components that figures update."""
        examples = self.examples
        choice = [examples.box, examples.test_set, examples.order, examples.list, examples.more, examples.count]
        return [self.about, self.plot, self.after, self.table, self.slices, *choice, self.shown_report]


def build_evaluate_tab(
    description: ModelDescription, adapter_tasks: AdapterTasks, sessions: Sessions, *, shipped: Sequence[TestSet] = ()
) -> EvaluateTab:
    """Lay out the tab."""
    test_sets = known_test_sets(shipped, adapter_tasks)
    with gr.Row(elem_classes="task evaluate", equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_classes="ask"):
            missing = {"run": not test_sets, "own": not tasks_with_pairs(adapter_tasks)}
            offered = [(title, name) for name, title in SOURCES.items() if not missing.get(name)]
            source = gr.Radio(offered, value="report", label="Figures from", elem_classes="choice source")
            with gr.Column(elem_classes="fields") as reports:
                report = gr.Dropdown([], label="Report", elem_classes="task-choice")
                upload = gr.UploadButton(
                    "Open a report.json", file_types=[".json"], size="sm", min_width=0, scale=0, elem_classes="quiet"
                )
            with gr.Column(visible=False, elem_classes="fields") as shipped_group:
                tasks, count = shipped_inputs(test_sets)
            with gr.Column(visible=False, elem_classes="fields") as own_group:
                own = own_inputs(adapter_tasks)
            with gr.Column(visible=False, elem_classes="fields") as asking:
                systems = system_inputs(description)
                run = build_run(ID, "Run", sessions, status=markup.status("", "idle"))
            run.status.render()
            run.estimate_line.render()
            with gr.Column(visible=False, elem_classes="fields") as rare:
                seed = seed_input()
        with gr.Column(scale=8, min_width=300, elem_classes="answers"):
            shows = _figures()
    live = LiveInputs(tasks, count, systems=systems, seed=seed, test_sets=test_sets, adapter_tasks=adapter_tasks, **own)
    running = gr.State(None, time_to_live=STATE_S)
    groups = {"report": reports, "run": shipped_group, "own": own_group}
    return EvaluateTab(
        source, groups, [asking, rare], report, upload, live, replace(run, cleared={running: None}), **shows,
        running=running, turn=gr.Number(0, visible="hidden", label="Turn"),
        timer=gr.Timer(TICK_S, active=False),
    )  # fmt: skip


def _figures() -> dict[str, Any]:
    about = gr.HTML("", apply_default_css=False)
    plot = gr.HTML(report_view.NO_REPORT, apply_default_css=False)
    with gr.Column(visible=False, elem_classes="found") as after:
        with gr.Accordion("By length, genre and complexity", open=True, elem_classes="details"):
            slices = gr.HTML("", apply_default_css=False)
        with gr.Accordion("Examples", open=True, elem_classes="details", visible=False) as box:
            examples = _examples(box)
        with gr.Accordion("All figures as a table", open=True, elem_classes="details"):
            table = gr.HTML("", apply_default_css=False)
        with gr.Row(elem_classes="receipt-actions"):
            names = {"json": "report", "jsonl": "answers", "csv": "table", "zip": "all"}
            downloads = {
                ending: gr.Button(f"Download {name} ({ending})", size="sm", min_width=0, scale=0)
                for ending, name in names.items()
            }
    return {
        "about": about,
        "plot": plot,
        "after": after,
        "table": table,
        "slices": slices,
        "examples": examples,
        "downloads": downloads,
        "download": gr.Textbox(visible="hidden", label="Figures to download", elem_id="evaluate-download"),
        "shown_report": gr.State(None, time_to_live=STATE_S),
    }


def _examples(box: Any) -> ExampleInputs:
    with gr.Row(elem_classes="pair", equal_height=True):
        test_set = gr.Dropdown([], label="Test set", min_width=160)
    order = gr.Radio(_ORDERS, value="worst", label="Sort by", elem_classes="choice")
    listed = gr.HTML("", apply_default_css=False)
    more = gr.Button("Show more", size="sm", min_width=0, scale=0, elem_classes="quiet", visible=False)
    return ExampleInputs(box, test_set, order, listed, more, gr.State(0))
