"""From values of the page to a request, and from its progress back to values. Knows no prompt text and no torch."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Generic, TypeVar

import gradio as gr

from phi2demo.data.checks import MAX_CHARACTERS
from phi2demo.data.documents import count_words
from phi2demo.engine.engine import VARIANTS, Engine
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError
from phi2demo.evaluation.confidence import ConfidenceBands
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.run import SETTINGS_UNKNOWN, Assistant, check, task_named
from phi2demo.tasks.task import CheckedRequest
from phi2demo.tasks.token_budget import TokenBudget, token_budget_for
from phi2demo.tasks.translation import TranslationOptions
from phi2demo.ui import actions, markup
from phi2demo.ui.alternatives import alternatives
from phi2demo.ui.answer_column import AnswerColumn, AnswersTab
from phi2demo.ui.explain_inputs import Answered
from phi2demo.ui.files import read_document
from phi2demo.ui.options import chooses_prompt_style
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.task_tab import TaskTab

log = logging.getLogger(__name__)

FRAME_S = 0.05
"""Steps that come faster are not shown one by one."""
UNEXPECTED = "Something went wrong on our side; the log of the app says what. Your text is still here: try again."

Updates = dict[Any, Any]
"""New values by component."""
Tab = TypeVar("Tab", bound=AnswersTab)


class AnswerHandlers(ABC, Generic[Tab]):
    """The handlers of any tab that shows answers. Generators end when the page is closed, and with them the computing."""

    def __init__(
        self,
        tab: Tab,
        loader: EngineLoader,
        sessions: Sessions,
        *,
        reports: Path | None = None,
        longest_s: float = LONGEST_S,
    ) -> None:
        """`reports` is the folder of evaluation reports, where there is one: they say what being unsure means.

        A replay may take `longest_s` seconds.
        """
        self._tab, self._loader, self._sessions, self._reports = tab, loader, sessions, reports
        self._longest_s = longest_s

    def begin(self, request: gr.Request) -> Updates:
        """On the click, before the queue: say so, and make Stop work; refused while something runs."""
        tab = self._tab
        if not self._sessions.begin(page_of(request), tab.name):
            raise actions.runs_already()
        return {tab.status: markup.status("Waiting for its turn", "waiting"), **actions.started(tab)}

    def run(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Answer what the tab asks, step by step."""
        with self._sessions.running(page_of(request), self._tab.name) as cancel:
            try:
                checked = self._checked(values)
                engine = yield from wait_for_weights(self._loader, self._tab.status, cancel)
                if engine is None:
                    yield self._ended("Stopped before it began.", "stopped")
                    return
                yield self._cleared()
                with closing(self._assistant(engine).run(checked, cancel=cancel)) as steps:
                    yield from self._show(checked, steps, values)
            except Phi2DemoError as error:
                yield self._ended(str(error), "error")
            except Exception:
                log.exception("a request on the tab %s failed", self._tab.name)
                yield self._ended(UNEXPECTED, "error")

    def begin_replay_of(self, column: AnswerColumn) -> Callable[[gr.Request], Updates]:
        """The handler of a click on Replay, before the queue; see `begin`."""

        def handle(request: gr.Request) -> Updates:
            updates = self.begin(request)
            return {column.replayed: updates.pop(self._tab.status), **updates}

        return handle

    def replay_of(self, column: AnswerColumn) -> Callable[[str, gr.Request], Iterator[Updates]]:
        """The handler that answers a column's receipt again and says whether the text is the same."""

        def handle(receipt_json: str, request: gr.Request) -> Iterator[Updates]:
            with self._sessions.running(page_of(request), self._tab.name) as cancel:
                yield {column.replayed: markup.status("Replaying", "running"), **actions.started(self._tab)}
                try:
                    message = yield from self._replay(column, Receipt.from_json(receipt_json), cancel)
                except Phi2DemoError as error:
                    message = markup.note(str(error), "warning")
                except Exception:
                    log.exception("a replay on the tab %s failed", self._tab.name)
                    message = markup.note(UNEXPECTED, "warning")
                yield {column.replayed: message, **actions.ended(self._tab)}

        return handle

    def stop(self, request: gr.Request) -> Updates:
        """Take a waiting request out of the queue, or ask a running one to end; that one says itself when it has."""
        tab, page = self._tab, page_of(request)
        if self._sessions.leave(page, tab.name):
            return {tab.status: markup.status("Stopped before it began.", "stopped"), **actions.left(tab)}
        if self._sessions.stop(page, tab.name):
            return {tab.stop: gr.Button(interactive=False)}
        return {tab.status: markup.KEYS, **actions.ended(tab)}

    def refused(self, request: gr.Request) -> Updates:
        """The queue did not take the request, or the line to it broke, or Stop took it out of the queue."""
        if self._sessions.drop(page_of(request), self._tab.name):
            return actions.ended(self._tab)
        return self._ended("Too many requests are waiting, or a value was refused. Try again in a moment.", "error")

    def replay_refused_of(self, column: AnswerColumn) -> Callable[[gr.Request], Updates]:
        """The handler for a replay that never got its turn; see `refused`."""

        def handle(request: gr.Request) -> Updates:
            updates = self.refused(request)
            return {column.replayed: updates.pop(self._tab.status, ""), **updates}

        return handle

    def count(self, values: Mapping[Any, Any]) -> str:
        """What the input box holds, in words and, once there is a tokenizer, in tokens."""
        text = values[self._tab.text] or ""
        if len(text) > MAX_CHARACTERS:
            return markup.note(f"{len(text):,} characters; at most {MAX_CHARACTERS:,} are read.", "warning")
        return markup.counter(count_words(text), self._token_budget(values))

    def _token_budget(self, values: Mapping[Any, Any]) -> TokenBudget | None:
        if self._loader.status.state != "ready":
            return None
        try:
            asked = self._tab.read(values)
        except Phi2DemoError:  # an option that cannot be is refused when it is asked
            return None
        return token_budget_for(self._loader.engine(), task_named(asked.task), asked)

    def open_file(self, path: str | None) -> Iterator[Updates]:
        """The text of a file into the input box. Gradio deletes the copy: another visitor's same file is the same one."""
        tab = self._tab
        if path is None:
            return
        name, reset = Path(path).name, {tab.upload: gr.UploadButton(value=None)}
        yield {tab.status: markup.status(f"Reading {name}", "running")}
        try:
            text = read_document(path)
            yield {tab.text: text, tab.status: markup.status(f"Read {name}", "done"), **reset}
        except Phi2DemoError as error:
            yield {tab.status: markup.status(str(error), "error"), **reset}

    @abstractmethod
    def try_example(self, index: int) -> Updates:
        """An example into the tab."""

    def _cleared(self) -> Updates:
        reading = markup.status("Reading your text", "running")
        updates: Updates = {self._tab.status: reading, **actions.started(self._tab)}
        for column in self._tab.columns.values():
            updates |= {
                column.text: "",
                column.bars: "",
                column.after: gr.Column(visible=False),
                column.why: gr.Button(interactive=False),
            }
        return updates

    def _checked(self, values: Mapping[Any, Any]) -> CheckedRequest:
        """The request that the values ask for; refused here, before any model is asked, where it cannot be answered."""
        return check(self._tab.read(values))

    def _assistant(self, engine: Engine) -> Assistant:
        bands = ConfidenceBands(engine.info, self._reports) if self._reports else None
        return Assistant(engine, self._tab.variant_tasks, bands)

    def _show(self, checked: CheckedRequest, steps: Iterator[Progress], values: Mapping[Any, Any]) -> Iterator[Updates]:
        shown = 0.0
        for progress in steps:
            if progress.results is not None:
                yield self._done(checked, progress.results, values)
            elif time.monotonic() - shown >= FRAME_S:
                shown = time.monotonic()
                texts = {self._tab.columns[variant].text: text for variant, text in progress.texts.items()}
                yield {self._tab.status: markup.running(progress), **texts}

    def _done(self, checked: CheckedRequest, results: tuple[Result, ...], values: Mapping[Any, Any]) -> Updates:
        stopped = any(result.receipt.stop_reason == "stopped" for result in results)
        updates = self._ended("Stopped" if stopped else "Done", "stopped" if stopped else "done")
        for result in results:
            column = self._tab.columns[result.variant]
            updates |= {
                column.text: result.text,
                column.bars: markup.bars(result.probabilities),
                column.facts: markup.facts(result),
                column.alternatives: alternatives(result.alternatives, partial(checked.task.remark, checked.read.text)),
                column.details: markup.details(result),
                column.receipt: result.receipt.to_json(),
                column.replayed: "",
                column.after: gr.Column(visible=True),
                column.why: gr.Button(interactive=bool(result.text.strip())),
                column.answered: Answered(checked.request, result),
            }
        return updates

    def _ended(self, words: str, kind: markup.Kind) -> Updates:
        return {self._tab.status: markup.status(words, kind), **actions.ended(self._tab)}

    def _replay(self, column: AnswerColumn, receipt: Receipt, cancel: Event) -> Generator[Updates, None, str]:
        """Returns the HTML that says how it went."""
        assistant = self._assistant(self._loader.engine())
        shown = 0.0
        with closing(assistant.replay(receipt, cancel=cancel, longest_s=self._longest_s)) as steps:
            for progress in steps:
                if cancel.is_set():
                    return markup.note("Stopped before it was complete.")
                if progress.results is not None:
                    return _verdict(receipt, progress.results[0])
                if time.monotonic() - shown >= FRAME_S:
                    shown = time.monotonic()
                    numbers = f"{progress.seconds:.1f} s, {progress.new_tokens:,} tokens"
                    yield {column.replayed: markup.status("Replaying", "running", numbers=numbers)}
        raise AssertionError("a replay ended without results")


