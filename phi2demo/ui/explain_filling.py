"""Handlers of the Explain tab that do not compute: answers and examples to explain, typed outputs, selected tokens, downloads."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError
from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution, OutputToken
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.scoring_plan import output_tokens
from phi2demo.tasks import TASKS
from phi2demo.ui import explanation_view, markup
from phi2demo.ui.explain_inputs import Answered, Carried
from phi2demo.ui.explain_tab import ID, ExplainTab
from phi2demo.ui.run import Updates

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
        tab.run.drop(request)
        try:
            asked, result, engine = answered.asked, answered.result, self._loader.engine()
            explained = ExplainRequest.from_result(engine, asked, result)
            tokens = output_tokens(engine, explained.outputs)
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
    return {tab.bars: explanation_view.strongest(attribution), tab.table: explanation_view.every_unit(attribution)}


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
