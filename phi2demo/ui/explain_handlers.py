"""From values of the Explain tab to a request, and from its progress back to values. Knows no torch."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import gradio as gr

from phi2demo.engine.loader import EngineLoader
from phi2demo.errors import Phi2DemoError, StoppedError
from phi2demo.explain.attribution import Attribution
from phi2demo.explain.progress import ExplainProgress, Partial
from phi2demo.explain.run import explain
from phi2demo.explain.setting import output_tokens
from phi2demo.explain.shapley import warm_up
from phi2demo.settings import LONGEST_S
from phi2demo.ui import actions, heatmap, markup
from phi2demo.ui.explain_filling import charts
from phi2demo.ui.explain_tab import ID, ExplainTab
from phi2demo.ui.handlers import FRAME_S, UNEXPECTED, Updates, page_of, wait_for_weights
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.trust import trust_panel

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
                    picker = {} if asked.target else {tab.picker: heatmap.picker(output_tokens(engine, asked.outputs))}
                    yield {tab.view: heatmap.ready(), tab.after: gr.Column(visible=False), tab.found: None, **picker}
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
                yield {tab.estimate: heatmap.estimated(found)}
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
                        updates[tab.estimate] = heatmap.estimated(progress.estimate)
                    if progress.partial is not partial and progress.partial:
                        partial = progress.partial
                        updates[tab.view] = heatmap.so_far(partial)
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
        estimate = {tab.estimate: heatmap.estimated(progress.estimate)} if progress.estimate else {}
        yield self._done(progress.attribution) | estimate

    def _done(self, found: Attribution) -> Updates:
        tab = self._tab
        return self._ended("Done", "done") | {
            tab.view: heatmap.view(found),
            **charts(tab, found),
            tab.trust: trust_panel(found),
            tab.settings: heatmap.settings(found),
            tab.hint: heatmap.hint(None, found=True) if found.request.target is None else gr.skip(),
            tab.after: gr.Column(visible=True),
            tab.found: found,
        }

    def _halted(self, partial: Partial | None) -> Updates:
        return {self._tab.view: heatmap.so_far(partial, stopped=True) if partial else heatmap.ready()}

    def _ended(self, words: str, kind: markup.Kind) -> Updates:
        return {self._tab.status: markup.status(words, kind), **actions.ended(self._tab)}


def _running(progress: ExplainProgress) -> str:
    numbers = f"{progress.seconds:.1f} s"
    if progress.estimate:
        numbers = f"{progress.calls:,} of at most {progress.estimate.calls:,} calls, {numbers}"
    return markup.status(
        progress.stage, "running", numbers=numbers, share=progress.share if progress.estimate else None
    )