class TabHandlers(AnswerHandlers[TaskTab]):
    """The handlers of a task's own tab."""

    def try_example(self, index: int) -> Updates:
        """An example's text and options into the tab."""
        sample = self._tab.samples[index]
        fields = self._tab.ask.fields
        known = {fields[name]: value for name, value in sample.options.items() if name in fields}
        return {self._tab.ask.text: sample.text, **known}

    def swap(self, values: Mapping[Any, Any]) -> Updates:
        """The languages the other way round, and with them the text for its translation, where that is shown, or back."""
        ask = self._tab.ask
        source, target = ask.fields["source"], ask.fields["target"]
        box = (values[ask.text] or "", values[source], values[target])
        shown = VARIANTS[values[ask.variant]] if ask.variant else VARIANTS["base"]
        answers = [_other_side(values[self._tab.columns[variant].answered], *box) for variant in shown]
        text = next((answer for answer in answers if answer), None)
        return {source: box[2], target: box[1], **({ask.text: text} if text else {})}

    def switch(self, variant: str) -> Updates:
        """Show the columns of the models that are to answer, and how the base is asked where it is one of them."""
        columns = {
            column.box: gr.Column(visible=name in VARIANTS[variant]) for name, column in self._tab.columns.items()
        }
        ask = self._tab.ask
        visible = "base" in VARIANTS[variant] and chooses_prompt_style(ask.task, ask.adapter_tasks)
        return {**columns, ask.base_prompt_style: gr.Radio(visible=visible)}


