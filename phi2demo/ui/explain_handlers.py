"""From values of the Explain tab to a request, and from its progress back to values. Knows no torch."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import gradio as gr

from phi2demo.engine.loader import EngineLoader
from phi2demo.errors import Phi2DemoError, StoppedError
from phi2demo.explain import report
from phi2demo.explain.attribution import Attribution, OutputToken
from phi2demo.explain.progress import ExplainProgress, Partial
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.run import explain
from phi2demo.explain.setting import output_tokens
from phi2demo.explain.shapley import warm_up
from phi2demo.tasks import TASKS
from phi2demo.ui import heatmap, markup
from phi2demo.ui.explain_inputs import Answered, Carried
from phi2demo.ui.explain_tab import ID, ExplainTab
from phi2demo.ui.handlers import FRAME_S, UNEXPECTED, Updates, page_of, wait_for_weights
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.trust import trust_panel

log = logging.getLogger(__name__)

ESTIMATE = "estimate"
"""What an estimate is in `Sessions`."""
_FORMATS: dict[str, Callable[[Attribution], str]] = {
    "json": lambda found: json.dumps(found.as_dict(), ensure_ascii=False, indent=2),
    "csv": Attribution.to_csv,
    "html": report.page,
}


class ExplainHandlers:
    """The handlers of the tab. Generators end when the page is closed, and with them the computing."""

    def __init__(self, tab: ExplainTab, loader: EngineLoader, sessions: Sessions) -> None:
        self._tab, self._loader, self._sessions = tab, loader, sessions
        self._warmed = False

    def warm_up(self) -> None:
        """Import shap and compile what it needs in the background: half a minute on a small machine, once."""
        if not self._warmed:
            self._warmed = True
            threading.Thread(target=warm_up, name="warm up shap", daemon=True).start()

    def begin(self, request: gr.Request) -> Updates:
        """On the click, before the queue: say so, make Stop work, and end an estimate."""
        self._sessions.stop(page_of(request), ESTIMATE)
        if not self._sessions.begin(page_of(request), ID):
            return {self._tab.status: gr.skip()}
        waiting = markup.status("Waiting for its turn", "waiting")
        return {self._tab.status: waiting, self._tab.stop: gr.Button(interactive=True)}

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
                with closing(explain(engine, asked, cancel=cancel)) as steps:
                    first = next(steps)
                    picker = {} if asked.target else {tab.picker: heatmap.picker(output_tokens(engine, asked.outputs))}
                    yield {tab.view: heatmap.ready(), tab.after: gr.Column(visible=False), tab.found: None, **picker}
                    yield from self._show(first, steps)
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
        if self._sessions.active(page, ID) or self._loader.status.state != "ready":
            return
        if not (values[tab.ask.text] or "").strip() or not (values[tab.ask.output] or "").strip():
            yield {tab.estimate: ""}
            return
        with self._sessions.running(page, ESTIMATE) as cancel:
            try:
                asked = tab.ask.read(values)
                yield {tab.estimate: markup.note("Measuring how long it will take …")}
                with closing(explain(self._loader.engine(), asked, cancel=cancel)) as steps:
                    found = next(step.estimate for step in steps if step.estimate)
                yield {tab.estimate: heatmap.estimated(found)}
            except StoppedError:
                yield {tab.estimate: ""}
            except Phi2DemoError as error:
                yield {tab.estimate: markup.note(str(error), "warning")}

    def stop(self, request: gr.Request) -> Updates:
        """Ask the running or waiting explanation to end; it says itself when it has."""
        if self._sessions.stop(page_of(request), ID):
            return {self._tab.stop: gr.Button(interactive=False)}
        return {self._tab.stop: gr.Button(interactive=False), self._tab.status: markup.KEYS}

    def refused(self, request: gr.Request) -> Updates:
        """The queue did not take the request, or the line to it broke."""
        self._sessions.drop(page_of(request), ID)
        return self._ended("Too many requests are waiting, or a value was refused. Try again in a moment.", "error")

    def carry(self, answered: Answered | None, request: gr.Request) -> Updates:
        """An answer of another tab into this one, which is opened."""
        tab = self._tab
        opened: Updates = {tab.tabs: gr.Tabs(selected=ID)}
        if answered is None:
            return opened | self._ended("That answer is no longer kept. Ask again, then press the button.", "error")
        self._sessions.stop(page_of(request), ID)
        try:
            asked, result, engine = answered.asked, answered.result, self._loader.engine()
            explained = ExplainRequest.from_result(engine, asked, result)
            tokens = output_tokens(engine, explained.outputs)
        except Phi2DemoError as error:
            return opened | self._ended(str(error), "error")
        carried = Carried(asked.task, asked.options, result.text, explained.outputs, result.use)
        others = [label for label in TASKS[asked.task].labels if label != result.text]
        return {
            **opened,
            **self._cleared(heatmap.picker(tokens)),
            **tab.ask.filled(asked.task, explained.text, result.text, asked.options),
            **({tab.ask.model: result.use} if tab.ask.model else {}),
            tab.ask.carried: carried,
            tab.ask.instead: others[0] if others else "",
        }

    def try_example(self, index: int) -> Updates:
        """A text and an output to explain into the tab."""
        sample = self._tab.samples[index]
        filled = self._tab.ask.filled(sample.task, sample.text, sample.output, sample.options)
        return self._cleared(heatmap.NO_OUTPUT) | filled | {self._tab.ask.instead: sample.instead}

    def typed(self, values: Mapping[Any, Any]) -> Updates:
        """Another output or task: its tokens to pick from, and the fields of the task."""
        ask = self._tab.ask
        groups = {group: gr.Column(visible=name == values[ask.task]) for name, group in ask.groups.items()}
        tokens: tuple[OutputToken, ...] = ()
        if self._loader.status.state == "ready" and (values[ask.output] or "").strip():
            try:
                tokens = output_tokens(self._loader.engine(), ask.outputs(values))
            except Phi2DemoError:
                tokens = ()  # said when it is explained
        picked = heatmap.hint(None, found=False) if tokens else ""
        return {**groups, ask.target: None, self._tab.picker: heatmap.picker(tokens), self._tab.hint: picked}

    def select(self, found: Attribution | None, event: gr.EventData) -> Updates:
        """A token or a span was picked: ask about it next, and show it where the explanation holds it."""
        tab, picked = self._tab, _picked(event._data)
        target = picked[:2] if picked else None
        if found is None:
            return {tab.ask.target: target, tab.hint: heatmap.hint(picked[2] if picked else None, found=False)}
        part = found if picked is None else heatmap.narrowed(found, picked[0], picked[1])
        said = heatmap.hint(picked[2] if picked else None, found=part is not None)
        shown = {} if part is None else {tab.view: heatmap.view(part), **self._charts(part)}
        return {tab.ask.target: target, tab.hint: said, **shown}

    def download_of(self, ending: str) -> Callable[[Attribution | None], str]:
        """The handler that writes the explanation in a format."""

        def write(found: Attribution | None) -> str:
            if found is None:
                raise gr.Error(
                    "The explanation is no longer kept. Explain again, then download.", print_exception=False
                )
            return _FORMATS[ending](found)

        return write

    def _show(self, first: ExplainProgress, steps: Iterator[ExplainProgress]) -> Iterator[Updates]:
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
        except StoppedError:
            yield self._ended("Stopped", "stopped") | self._halted(partial)
            return
        yield self._done(progress.attribution)

    def _done(self, found: Attribution) -> Updates:
        tab = self._tab
        return self._ended("Done", "done") | {
            tab.view: heatmap.view(found),
            **self._charts(found),
            tab.trust: trust_panel(found),
            tab.settings: heatmap.settings(found),
            tab.hint: heatmap.hint(None, found=True) if found.request.target is None else gr.skip(),
            tab.after: gr.Column(visible=True),
            tab.found: found,
        }

    def _charts(self, found: Attribution) -> Updates:
        return {self._tab.bars: heatmap.strongest(found), self._tab.table: heatmap.every_unit(found)}

    def _halted(self, partial: Partial | None) -> Updates:
        return {self._tab.view: heatmap.so_far(partial, stopped=True) if partial else heatmap.ready()}

    def _cleared(self, picker: str) -> Updates:
        tab = self._tab
        return {
            tab.picker: picker,
            tab.hint: heatmap.hint(None, found=False),
            tab.view: heatmap.ready(),
            tab.after: gr.Column(visible=False),
            tab.found: None,
            tab.ask.carried: None,
            tab.status: markup.KEYS,
            tab.estimate: "",
        }

    def _ended(self, words: str, kind: markup.Kind) -> Updates:
        return {self._tab.status: markup.status(words, kind), self._tab.stop: gr.Button(interactive=False)}


def _running(progress: ExplainProgress) -> str:
    numbers = f"{progress.seconds:.1f} s"
    if progress.estimate:
        numbers = f"{progress.calls:,} of at most {progress.estimate.calls:,} calls, {numbers}"
    return markup.status(
        progress.stage, "running", numbers=numbers, share=progress.share if progress.estimate else None
    )


def _picked(data: Any) -> tuple[int, int, str] | None:
    """First token, the one after the last, and their text, as the page's script sends them; anything else is the whole."""
    if not isinstance(data, dict) or not all(type(data.get(name)) is int for name in ("first", "last")):
        return None
    if not 0 <= data["first"] < data["last"]:
        return None
    return data["first"], data["last"], str(data.get("text", ""))
