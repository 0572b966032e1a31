"""Which click calls which handler. All that asks the model shares one place in the queue."""

from typing import Any

import gradio as gr

from phi2demo.ui.answer_column import AnswerColumn, AnswersTab
from phi2demo.ui.handlers import AnswerHandlers, TabHandlers
from phi2demo.ui.task_tab import TaskTab

MODEL = "model"
"""Concurrency id of every event that asks the model."""

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}
ASKS_MODEL: dict[str, Any] = {"concurrency_id": MODEL, "concurrency_limit": 1, **PRIVATE}


def connect(tab: TaskTab, handlers: TabHandlers) -> None:
    """Connect the events of a task's tab."""
    connect_answers(tab, handlers)
    if tab.ask.variant:
        shown = [*(column.box for column in tab.columns.values()), tab.ask.base_prompt_style]
        tab.ask.variant.change(handlers.switch, tab.ask.variant, shown, **AT_ONCE)
    if tab.swap is not None:
        ends = [tab.ask.fields["source"], tab.ask.fields["target"]]
        known = tab.ask.all() | {column.answered for column in tab.columns.values()}
        tab.swap.click(handlers.swap, known, [*ends, tab.ask.text], **AT_ONCE)


def connect_answers(tab: AnswersTab, handlers: AnswerHandlers[Any]) -> list[Any]:
    """Connect what every tab with answers has; gives the events that answer."""
    runs = _connect_runs(tab, handlers)
    _connect_input(tab, handlers)
    replays = [_connect_replay(tab, column, handlers) for column in tab.columns.values()]
    tab.stop.click(handlers.stop, None, [tab.status, tab.run, tab.stop, tab.left], **AT_ONCE)
    tab.left.change(None, cancels=[*runs, *replays], **PRIVATE)
    return runs


def _connect_replay(tab: AnswersTab, column: AnswerColumn, handlers: AnswerHandlers[Any]) -> Any:
    """Answer a receipt again; gives the event that does."""
    shown = [column.replayed, tab.run, tab.stop]
    begun = column.replay.click(handlers.begin_replay_of(column), None, shown, **AT_ONCE)
    ran = begun.success(handlers.replay_of(column), column.receipt, shown, show_progress="hidden", **ASKS_MODEL)
    ran.failure(handlers.replay_refused_of(column), None, shown, **AT_ONCE)
    return ran


def _connect_runs(tab: AnswersTab, handlers: AnswerHandlers[Any]) -> list[Any]:
    """Run, and examples: fill the tab, unless it runs, then run."""
    state = [tab.status, tab.run, tab.stop]
    ready = [tab.run.click(handlers.begin, None, state, **AT_ONCE)]
    if tab.examples is not None:
        begun = tab.examples.click(handlers.begin, None, state, **AT_ONCE)
        ready.append(begun.success(handlers.try_example, tab.examples, tab.filled(), **AT_ONCE))
    runs = []
    for each in ready:
        ran = each.success(
            handlers.run,
            tab.inputs(),
            [*state, *tab.shown()],
            show_progress="hidden",
            **ASKS_MODEL,
        )
        ran.failure(handlers.refused, None, state, **AT_ONCE)
        runs.append(ran)
    return runs


def _connect_input(tab: AnswersTab, handlers: AnswerHandlers[Any]) -> None:
    """The counter and files."""
    text = tab.text
    changes = [component.change for component in tab.counted()]
    gr.on(changes, handlers.count, tab.inputs(), tab.counter, trigger_mode="always_last", **AT_ONCE)
    if tab.upload is not None:
        tab.upload.upload(
            handlers.open_file,
            tab.upload,
            [text, tab.status, tab.upload],
            concurrency_id="files",
            concurrency_limit=2,
            show_progress="hidden",
            **PRIVATE,
        )
