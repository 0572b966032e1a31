"""Handlers of a live run on the Evaluate tab, which takes turns with other visitors. Knows no torch."""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from threading import Event
from typing import Any

import gradio as gr

from phi2demo.data.checks import check_choice
from phi2demo.data.own_pairs import pairs_of
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import SettingsError, StoppedError
from phi2demo.evaluation.live import DurationEstimator, LiveProgress, LiveResult, LiveRun, LiveSettings
from phi2demo.evaluation.live_samples import ItemSample
from phi2demo.evaluation.metrics import title_of_test_set
from phi2demo.evaluation.outputs import SYSTEM_TITLES
from phi2demo.evaluation.statistics import SEED
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.declared import VariantTasks
from phi2demo.tasks.task import Task
from phi2demo.ui import evaluate_reports, markup, report_view
from phi2demo.ui.endpoint import FRAME_S, LOADING_TIMEOUT_S, documented, errors_for_client, task_of_command
from phi2demo.ui.evaluate_inputs import own_columns
from phi2demo.ui.evaluate_reports import EvaluateReports, shown
from phi2demo.ui.evaluate_tab import EvaluateTab, ShownReport
from phi2demo.ui.explanation_view import duration
from phi2demo.ui.run import (
    ASKS_MODEL,
    AT_ONCE,
    MODEL,
    PRIVATE,
    QUEUE_REFUSED,
    READS_FILES,
    STOPPED_EARLY,
    Updates,
)

TURN_S = 20.0
"""After this time a run goes to the end of the queue, so that others who want the model are served."""
_NOTHING = '<div class="blank"><p>Figures appear here as the answers come.</p></div>'


