"""From values of the Explain tab to a request, and from its progress back to values. Knows no torch."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import gradio as gr

from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError, StoppedError
from phi2demo.explain.attribution import Attribution
from phi2demo.explain.estimate import ExplainProgress, Partial
from phi2demo.explain.job import explain
from phi2demo.explain.scoring_plan import output_tokens
from phi2demo.explain.shapley import warm_up
from phi2demo.settings import LONGEST_S
from phi2demo.ui import actions, explanation_view, markup
from phi2demo.ui.answer_column import AnswersTab
from phi2demo.ui.events import ASKS_MODEL, AT_ONCE, PRIVATE
from phi2demo.ui.explain_filling import ExplainFilling, charts
from phi2demo.ui.explain_tab import ID, ExplainTab
from phi2demo.ui.explanation_view import trust_panel
from phi2demo.ui.handlers import FRAME_S, UNEXPECTED, Updates, page_of, wait_for_weights
from phi2demo.ui.sessions import Sessions

log = logging.getLogger(__name__)

ESTIMATE = "estimate"
"""What an estimate is in `Sessions`."""


class ExplainHandlers:
    """The handlers of the tab. Generators end when the page is closed, and with them the computing."""

    def __init__(
        self, tab: ExplainTab, loader: EngineLoader, sessions: Sessions, *, longest_s: float = LONGEST_S
    ) -> None:
        """An explanation may take `longest_s` seconds."""
        self._tab, self._loader, self._sessions, self._longest_s = tab, loader, sessions, longest_s
        self._warmed = False

    def opened(self, output: str) -> None:
        """Import shap and compile what it needs in the background, once; where an estimate comes, it does so after it."""
        if not (output or "").strip():
            self._warm_up()

    def begin(self, request: gr.Request) -> Updates:
        """On the click, before the queue: say so, make Stop work, and end an estimate; refused while something runs."""
        self._sessions.stop(page_of(request), ESTIMATE)
        if not self._sessions.begin(page_of(request), ID):
            raise actions.runs_already()
        return {self._tab.status: markup.status("Waiting for its turn", "waiting"), **actions.started(self._tab)}

    def run(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Explain what the tab asks, step by step."""
        tab = self._tab
        with self._sessions.running(page_of(request), ID) as cancel:
            try:
                asked = tab.ask.read(values)
                engine = yield from wait_for_weights(self._loader, tab.status, cancel)
                if engine is None:
                    yield self._ended("Stopped before it began.", "stopped")
                    return
                with closing(explain(engine, asked, cancel=cancel, longest_s=self._longest_s)) as steps:
                    first = next(steps)
                    picker = (
                        {}
                        if asked.target
                        else {tab.picker: explanation_view.picker(output_tokens(engine, asked.outputs))}
                    )
                    yield {
                        tab.view: explanation_view.ready(),
                        tab.after: gr.Column(visible=False),
                        tab.found: None,
                        **picker,
                    }
                    yield from self._show(page_of(request), first, steps)
            except StoppedError:
                yield self._ended("Stopped before it began.", "stopped")
            except Phi2DemoError as error:
                yield self._ended(str(error), "error")
            except Exception:
                log.exception("an explanation failed")
                yield self._ended(UNEXPECTED, "error")

    def estimate(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """How long it would take, by a short trial; nothing while there is nothing to explain or something runs."""
        tab, page = self._tab, page_of(request)
        if self._sessions.present(page, ID) or self._loader.status.state != "ready":
            return
        if not (values[tab.ask.text] or "").strip() or not (values[tab.ask.output] or "").strip():
            yield {tab.estimate: ""}
            return
        with self._sessions.running(page, ESTIMATE) as cancel:
            try:
                asked = tab.ask.read(values)
                yield {tab.estimate: markup.note("Measuring how long it will take …")}
                engine, longest_s = self._loader.engine(), self._longest_s
                with closing(explain(engine, asked, cancel=cancel, longest_s=longest_s)) as steps:
                    found = next(step.estimate for step in steps if step.estimate)
                yield {tab.estimate: explanation_view.estimated(found)}
                self._warm_up()
            except StoppedError:
                yield {tab.estimate: ""}
            except Phi2DemoError as error:
                yield {tab.estimate: markup.note(str(error), "warning")}

    def stop(self, request: gr.Request) -> Updates:
        """Take a waiting explanation out of the queue, or ask a running one to end; that one says itself when it has."""
        tab, page = self._tab, page_of(request)
        if self._sessions.leave(page, ID):
            return {tab.status: markup.status("Stopped before it began.", "stopped"), **actions.left(tab)}
        if self._sessions.stop(page, ID):
            return {tab.stop: gr.Button(interactive=False)}
        return {tab.status: markup.KEYS, **actions.ended(tab)}

    def refused(self, request: gr.Request) -> Updates:
        """The queue did not take the request, or the line to it broke, or Stop took it out of the queue."""
        if self._sessions.drop(page_of(request), ID):
            return actions.ended(self._tab)
        return self._ended("Too many requests are waiting, or a value was refused. Try again in a moment.", "error")

    def _warm_up(self) -> None:
        """Half a minute on a small machine, and everything else is slower meanwhile."""
        if not self._warmed:
            self._warmed = True
            threading.Thread(target=warm_up, name="warm up shap", daemon=True).start()

    def _show(self, page: str, first: ExplainProgress, steps: Iterator[ExplainProgress]) -> Iterator[Updates]:
        tab, shown = self._tab, 0.0
        progress, partial = first, None
        try:
            while progress.attribution is None:
                if time.monotonic() - shown >= FRAME_S:
                    shown = time.monotonic()
                    updates: Updates = {tab.status: _running(progress)}
                    if progress.estimate:
                        updates[tab.estimate] = explanation_view.estimated(progress.estimate)
                    if progress.partial is not partial and progress.partial:
                        partial = progress.partial
                        updates[tab.view] = explanation_view.so_far(partial)
                    yield updates
                progress = next(steps)
        except Phi2DemoError as error:
            if self._sessions.present(page, ID):
                stopped = isinstance(error, StoppedError)
                ended = self._ended("Stopped", "stopped") if stopped else self._ended(str(error), "error")
                yield ended | self._halted(partial)
            else:  # another answer was carried here meanwhile
                yield actions.ended(tab)
            return
        estimate = {tab.estimate: explanation_view.estimated(progress.estimate)} if progress.estimate else {}
        yield self._done(progress.attribution) | estimate

    def _done(self, found: Attribution) -> Updates:
        tab = self._tab
        return self._ended("Done", "done") | {
            tab.view: explanation_view.view(found),
            **charts(tab, found),
            tab.trust: trust_panel(found),
            tab.settings: explanation_view.settings(found),
            tab.hint: explanation_view.hint(None, found=True) if found.request.target is None else gr.skip(),
            tab.after: gr.Column(visible=True),
            tab.found: found,
        }

    def _halted(self, partial: Partial | None) -> Updates:
        return {self._tab.view: explanation_view.so_far(partial, stopped=True) if partial else explanation_view.ready()}

    def _ended(self, words: str, kind: markup.Kind) -> Updates:
        return {self._tab.status: markup.status(words, kind), **actions.ended(self._tab)}


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
    state = [tab.status, tab.run, tab.stop]
    ready = [tab.run.click(handlers.begin, None, state, **AT_ONCE)]
    if tab.examples is not None:
        begun = tab.examples.click(handlers.begin, None, state, **AT_ONCE)
        ready.append(begun.success(filling.try_example, tab.examples, _filled(tab), **AT_ONCE))
    runs = []
    for each in ready:
        ran = each.success(
            handlers.run,
            ask.all(),
            [*state, tab.estimate, *tab.shown()],
            show_progress="hidden",
            **ASKS_MODEL,
        )
        ran.failure(handlers.refused, None, state, **AT_ONCE)
        runs.append(ran)
    tab.stop.click(handlers.stop, None, [*state, tab.left], **AT_ONCE)
    tab.left.change(None, cancels=runs, **PRIVATE)
    if ask.model:
        ask.model.change(filling.switch, ask.model, ask.base_prompt_style, **AT_ONCE)
    fields = [ask.target, tab.picker, tab.hint, *ask.groups.values()]
    for changed in (ask.output.change, ask.task.input):
        changed(filling.typed, ask.all(), fields, trigger_mode="always_last", **AT_ONCE)
    shown = [ask.target, tab.hint, tab.view, tab.bars, tab.table]
    tab.picker.select(filling.select, {tab.found, ask.task, ask.output, ask.carried}, shown, **AT_ONCE)
    for event in [ask.text.blur, ask.output.blur, *(setting.change for setting in ask.settings())]:
        _estimate(event, tab, handlers)
    _connect_downloads(tab, filling)


def connect_why(tab: AnswersTab, explaining: ExplainTab, handlers: ExplainHandlers, filling: ExplainFilling) -> None:
    """Connect "Why these words?" of every answer of a tab."""
    for column in tab.columns.values():
        carried = column.why.click(
            filling.carry, column.answered, [explaining.tabs, explaining.stop, *_filled(explaining)], **AT_ONCE
        )
        shown = carried.then(None, js="() => window.phi2demoShow('.explain button.run')", **PRIVATE)
        _estimate(shown.then, explaining, handlers)


def _estimate(event: Any, tab: ExplainTab, handlers: ExplainHandlers) -> None:
    event(
        handlers.estimate,
        tab.ask.all(),
        tab.estimate,
        show_progress="hidden",
        trigger_mode="always_last",
        **ASKS_MODEL,
    )


def _filled(tab: ExplainTab) -> list[Any]:
    """What another text and output change; the output comes last: on a tab not yet open its change is told at once."""
    ask = tab.ask
    shown = [tab.picker, tab.hint, tab.view, tab.after, tab.found, tab.status, tab.estimate]
    return [*(ask.all() - {ask.output}), *ask.groups.values(), *shown, ask.output]


def _connect_downloads(tab: ExplainTab, filling: ExplainFilling) -> None:
    """Written when asked for and saved in the browser: no file stays on the server."""
    for ending, button in tab.downloads.items():
        written = button.click(filling.download_of(ending), tab.found, tab.download, **AT_ONCE)
        save = f"(text) => window.phi2demoDownload('explanation.{ending}', text)"
        written.success(None, tab.download, js=save, **PRIVATE)
