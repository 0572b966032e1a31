"""The Explain tab: text, output and settings on the left, the explanation on the right."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError
from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution, OutputToken
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.scoring_plan import output_tokens
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui import explanation_view, markup
from phi2demo.ui.answer_column import STATE_S
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.explain_inputs import Answered, Carried, ExplainInputs, explain_inputs, rare_inputs
from phi2demo.ui.inputs import FOLDER, examples_to_try
from phi2demo.ui.run import Run, Updates, build_run
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


_FORMATS: dict[str, Callable[[Attribution], str]] = {
    "json": lambda attribution: json.dumps(attribution.as_dict(), ensure_ascii=False, indent=2),
    "csv": export.to_csv,
    "html": export.page,
}


class ExplainFilling:
    """Handlers that answer at once."""

    def __init__(self, tab: ExplainTab, loader: EngineLoader) -> None:
        self._tab, self._loader = tab, loader

    def carry(self, answered: Answered | None, request: gr.Request) -> Updates:
        """Open this tab with an answer of another one."""
        tab = self._tab
        opened: Updates = {tab.tabs: gr.Tabs(selected=ID)}
        if answered is None:
            return opened | _ended(tab, "That answer is no longer kept. Ask again, then press the button.")
        tab.run.sessions.drop(*tab.run.key(request))
        try:
            asked, result, engine = answered.asked, answered.result, self._loader.engine()
            explained = ExplainRequest.from_result(engine, asked, result)
            tokens = output_tokens(engine, explained.for_model(engine).outputs)
        except Phi2DemoError as error:
            return opened | _ended(tab, str(error))
        shown = result.withheld or result.text
        carried = Carried(
            asked.task,
            asked.options,
            shown,
            explained.outputs,
            result.variant,
            explained.adapter_strength,
            explained.sentence_case,
        )
        others = [label for label in TASKS[asked.task].labels if label != result.text]
        return {
            **opened,
            **_cleared(tab, explanation_view.picker(tokens)),
            **tab.ask.filled(asked.task, explained.text, shown, asked.options),
            **({tab.ask.model: result.variant} if tab.ask.model else {}),
            tab.ask.base_prompt_style: asked.base_prompt_style,
            tab.ask.carried: carried,
            tab.ask.instead: others[0] if others else "",
        }

    def try_example(self, index: int) -> Updates:
        """Fill the tab with an example; its status, which says that the run waits, stays."""
        tab, sample = self._tab, self._tab.samples[index]
        filled = tab.ask.filled(sample.task, sample.text, sample.output, sample.options)
        return (
            _cleared(tab, explanation_view.NO_OUTPUT)
            | filled
            | {tab.ask.instead: sample.instead, tab.run.status: gr.skip()}
        )

    def switch(self, model: str) -> Updates:
        """Show the prompt style of the base where the base is asked."""
        return {self._tab.ask.base_prompt_style: gr.Radio(visible=model in ("base", "difference"))}

    def typed(self, values: Mapping[Any, Any]) -> Updates:
        """Show the tokens of another output, and the fields of another task."""
        ask = self._tab.ask
        groups = {group: gr.Column(visible=name == values[ask.task]) for name, group in ask.groups.items()}
        tokens: tuple[OutputToken, ...] = ()
        if self._loader.status.state == "ready" and (values[ask.output] or "").strip():
            try:
                tokens = output_tokens(self._loader.engine(), ask.outputs(values))
            except Phi2DemoError:
                tokens = ()  # said when it is explained
        picked = explanation_view.hint(None, is_shown=False) if tokens else ""
        return {**groups, ask.target: None, self._tab.picker: explanation_view.picker(tokens), self._tab.hint: picked}

    def select(self, values: Mapping[Any, Any], event: gr.EventData) -> Updates:
        """Make the selected tokens the next target, and show their values where the explanation has them."""
        tab, picked = self._tab, _picked(event._data)
        attribution: Attribution | None = values[tab.attribution]
        part = None
        if attribution is not None and tab.ask.is_output(attribution.request, values):
            part = explanation_view.narrowed(attribution, *picked[:2]) if picked else attribution
        return {
            tab.ask.target: picked[:2] if picked else None,
            tab.hint: explanation_view.hint(picked[2] if picked else None, is_shown=part is not None),
            **({tab.view: explanation_view.view(part), **charts(tab, part)} if part else {}),
        }

    def download_of(self, ending: str) -> Callable[[Attribution | None], str]:
        """Return the handler that writes the explanation in a format."""

        def write(attribution: Attribution | None) -> str:
            if attribution is None:
                raise gr.Error(
                    "The explanation is no longer kept. Explain again, then download.", print_exception=False
                )
            return _FORMATS[ending](attribution)

        return write


def charts(tab: ExplainTab, attribution: Attribution) -> Updates:
    """Return the updates of the bar chart and the table."""
    bars = f"<h2>Strongest {attribution.kind}</h2>{export.bars(attribution)}"
    section = explanation_view.section
    return {tab.bars: section(bars), tab.table: section(export.table(attribution))}


def _cleared(tab: ExplainTab, picker: str) -> Updates:
    return {
        tab.picker: picker,
        tab.hint: explanation_view.hint(None, is_shown=False),
        tab.view: explanation_view.ready(),
        tab.after: gr.Column(visible=False),
        tab.attribution: None,
        tab.ask.carried: None,
        tab.run.status: markup.KEYS,
        tab.run.estimate_line: "",
    }


def _ended(tab: ExplainTab, words: str) -> Updates:
    return {tab.run.status: markup.status(words, "error"), tab.run.stop_button: gr.Button(interactive=False)}


def _picked(data: Any) -> tuple[int, int, str] | None:
    """Return the first token, the one after the last and their text, as page.js sends them; None for the whole output."""
    if not isinstance(data, dict) or not all(type(data.get(name)) is int for name in ("first", "last")):
        return None
    if not 0 <= data["first"] < data["last"]:
        return None
    return data["first"], data["last"], str(data.get("text", ""))