class EvaluateHandlers:
    """The handlers of a live run, which takes turns with other visitors."""

    def __init__(self, tab: EvaluateTab, loader: EngineLoader, *, turn_s: float = TURN_S) -> None:
        self._tab, self._loader, self._turn_s = tab, loader, turn_s
        self._durations = DurationEstimator()

    def run(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Ask the models, step by step, for the first turn."""
        yield from self._take_turn(partial(self._start, values), request)

    def go_on(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Take the next turn of a run; where there is none, it was stopped meanwhile."""
        run: LiveRun | None = values[self._tab.running]
        if run is None:
            yield self._tab.run.idle()
        else:
            yield from self._take_turn(partial(self._turn, run), request)

    def estimate(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Say how long it would take; nothing while something runs, or while there is nothing to ask."""
        tab, source = self._tab, values[self._tab.source]
        if self._loader.status.state != "ready":
            return
        if source == "report" or (source == "own" and not (values[tab.live.pairs] or "").strip()):
            yield {tab.run.estimate_line: ""}
        else:
            yield from tab.run.estimate(partial(self._estimated, values), request)

    def stop(self, run: LiveRun | None, request: gr.Request) -> Updates:
        """Take a waiting run out of the queue, or ask a running one to end; either shows the figures so far."""
        tab = self._tab
        if not tab.run.sessions.leave(*tab.run.key(request)):
            return tab.run.stop(request)
        words = STOPPED_EARLY if run is None else _stopped(run.done, run.total)
        status = markup.status(words, "stopped")
        return {tab.run.status: status, **tab.run.cleared, **self._so_far(run), **tab.run.cancel()}

    def refused(self, run: LiveRun | None, request: gr.Request) -> Updates:
        """End a run that lost its place in the queue, with its figures so far.

        Where Stop took it out of the queue, the figures are shown already.
        """
        tab_run = self._tab.run
        if tab_run.sessions.drop(*tab_run.key(request)):
            return tab_run.idle()
        return tab_run.ended(QUEUE_REFUSED, "error") | self._so_far(run)

    def _estimated(self, values: Mapping[Any, Any], cancel: Event) -> str:
        samples, settings = self._tab.live.read(values, own=values[self._tab.source] == "own")
        run = LiveRun(self._loader.engine(), samples, settings, durations=self._durations)
        html = ""
        with closing(run.estimate()) as estimates:
            for seconds in estimates:
                if seconds is not None:
                    html = markup.note(f"{run.total:,} answers, {duration(seconds)} on this machine.")
                if cancel.is_set():
                    break
        return html

    def _start(self, values: Mapping[Any, Any], cancel: Event) -> Generator[Updates, None, LiveRun | None]:
        tab = self._tab
        samples, settings = tab.live.read(values, own=values[tab.source] == "own")
        engine = yield from tab.run.wait_for_weights(self._loader, cancel)
        run = LiveRun(engine, samples, settings, durations=self._durations)
        yield {tab.about: "", tab.plot: _NOTHING, tab.after: gr.Column(visible=False), tab.shown_report: None}
        return (yield from self._turn(run, cancel))

    def _turn(self, run: LiveRun, cancel: Event) -> Generator[Updates, None, LiveRun | None]:
        """Take one turn of a run; returns the run while it is not over."""
        status = self._tab.run.status
        shown_at, scored = 0.0, -1
        with closing(run.steps(cancel=cancel, at_most_s=self._turn_s)) as steps:  # type: ignore[type-var]
            for progress in steps:
                if progress.paused:
                    return run
                if progress.result is not None:
                    yield self._done(progress, progress.result)
                elif progress.stopped:
                    yield {status: markup.status(_stopped(progress.done, progress.total), "stopped")}
                elif time.monotonic() - shown_at >= FRAME_S:
                    shown_at = time.monotonic()
                    partial_figures = progress.partial if progress.done > scored else None
                    scored = progress.done
                    yield {status: _running(progress)} | (
                        {self._tab.plot: report_view.so_far(partial_figures)} if partial_figures else {}
                    )
        return None

    def _take_turn(self, work: Any, request: gr.Request) -> Iterator[Updates]:
        """Run `work`, and go to the end of the queue where it is not over; the change of `turn` brings the run back."""
        run = yield from self._tab.run.steps(work, request)
        if run is not None:
            self._tab.run.sessions.begin(*self._tab.run.key(request))
            yield {self._tab.running: run, self._tab.turn: time.monotonic()}

    def _so_far(self, run: LiveRun | None) -> Updates:
        """Return the figures of a run that is not over; nothing where there are none yet."""
        try:
            return self._result(run.result()) if run is not None else {}
        except StoppedError:
            return {}

    def _done(self, progress: LiveProgress, result: LiveResult) -> Updates:
        words = _stopped(progress.done, progress.total) if progress.stopped else "Done"
        kind: markup.Kind = "stopped" if progress.stopped else "done"
        return self._result(result) | self._tab.run.ended(words, kind, numbers=f"{progress.seconds:.1f} s")

    def _result(self, result: LiveResult) -> Updates:
        shown_report = ShownReport(result.report, result.examples, live=True)
        return shown(self._tab, shown_report, info=self._loader.engine().info) | self._tab.run.cleared


def _running(progress: LiveProgress) -> str:
    numbers = f"{progress.done:,} of {progress.total:,} answers, {progress.seconds:.0f} s"
    if progress.seconds_left is not None:
        numbers += f", {duration(progress.seconds_left)} left"
    words = f"{title_of_test_set(progress.test_set)}: {SYSTEM_TITLES[progress.system]}"
    return markup.status(words, "running", numbers=numbers, share=progress.done / progress.total)


def _stopped(done: int, total: int) -> str:
    return f"Stopped after {done:,} of {total:,} answers"


def connect_reports(opened: Any, tab: EvaluateTab, handlers: EvaluateReports) -> None:
    """Connect the events that show figures; `opened` is gradio's tab around them."""
    live, examples = tab.live, tab.examples
    shown = [tab.report, tab.run.status, *tab.shown()]
    opened.select(handlers.opened, tab.shown_report, [tab.timer, *shown], **AT_ONCE)
    tab.timer.tick(handlers.tick, tab.shown_report, [tab.timer, tab.about], **AT_ONCE)
    tab.source.change(handlers.switch, tab.source, [*tab.groups.values(), *tab.asking, tab.run.status], **AT_ONCE)
    tab.report.input(handlers.choose, tab.report, shown, **AT_ONCE)
    tab.upload.upload(handlers.open_report, tab.upload, [tab.upload, *shown], **READS_FILES)
    live.own_task.change(handlers.own_task, live.own_task, [live.languages, live.pairs], **AT_ONCE)
    live.upload.upload(handlers.open_pairs, live.upload, [live.upload, live.pairs, tab.run.status], **READS_FILES)
    chosen = [tab.shown_report, examples.test_set, examples.order]
    listed = [examples.list, examples.more, examples.count]

    def first(shown_report: Any, test_set: Any, order: Any) -> Any:
        return handlers.examples(shown_report, test_set, order, evaluate_reports.PAGE)

    def more(shown_report: Any, test_set: Any, order: Any, count: int) -> Any:
        return handlers.examples(shown_report, test_set, order, count + evaluate_reports.PAGE)

    for changed in (examples.test_set.input, examples.order.input):
        changed(first, chosen, listed, **AT_ONCE)
    examples.more.click(more, [*chosen, examples.count], listed, **AT_ONCE)
    _connect_downloads(tab, handlers)


def connect_run(tab: EvaluateTab, handlers: EvaluateHandlers) -> None:
    """Connect Run, Stop, the turns of a run, and what changes its estimate."""
    run, live = tab.run, tab.live
    outputs = [*run.components, tab.turn, *tab.shown()]
    begun = run.button.click(run.begin, None, run.components, **AT_ONCE)
    first = begun.success(handlers.run, {tab.source, *live.all()}, outputs, **ASKS_MODEL)
    later = tab.turn.change(handlers.go_on, {tab.running}, outputs, **ASKS_MODEL)
    for turn in (first, later):
        turn.failure(handlers.refused, tab.running, [*run.components, *tab.shown()], **AT_ONCE)
    run.stop_button.click(handlers.stop, tab.running, [*outputs, run.cancel_trigger], **AT_ONCE)
    run.connect_cancel([first, later])
    settings = [live.systems, live.own_task, live.source, live.target]
    settings += [live.tasks, live.count] if live.tasks is not None else []
    for event in [tab.source.change, live.pairs.blur, *(setting.change for setting in settings)]:
        event(
            handlers.estimate,
            {tab.source, *live.all()},
            run.estimate_line,
            trigger_mode="always_last",
            **ASKS_MODEL,
        )


def _connect_downloads(tab: EvaluateTab, handlers: EvaluateReports) -> None:
    """Connect downloads, which are written on the click and saved by the browser: no file stays on the server."""
    files = {"json": "report.json", "jsonl": "answers.jsonl", "csv": "table.csv", "zip": "evaluation.zip"}
    for ending, button in tab.downloads.items():
        _save(button.click(handlers.download_of(ending), tab.shown_report, tab.download, **AT_ONCE), tab, files[ending])
    for button, name, as_json in ((tab.live.csv, "pairs.csv", False), (tab.live.jsonl, "pairs.jsonl", True)):
        _save(
            button.click(handlers.template_of(as_json=as_json), tab.live.own_task, tab.download, **AT_ONCE), tab, name
        )


def _save(written: Any, tab: EvaluateTab, name: str) -> None:
    save = "phi2demoDownloadBytes" if name.endswith(".zip") else "phi2demoDownload"
    written.success(None, tab.download, js=f"(text) => window.{save}('{name}', text)", **PRIVATE)


NAME = "evaluate"
MAX_S = 300.0
"""A call stops after this time with the figures so far, as others wait for the model."""


class EvaluateEndpoint:
    """The endpoint. It is a generator, so that the computing ends when the client leaves."""

    def __init__(self, loader: EngineLoader, declared: VariantTasks, *, longest_s: float = LONGEST_S) -> None:
        """A call may take `longest_s` seconds, and no more than MAX_S."""
        self._loader, self._declared, self._longest_s = loader, declared, min(longest_s, MAX_S)

    @documented(
        rows="At most 100 objects with the fields of the task: source and target (translate), document and summary "
        "(summarize), text and label (classify), context, question and answer (answer), or text, the fields and output (a "
        "task that the adapter declares).",
        task='"translate", "summarize", "classify", "answer", or the id of a task that the first adapter declares.',
        source="Language of the source of a translation, as a two-letter code.",
        target="Language of its target.",
        systems='Any of "finetuned", "base_template", "base_plain" (the base with the prompt of its pretraining); null: '
        "finetuned and base_plain, or base_template where there is no adapter.",
        seed="Seed of the resamples behind the intervals.",
        returns='{"report", "answers", "complete"}: figures as in report.json of `python -m phi2demo evaluate`, and for every '
        'row the answer of each system with its score. Before that, progress as {"done", "total", "seconds", "seconds_left"}.',
    )
    def evaluate(
        self,
        rows: list[dict[str, Any]],
        task: str = "translate",
        source: str = "en",
        target: str = "de",
        systems: list[str] | None = None,
        seed: int = SEED,
    ) -> Iterator[dict[str, Any]]:
        """Ask the finetuned model and its base your own pairs, and score their answers against yours."""
        with errors_for_client():
            asked = self._task(task)
            if asked.name == "translation":
                for code, which in ((source, "source"), (target, "target")):
                    check_choice(which, code, self._declared.first.languages)
            test_set = pairs_of(
                rows,
                task=asked.name,
                source=source,
                target=target,
                own=own_columns(asked.name),
                labels=asked.labels,
            )
            engine = self._loader.engine(timeout_s=LOADING_TIMEOUT_S)
            chosen: Any = ("finetuned", "base_plain") if engine.info.adapter else ("base_template",)
            settings = LiveSettings(systems=tuple(systems) if isinstance(systems, list) else chosen, seed=seed)  # type: ignore[arg-type]
            run = LiveRun(engine, [ItemSample(test_set, test_set.items)], settings)
            yield from _steps(run, at_most_s=self._longest_s)

    def _task(self, command: str) -> Task[Any]:
        """Return a task; SettingsError for one that the first adapter, which is measured, was not finetuned for."""
        task = task_of_command(command, self._declared.either)
        able = [variant for variant, adapter_tasks in self._declared.others.items() if task.name in adapter_tasks.tasks]
        if task.name not in self._declared.first.tasks:
            raise SettingsError(
                f"/evaluate measures the first adapter, which was not finetuned for {command}. Start with "
                f"{' or '.join(able)} as the first --adapter."
            )
        return task


def add_evaluate_endpoint(loader: EngineLoader, declared: VariantTasks, *, longest_s: float = LONGEST_S) -> None:
    """Add /evaluate to the current page."""
    endpoint = EvaluateEndpoint(loader, declared, longest_s=longest_s)
    gr.api(endpoint.evaluate, api_name=NAME, concurrency_id=MODEL, concurrency_limit=1)


def _steps(run: LiveRun, *, at_most_s: float) -> Iterator[dict[str, Any]]:
    """Yield progress from time to time, and the figures last. Between two yields, gradio notices that a client has left."""
    shown = time.monotonic()
    with closing(run.steps(at_most_s=at_most_s)) as steps:  # type: ignore[type-var]
        for progress in steps:
            result = run.result() if progress.paused else progress.result
            if result is not None:
                answers = [example.as_dict() for example in result.examples]
                yield {"report": result.report.as_dict(), "answers": answers, "complete": not progress.paused}
            elif time.monotonic() - shown >= FRAME_S:
                shown = time.monotonic()
                left = progress.seconds_left
                yield {
                    "done": progress.done,
                    "total": progress.total,
                    "seconds": round(progress.seconds, 1),
                    "seconds_left": None if left is None else round(left, 1),
                }
