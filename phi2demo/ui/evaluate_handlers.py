"""A live run on the Evaluate tab: values to items, progress to values, in turns with other visitors. Knows no torch."""

import logging
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from threading import Event
from typing import Any

import gradio as gr

from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError, StoppedError
from phi2demo.evaluation.live import DurationEstimator, LiveProgress, LiveResult, LiveRun
from phi2demo.evaluation.metrics import title_of_test_set
from phi2demo.evaluation.systems import SYSTEM_TITLES
from phi2demo.ui import actions, evaluate_reports, figures, markup
from phi2demo.ui.evaluate_reports import EvaluateReports, shown
from phi2demo.ui.evaluate_tab import ID, EvaluateTab, Found
from phi2demo.ui.events import MODEL
from phi2demo.ui.explanation_view import duration
from phi2demo.ui.handlers import UNEXPECTED, Updates, page_of, wait_for_weights
from phi2demo.ui.sessions import Sessions

log = logging.getLogger(__name__)

ESTIMATE = "evaluate estimate"
"""What an estimate is in `Sessions`."""
FRAME_S = 0.25
"""Steps that come faster are not shown one by one."""
TURN_S = 20.0
"""After so long a run goes to the end of the queue, so that others who want the model are served."""
_NOTHING = '<div class="blank"><p>Figures appear here as the answers come.</p></div>'


