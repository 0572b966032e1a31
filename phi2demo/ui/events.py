"""Which click calls which handler. All that asks the model shares one place in the queue."""

from typing import Any

from phi2demo.ui.handlers import TabHandlers
from phi2demo.ui.task_tab import TaskTab

MODEL = "model"
"""Concurrency id of every event that asks the model."""

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", **_PRIVATE}
_ASKS_MODEL: dict[str, Any] = {"concurrency_id": MODEL, "concurrency_limit": 1, **_PRIVATE}


def connect(tab: TaskTab, handlers: TabHandlers) -> None:
    """Connect the events of one tab."""
    _connect_runs(tab, handlers)
    _connect_input(tab, handlers)
    tab.stop.click(handlers.stop, None, [tab.stop, tab.status], **_AT_ONCE)
    if tab.ask.use:
        tab.ask.use.change(handlers.switch, tab.ask.use, [column.box for column in tab.columns.values()], **_AT_ONCE)
    for column in tab.columns.values():
        column.replay.click(
            handlers.replay_of(column),
            column.receipt,
            [column.replayed, tab.stop],
            show_progress="hidden",
            **_ASKS_MODEL,
        )


def _connect_runs(tab: TaskTab, handlers: TabHandlers) -> None:
    """Run, and examples: fill the tab, then run."""
    begun = [tab.run.click(handlers.begin, None, [tab.status, tab.stop], **_AT_ONCE)]
    if tab.examples is not None:
        fields = list(tab.ask.fields.values())
        filled = tab.examples.click(handlers.try_example, tab.examples, [tab.ask.text, *fields], **_AT_ONCE)
        begun.append(filled.then(handlers.begin, None, [tab.status, tab.stop], **_AT_ONCE))
    shown = [
        component
        for column in tab.columns.values()
        for component in (
            column.text,
            column.bars,
            column.why,
            column.answered,
            column.after,
            column.facts,
            column.details,
            column.receipt,
            column.replayed,
        )
    ]
    for begin in begun:
        ran = begin.then(
            handlers.run,
            tab.ask.all(),
            [tab.status, tab.stop, *shown],
            show_progress="minimal",
            show_progress_on=[tab.status],
            **_ASKS_MODEL,
        )
        ran.failure(handlers.refused, None, [tab.status, tab.stop], **_AT_ONCE)


def _connect_input(tab: TaskTab, handlers: TabHandlers) -> None:
    """The counter, files, and the swap of languages."""
    text, fields = tab.ask.text, tab.ask.fields
    text.change(handlers.count, text, tab.ask.counter, trigger_mode="always_last", **_AT_ONCE)
    if tab.upload is not None:
        tab.upload.upload(
            handlers.open_file,
            tab.upload,
            [text, tab.status, tab.upload],
            concurrency_id="files",
            concurrency_limit=2,
            show_progress="hidden",
            **_PRIVATE,
        )
    if tab.swap is not None:
        answer = next(iter(tab.columns.values())).text
        tab.swap.click(
            handlers.swap,
            [fields["source"], fields["target"], text, answer],
            [fields["source"], fields["target"], text],
            **_AT_ONCE,
        )