def wait_for_weights(loader: EngineLoader, status: Any, cancel: Event) -> Generator[Updates, None, Engine | None]:
    """Say in `status` that the weights are loading; returns the engine, or None where the person stopped."""
    while loader.status.state == "loading" and not cancel.is_set():
        words = "The weights are still loading; it runs as soon as they are there"
        yield {status: markup.status(words, "waiting", numbers=f"{loader.status.seconds:.0f} s")}
        cancel.wait(0.5)
    return None if cancel.is_set() else loader.engine()


def page_of(request: gr.Request) -> str:
    """The page that a request comes from, as a key of sessions."""
    return str(request.session_hash)


def _other_side(answered: Answered | None, text: str, source: str, target: str) -> str:
    """The other text of a translation that has this one on one side, in these languages; empty where it has not."""
    if answered is None or not isinstance(answered.asked.options, TranslationOptions):
        return ""
    asked, options, translated = answered.asked.text, answered.asked.options, answered.result.text
    if (text, source, target) == (asked, options.source, options.target):
        return translated
    return asked if (text, source, target) == (translated, options.target, options.source) else ""


def _verdict(receipt: Receipt, result: Result) -> str:
    seconds = f"{result.receipt.seconds:.1f} s"
    unsure = markup.note(SETTINGS_UNKNOWN if SETTINGS_UNKNOWN in result.notes else "")
    if result.text == receipt.output:
        return markup.note(f"The same text again, in {seconds}.", "good") + unsure
    limit = result.receipt.generation["time_limit_s"]
    why = f", as its time limit of {limit:g} s was reached" if result.receipt.stop_reason == "time" else ""
    return markup.note(f"Another text this time{why}, in {seconds}: {result.text}", "warning") + unsure
