"""One run at a time in each tab: its buttons and status line, and the events that begin, stop and end it.

Every tab that asks a model shares this class. It does not know what is asked.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, TypeVar

import gradio as gr

from phi2demo.engine.engine import Engine
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError, StoppedError
from phi2demo.ui import markup
from phi2demo.ui.sessions import Sessions

log = logging.getLogger(__name__)

MODEL = "model"
"""Concurrency id of every event that asks the model: they share one place in the queue."""
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}
ASKS_MODEL: dict[str, Any] = {
    "concurrency_id": MODEL, "concurrency_limit": 1, "show_progress": "hidden", **PRIVATE,
}  # fmt: skip
READS_FILES: dict[str, Any] = {
    "concurrency_id": "files", "concurrency_limit": 2, "show_progress": "hidden", **PRIVATE,
}  # fmt: skip

ESTIMATE = " estimate"
"""The suffix of the key under which the estimate of a run stands."""
STOPPED_EARLY = "Stopped before it began."
QUEUE_REFUSED = "The request was not accepted: too many are waiting, or a value is invalid. Try again in a moment."
UNEXPECTED = "Something went wrong on our side; the log of the app says what. Your text is still here: try again."

Updates = dict[Any, Any]
"""New values by component."""
NOTHING: Updates = gr.skip()
"""Changes no output. An empty dictionary would be an error: gradio takes it for the value of one output."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Run:
    """The run of one tab, for every page that is open. Generators end when their page is closed, and with them the computing."""

    name: str
    """Of the tab, as a key of `sessions`."""
    sessions: Sessions
    button: Any
    stop_button: Any
    cancel_trigger: Any
    """A hidden number. When it changes, the browser takes a waiting run out of the queue."""
    status: Any
    """The line that says what is going on; the tab renders it."""
    estimate_line: Any
    """The line that says how long a run would take; rendered by tabs that estimate it."""
    cleared: Updates = field(default_factory=dict)
    """Further updates when a run begins and when it ends."""

    @property
    def components(self) -> list[Any]:
        """Every component that begin, end and stop update."""
        return [self.status, self.button, self.stop_button, *self.cleared]

    def reporting_in(self, status: Any) -> "Run":
        """Return the same run with its status shown in another line."""
        return replace(self, status=status)

    def key(self, request: gr.Request, suffix: str = "") -> tuple[str, str]:
        """Return the page that a request comes from and the tab, as the keys of `sessions`."""
        return str(request.session_hash), self.name + suffix

    def busy(self) -> Updates:
        """Enable only Stop."""
        return {self.button: gr.Button(interactive=False), self.stop_button: gr.Button(interactive=True)}

    def idle(self) -> Updates:
        """Enable only Run."""
        return {
            self.button: gr.Button(interactive=True),
            self.stop_button: gr.Button(interactive=False),
            **self.cleared,
        }

    def ended(self, words: str, kind: markup.Kind, *, numbers: str = "") -> Updates:
        """Say how the run ended, and enable Run."""
        return {self.status: markup.status(words, kind, numbers=numbers), **self.idle()}

    def begin(self, request: gr.Request) -> Updates:
        """Announce the run on the click, before the queue, and end an estimate; gr.Error where the tab runs already.

        The error stays invisible, as the page shows the run. It keeps the events that follow from firing.
        """
        self.sessions.stop(*self.key(request, ESTIMATE))
        if not self.sessions.begin(*self.key(request)):
            words = "This tab is running already. Wait until it is done, or stop it."
            raise gr.Error(words, visible=False, print_exception=False)
        return {self.status: markup.status("Waiting for its turn", "waiting"), **self.cleared, **self.busy()}

    def steps(
        self, work: Callable[[Event], Generator[Updates, None, T]], request: gr.Request
    ) -> Generator[Updates, None, T | None]:
        """Yield the updates of `work`, which gets the event that Stop sets, and return what it returns.

        An error ends the run with its message; then None is returned.
        """
        with self.sessions.running(*self.key(request)) as cancel:
            try:
                return (yield from work(cancel))
            except StoppedError as error:
                yield self.ended(str(error), "stopped")
            except Phi2DemoError as error:
                yield self.ended(str(error), "error")
            except Exception:
                log.exception("a run of the tab %s failed", self.name)
                yield self.ended(UNEXPECTED, "error")
        return None

    def wait_for_weights(self, loader: EngineLoader, cancel: Event) -> Generator[Updates, None, Engine]:
        """Say that the weights are loading until they are there, and return the engine; StoppedError on Stop."""
        while loader.status.state == "loading" and not cancel.is_set():
            words = "The weights are still loading; the run starts as soon as they are there"
            yield {self.status: markup.status(words, "waiting", numbers=f"{loader.status.seconds:.0f} s")}
            cancel.wait(0.5)
        if cancel.is_set():
            raise StoppedError(STOPPED_EARLY)
        return loader.engine()

    def estimate(self, work: Callable[[Event], str], request: gr.Request) -> Iterator[Updates]:
        """Show the HTML that `work` returns of how long a run would take; nothing while the tab runs."""
        if self.sessions.present(*self.key(request)):
            return
        with self.sessions.running(*self.key(request, ESTIMATE)) as cancel:
            try:
                yield {self.estimate_line: markup.note("Measuring how long it will take …")}
                yield {self.estimate_line: work(cancel)}
            except StoppedError:
                yield {self.estimate_line: ""}
            except Phi2DemoError as error:
                yield {self.estimate_line: markup.note(str(error), "warning")}

    def stop(self, request: gr.Request) -> Updates:
        """Take a waiting run out of the queue, or ask a running one to end; a running one reports its own end."""
        if self.sessions.leave(*self.key(request)):
            return {self.status: markup.status(STOPPED_EARLY, "stopped"), **self.cancel()}
        if self.sessions.stop(*self.key(request)):
            return {self.stop_button: gr.Button(interactive=False)}
        return {self.status: markup.KEYS, **self.idle()}

    def refused(self, request: gr.Request) -> Updates:
        """End a run that the queue did not take, that lost its connection, or that Stop took out of the queue."""
        if self.sessions.drop(*self.key(request)):
            return self.ended(STOPPED_EARLY, "stopped")
        return self.ended(QUEUE_REFUSED, "error")

    def cancel(self) -> Updates:
        """Make the browser take the waiting run out of the queue; `refused` enables Run once it has."""
        return {self.cancel_trigger: time.monotonic()}

    def connect(
        self, click: Any, handler: Callable[..., Any], inputs: Any, outputs: Sequence[Any], *, fill: Any = None
    ) -> Any:
        """Connect the click of a button with a run, and return the event that runs.

        `fill` is the handler, the inputs and the outputs of what first fills in the tab.
        """
        ready = click(self.begin, None, self.components, **AT_ONCE)
        if fill is not None:
            ready = ready.success(*fill, **AT_ONCE)
        event = ready.success(handler, inputs, [*self.components, *outputs], **ASKS_MODEL)
        event.failure(self.refused, None, self.components, **AT_ONCE)
        return event

    def connect_stop(self, events: Sequence[Any]) -> None:
        """Connect Stop with the events that run."""
        self.stop_button.click(self.stop, None, [*self.components, self.cancel_trigger], **AT_ONCE)
        self.connect_cancel(events)

    def connect_cancel(self, events: Sequence[Any]) -> None:
        """Let the cancel trigger take these events out of the queue."""
        self.cancel_trigger.change(None, cancels=events, **PRIVATE)


def build_run(name: str, label: str, sessions: Sessions, *, status: str = markup.KEYS) -> Run:
    """Lay out the two buttons; the tab renders the status line, which starts with `status`."""
    with gr.Row(elem_classes="actions"):
        button = gr.Button(label, variant="primary", elem_classes="run", min_width=0, scale=0)
        stop_button = gr.Button("Stop", elem_classes="stop", interactive=False, min_width=0, scale=0)
    return Run(
        name,
        sessions,
        button,
        stop_button,
        cancel_trigger=gr.Number(0, visible="hidden", label="Cancel trigger"),
        status=gr.HTML(status, elem_classes="status-line", apply_default_css=False, render=False),
        estimate_line=gr.HTML("", elem_classes="estimate", apply_default_css=False, render=False),
    )
