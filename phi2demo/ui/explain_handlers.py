"""Handlers of the Explain tab that ask the model: from its values to a request, from progress back to values. Knows no torch."""

import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from threading import Event
from typing import Any

import gradio as gr

from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError, StoppedError
from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution
from phi2demo.explain.job import ExplainProgress, Partial, explain
from phi2demo.explain.shapley import warm_up
from phi2demo.settings import LONGEST_S
from phi2demo.ui import explanation_view, markup
from phi2demo.ui.answer_column import AnswersTab
from phi2demo.ui.explain_tab import ExplainFilling, ExplainTab, charts
from phi2demo.ui.explanation_view import trust_panel
from phi2demo.ui.handlers import FRAME_S
from phi2demo.ui.run import ASKS_MODEL, AT_ONCE, PRIVATE, Updates


class ExplainHandlers:
    """The handlers of the tab that ask the model."""

    def __init__(self, tab: ExplainTab, loader: EngineLoader, *, longest_s: float = LONGEST_S) -> None:
        """An explanation may take `longest_s` seconds."""
        self._tab, self._loader, self._longest_s = tab, loader, longest_s
        self._warmed = False

    def opened(self, output: str) -> None:
        """Import shap and compile what it needs in the background, once; where an estimate comes, it does so after it."""
        if not (output or "").strip():
            self._warm_up()

    def run(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Explain what the tab asks, step by step."""
        yield from self._tab.run.steps(partial(self._explain, values, request), request)

    def _explain(self, values: Mapping[Any, Any], request: gr.Request, cancel: Event) -> Generator[Updates, None, None]:
        tab = self._tab
        asked = tab.ask.read(values)
        engine = yield from tab.run.wait_for_weights(self._loader, cancel)
        with closing(explain(engine, asked, cancel=cancel, longest_s=self._longest_s)) as steps:
            first = next(steps)
            tokens = explanation_view.picker([token for token in first.tokens if token.side == "output"])
            yield {
                tab.view: explanation_view.ready(),
                tab.after: gr.Column(visible=False),
                tab.attribution: None,
                **({} if asked.target else {tab.picker: tokens}),
            }
            yield from self._show(request, first, steps)

    def estimate(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Say how long it would take, by a short trial; nothing while there is nothing to explain or something runs."""
        tab = self._tab
        if self._loader.status.state != "ready":
            return
        if (values[tab.ask.text] or "").strip() and (values[tab.ask.output] or "").strip():
            yield from tab.run.estimate(partial(self._estimated, values), request)
        else:
            yield {tab.run.estimate_line: ""}

    def _estimated(self, values: Mapping[Any, Any], cancel: Event) -> str:
        asked = self._tab.ask.read(values)
        with closing(explain(self._loader.engine(), asked, cancel=cancel, longest_s=self._longest_s)) as steps:
            estimate = next(step.estimate for step in steps if step.estimate)
        self._warm_up()
        return explanation_view.estimated(estimate)

    def _warm_up(self) -> None:
        """Start the warm-up, which takes half a minute on a small machine and slows everything else meanwhile."""
        if not self._warmed:
            self._warmed = True
            threading.Thread(target=warm_up, name="warm up shap", daemon=True).start()

    def _show(self, request: gr.Request, first: ExplainProgress, steps: Iterator[ExplainProgress]) -> Iterator[Updates]:
        tab, shown = self._tab, 0.0
        progress, partial = first, None
        try:
            while progress.attribution is None:
                if time.monotonic() - shown >= FRAME_S:
                    shown = time.monotonic()
                    updates: Updates = {tab.run.status: _running(progress)}
                    if progress.estimate:
                        updates[tab.run.estimate_line] = explanation_view.estimated(progress.estimate)
                    if progress.partial is not partial and progress.partial:
                        partial = progress.partial
                        updates[tab.view] = explanation_view.so_far(partial)
                    yield updates
                progress = next(steps)
        except Phi2DemoError as error:
            if not tab.run.sessions.present(*tab.run.key(request)):  # another answer was carried here meanwhile
                yield tab.run.idle()
            else:
                stopped = isinstance(error, StoppedError)
                ended = tab.run.ended("Stopped", "stopped") if stopped else tab.run.ended(str(error), "error")
                yield ended | self._halted(partial)
            return
        estimate = {tab.run.estimate_line: explanation_view.estimated(progress.estimate)} if progress.estimate else {}
        yield self._done(progress.attribution) | estimate

    def _done(self, attribution: Attribution) -> Updates:
        tab, settings = self._tab, export.settings(attribution)
        return tab.run.ended("Done", "done") | {
            tab.view: explanation_view.view(attribution),
            **charts(tab, attribution),
            tab.trust: trust_panel(attribution),
            tab.settings: markup.note(f"{settings}; units: {attribution.kind}; seed {attribution.request.seed}."),
            tab.hint: explanation_view.hint(None, is_shown=True) if attribution.request.target is None else gr.skip(),
            tab.after: gr.Column(visible=True),
            tab.attribution: attribution,
        }

    def _halted(self, partial: Partial | None) -> Updates:
        return {self._tab.view: explanation_view.so_far(partial, stopped=True) if partial else explanation_view.ready()}


def _running(progress: ExplainProgress) -> str:
    numbers = f"{progress.seconds:.1f} s"
    if progress.estimate:
        numbers = f"{progress.calls:,} of at most {progress.estimate.calls:,} calls, {numbers}"
    return markup.status(
        progress.stage, "running", numbers=numbers, share=progress.share if progress.estimate else None
    )


def connect_explain(opened: Any, tab: ExplainTab, handlers: ExplainHandlers, filling: ExplainFilling) -> None:
    """Connect the events of the tab itself; `opened` is gradio's tab around it."""
    ask = tab.ask
    opened.select(handlers.opened, ask.output, None, **AT_ONCE)
    outputs = [tab.run.estimate_line, *tab.shown()]
    events = [tab.run.connect(tab.run.button.click, handlers.run, ask.all(), outputs)]
    if tab.examples is not None:
        fill = filling.try_example, tab.examples, _filled(tab)
        events.append(tab.run.connect(tab.examples.click, handlers.run, ask.all(), outputs, fill=fill))
    tab.run.connect_stop(events)
    if ask.model:
        ask.model.change(filling.switch, ask.model, ask.base_prompt_style, **AT_ONCE)
    fields = [ask.target, tab.picker, tab.hint, *ask.groups.values()]
    for changed in (ask.output.change, ask.task.input):
        changed(filling.typed, ask.all(), fields, trigger_mode="always_last", **AT_ONCE)
    shown = [ask.target, tab.hint, tab.view, tab.bars, tab.table]
    tab.picker.select(filling.select, {tab.attribution, ask.task, ask.output, ask.carried}, shown, **AT_ONCE)
    for event in [ask.text.blur, ask.output.blur, *(setting.change for setting in ask.settings())]:
        _estimate(event, tab, handlers)
    _connect_downloads(tab, filling)


def connect_why(tab: AnswersTab, explaining: ExplainTab, handlers: ExplainHandlers, filling: ExplainFilling) -> None:
    """Connect "Why these words?" of every answer of a tab."""
    for column in tab.columns.values():
        carried = column.why.click(
            filling.carry,
            column.answered,
            [explaining.tabs, explaining.run.stop_button, *_filled(explaining)],
            **AT_ONCE,
        )
        shown = carried.then(None, js="() => window.phi2demoShow('.explain button.run')", **PRIVATE)
        _estimate(shown.then, explaining, handlers)


def _estimate(event: Any, tab: ExplainTab, handlers: ExplainHandlers) -> None:
    event(
        handlers.estimate,
        tab.ask.all(),
        tab.run.estimate_line,
        trigger_mode="always_last",
        **ASKS_MODEL,
    )


def _filled(tab: ExplainTab) -> list[Any]:
    """Return what another text and output update. The output comes last: on a tab not yet open its change fires at once."""
    ask = tab.ask
    shown = [tab.picker, tab.hint, tab.view, tab.after, tab.attribution, tab.run.status, tab.run.estimate_line]
    return [*(ask.all() - {ask.output}), *ask.groups.values(), *shown, ask.output]


def _connect_downloads(tab: ExplainTab, filling: ExplainFilling) -> None:
    """Connect downloads, which are written on the click and saved by the browser: no file stays on the server."""
    for ending, button in tab.downloads.items():
        written = button.click(filling.download_of(ending), tab.attribution, tab.download, **AT_ONCE)
        save = f"(text) => window.phi2demoDownload('explanation.{ending}', text)"
        written.success(None, tab.download, js=save, **PRIVATE)