class EvaluateHandlers:
    """The handlers of a run. Generators end when the page is closed, and with them the computing."""

    def __init__(self, tab: EvaluateTab, loader: EngineLoader, sessions: Sessions, *, turn_s: float = TURN_S) -> None:
        self._tab, self._loader, self._sessions, self._turn_s = tab, loader, sessions, turn_s
        self._durations = DurationEstimator()

    def begin(self, request: gr.Request) -> Updates:
        """On the click, before the queue: say so, make Stop work, and end an estimate; refused while something runs."""
        self._sessions.stop(page_of(request), ESTIMATE)
        if not self._sessions.begin(page_of(request), ID):
            raise actions.runs_already()
        waiting = markup.status("Waiting for its turn", "waiting")
        return {self._tab.status: waiting, self._tab.running: None, **actions.started(self._tab)}

    def run(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Ask what the tab says, step by step, for the first turn."""
        tab, page = self._tab, page_of(request)
        with self._sessions.running(page, ID) as cancel:
            try:
                drawn, settings = tab.live.read(values, own=values[tab.source] == "own")
                engine = yield from wait_for_weights(self._loader, tab.status, cancel)
                if engine is None:
                    yield self._ended("Stopped before it began.", "stopped")
                    return
                run = LiveRun(engine, drawn, settings, durations=self._durations)
                yield {tab.about: "", tab.plot: _NOTHING, tab.after: gr.Column(visible=False), tab.found: None}
            except Phi2DemoError as error:
                yield self._ended(str(error), "error")
                return
            except Exception:
                log.exception("a live evaluation could not begin")
                yield self._ended(UNEXPECTED, "error")
                return
            is_over = yield from self._turn(run, cancel)
        if not is_over:
            yield self._wait(run, page)

    def go_on(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """The next turn of a run; where there is none, it was stopped meanwhile."""
        run, page = values[self._tab.running], page_of(request)
        if run is None:
            yield actions.ended(self._tab)
            return
        with self._sessions.running(page, ID) as cancel:
            is_over = yield from self._turn(run, cancel)
        if not is_over:
            yield self._wait(run, page)

    def estimate(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """How long it would take; nothing while something runs, or while there is nothing to ask."""
        tab, page, own = self._tab, page_of(request), values[self._tab.source] == "own"
        if self._sessions.present(page, ID) or self._loader.status.state != "ready":
            return
        if values[tab.source] == "report" or (own and not (values[tab.live.pairs] or "").strip()):
            yield {tab.estimate: ""}
            return
        with self._sessions.running(page, ESTIMATE) as cancel:
            try:
                drawn, settings = tab.live.read(values, own=own)
                run = LiveRun(self._loader.engine(), drawn, settings, durations=self._durations)
                yield {tab.estimate: markup.note("Measuring how long it will take …")}
                seconds = None
                with closing(run.estimate()) as steps:
                    for step in steps:
                        seconds = step
                        if cancel.is_set():
                            break
                yield {tab.estimate: _estimated(run, seconds) if seconds is not None else ""}
            except StoppedError:
                yield {tab.estimate: ""}
            except Phi2DemoError as error:
                yield {tab.estimate: markup.note(str(error), "warning")}

    def stop(self, run: LiveRun | None, request: gr.Request) -> Updates:
        """Take a waiting run out of the queue, or ask a running one to end; either shows the figures so far."""
        tab, page = self._tab, page_of(request)
        if self._sessions.leave(page, ID):
            return self._left(run)
        if self._sessions.stop(page, ID):
            return {tab.stop: gr.Button(interactive=False)}
        return {tab.status: markup.KEYS, **actions.ended(tab)}

    def refused(self, run: LiveRun | None, request: gr.Request) -> Updates:
        """The queue did not take the run or its next turn, or the line to it broke: show what there is.

        Stop took it out of the queue, where it was stopped: then all is shown.
        """
        if self._sessions.drop(page_of(request), ID):
            return actions.ended(self._tab)
        ended = self._ended("Too many requests are waiting, or a value was refused. Try again in a moment.", "error")
        return ended | self._so_far(run)

    def _turn(self, run: LiveRun, cancel: Event) -> Generator[Updates, None, bool]:
        """One turn of a run; returns whether the run is over."""
        try:
            with closing(run.steps(cancel=cancel, at_most_s=self._turn_s)) as steps:  # type: ignore[type-var]
                shown_at, scored = 0.0, -1
                for progress in steps:
                    if progress.paused:
                        return False
                    if progress.result is not None:
                        yield self._done(progress)
                    elif progress.stopped:
                        yield {self._tab.status: markup.status(_stopped(progress.done, progress.total), "stopped")}
                    elif time.monotonic() - shown_at >= FRAME_S:
                        shown_at = time.monotonic()
                        partial = {self._tab.plot: figures.so_far(progress.partial)} if progress.done > scored else {}
                        scored = progress.done
                        yield {self._tab.status: _running(progress)} | (partial if progress.partial else {})
        except StoppedError as error:
            yield self._ended(str(error), "stopped")
        except Phi2DemoError as error:
            yield self._ended(str(error), "error")
        except Exception:
            log.exception("a live evaluation failed")
            yield self._ended(UNEXPECTED, "error")
        return True

    def _wait(self, run: LiveRun, page: str) -> Updates:
        """To the end of the queue; the change of the turn brings the run back."""
        self._sessions.begin(page, ID)
        return {self._tab.running: run, self._tab.turn: time.monotonic()}

    def _left(self, run: LiveRun | None) -> Updates:
        words = "Stopped before it began." if run is None else _stopped(run.done, run.total)
        status = markup.status(words, "stopped")
        return {self._tab.status: status, self._tab.running: None, **self._so_far(run), **actions.left(self._tab)}

    def _so_far(self, run: LiveRun | None) -> Updates:
        """The figures of a run that is not over; nothing where there are none yet."""
        try:
            return self._result(run.result()) if run is not None else {}
        except StoppedError:
            return {}

    def _done(self, progress: LiveProgress) -> Updates:
        assert progress.result is not None
        words = _stopped(progress.done, progress.total) if progress.stopped else "Done"
        ended = self._ended(words, "stopped" if progress.stopped else "done", numbers=f"{progress.seconds:.1f} s")
        return ended | self._result(progress.result)

    def _result(self, result: LiveResult) -> Updates:
        found = Found(result.report, result.examples, live=True)
        return shown(self._tab, found, info=self._loader.engine().info) | {self._tab.running: None}

    def _ended(self, words: str, kind: markup.Kind, *, numbers: str = "") -> Updates:
        status = markup.status(words, kind, numbers=numbers)
        return {self._tab.status: status, self._tab.running: None, **actions.ended(self._tab)}


def _running(progress: LiveProgress) -> str:
    numbers = f"{progress.done:,} of {progress.total:,} answers, {progress.seconds:.0f} s"
    if progress.seconds_left is not None:
        numbers += f", {duration(progress.seconds_left)} left"
    words = f"{title_of_test_set(progress.test_set)}: {SYSTEM_TITLES[progress.system]}"
    return markup.status(words, "running", numbers=numbers, share=progress.done / progress.total)


def _stopped(done: int, total: int) -> str:
    return f"Stopped after {done:,} of {total:,} answers"


def _estimated(run: LiveRun, seconds: float) -> str:
    return markup.note(f"{run.total:,} answers, {duration(seconds)} on this machine.")


_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", **_PRIVATE}
_FILES: dict[str, Any] = {
    "concurrency_id": "files", "concurrency_limit": 2, "show_progress": "hidden", **_PRIVATE,
}  # fmt: skip
_ASKS_MODEL: dict[str, Any] = {"concurrency_id": MODEL, "concurrency_limit": 1, **_PRIVATE}


def connect_reports(opened: Any, tab: EvaluateTab, handlers: EvaluateReports) -> None:
    """Connect what shows figures; `opened` is gradio's tab around it."""
    live, examples = tab.live, tab.examples
    shown = [tab.report, tab.status, *tab.shown()]
    opened.select(handlers.opened, tab.found, [tab.timer, *shown], **_AT_ONCE)
    tab.timer.tick(handlers.tick, tab.found, [tab.timer, tab.about], **_AT_ONCE)
    tab.source.change(handlers.switch, tab.source, [*tab.groups.values(), *tab.asking, tab.status], **_AT_ONCE)
    tab.report.input(handlers.choose, tab.report, shown, **_AT_ONCE)
    tab.upload.upload(handlers.open_report, tab.upload, [tab.upload, *shown], **_FILES)
    live.own_task.change(handlers.own_task, live.own_task, [live.languages, live.pairs], **_AT_ONCE)
    live.upload.upload(handlers.open_pairs, live.upload, [live.upload, live.pairs, tab.status], **_FILES)
    chosen = [tab.found, examples.test_set, examples.order]
    listed = [examples.list, examples.more, examples.count]

    def first(found: Any, test_set: Any, order: Any) -> Any:
        return handlers.examples(found, test_set, order, evaluate_reports.PAGE)

    def more(found: Any, test_set: Any, order: Any, count: int) -> Any:
        return handlers.examples(found, test_set, order, count + evaluate_reports.PAGE)

    for changed in (examples.test_set.input, examples.order.input):
        changed(first, chosen, listed, **_AT_ONCE)
    examples.more.click(more, [*chosen, examples.count], listed, **_AT_ONCE)
    _connect_downloads(tab, handlers)


def connect_run(tab: EvaluateTab, handlers: EvaluateHandlers) -> None:
    """Connect Run, Stop, the turns of a run, and what changes its estimate."""
    live = tab.live
    state = [tab.status, tab.run, tab.stop, tab.running]
    begun = tab.run.click(handlers.begin, None, state, **_AT_ONCE)
    shown = [*state, tab.turn, *tab.shown()]
    following: dict[str, Any] = {"show_progress": "hidden", **_ASKS_MODEL}
    first = begun.success(handlers.run, {tab.source, *live.all()}, shown, **following)
    later = tab.turn.change(handlers.go_on, {tab.running}, shown, **following)
    for turn in (first, later):
        turn.failure(handlers.refused, tab.running, [*state, *tab.shown()], **_AT_ONCE)
    tab.stop.click(handlers.stop, tab.running, [*shown, tab.left], **_AT_ONCE)
    tab.left.change(None, cancels=[first, later], **_PRIVATE)
    settings = [live.systems, live.own_task, live.source, live.target]
    settings += [live.tasks, live.count] if live.tasks is not None else []
    for event in [tab.source.change, live.pairs.blur, *(setting.change for setting in settings)]:
        event(
            handlers.estimate,
            {tab.source, *live.all()},
            tab.estimate,
            show_progress="hidden",
            trigger_mode="always_last",
            **_ASKS_MODEL,
        )


def _connect_downloads(tab: EvaluateTab, handlers: EvaluateReports) -> None:
    """Written when asked for and saved in the browser: no file stays on the server."""
    files = {"json": "report.json", "jsonl": "answers.jsonl", "csv": "table.csv", "zip": "evaluation.zip"}
    for ending, button in tab.downloads.items():
        _save(button.click(handlers.download_of(ending), tab.found, tab.download, **_AT_ONCE), tab, files[ending])
    for button, name, as_json in ((tab.live.csv, "pairs.csv", False), (tab.live.jsonl, "pairs.jsonl", True)):
        _save(
            button.click(handlers.template_of(as_json=as_json), tab.live.own_task, tab.download, **_AT_ONCE), tab, name
        )


def _save(written: Any, tab: EvaluateTab, name: str) -> None:
    save = "phi2demoDownloadBytes" if name.endswith(".zip") else "phi2demoDownload"
    written.success(None, tab.download, js=f"(text) => window.{save}('{name}', text)", **_PRIVATE)
