"""Run and Stop of a tab: while something runs only Stop can be pressed, else only Run."""

import time
from typing import Any, Protocol

import gradio as gr


class Actions(Protocol):
    """What a tab has that runs something."""

    @property
    def run(self) -> Any:
        """The button that asks."""
        ...

    @property
    def stop(self) -> Any:
        """The button that stops."""
        ...

    @property
    def left(self) -> Any:
        """Out of sight: when it changes, what waits in the queue leaves it."""
        ...


def run_and_stop(label: str) -> tuple[Any, Any, Any]:
    """Lay out the two buttons, and `left`."""
    with gr.Row(elem_classes="actions"):
        run = gr.Button(label, variant="primary", elem_classes="run", min_width=0, scale=0)
        stop = gr.Button("Stop", elem_classes="stop", interactive=False, min_width=0, scale=0)
    return run, stop, gr.Number(0, visible="hidden", label="Left the queue")


def started(tab: Actions) -> dict[Any, Any]:
    """Something runs, or waits for its turn."""
    return {tab.run: gr.Button(interactive=False), tab.stop: gr.Button(interactive=True)}


def ended(tab: Actions) -> dict[Any, Any]:
    """Nothing runs."""
    return {tab.run: gr.Button(interactive=True), tab.stop: gr.Button(interactive=False)}


def left(tab: Actions) -> dict[Any, Any]:
    """A request leaves the queue; Run can be pressed when it has."""
    return {tab.left: time.monotonic()}


def runs_already() -> gr.Error:
    """To raise where a tab is asked while it runs, so that nothing that would follow does; the page shows the run."""
    return gr.Error("This tab runs already. Wait until it is done, or stop it.", visible=False, print_exception=False)
