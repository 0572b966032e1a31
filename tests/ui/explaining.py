"""The Explain tab over the scripted engine, for tests: what the page would send, and what it would show."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from phi2demo.engine.loading import EngineLoader
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui.explain_handlers import ExplainHandlers
from phi2demo.ui.explain_tab import ExplainFilling, ExplainTab, build_explain_tab
from phi2demo.ui.sessions import Sessions
from tests.ui.conftest import DESCRIPTION

PAGE: Any = SimpleNamespace(session_hash="page")


class ExplainPage:
    """A page with this one tab; `state` is what a person sees in it."""

    def __init__(self, loader: EngineLoader, sessions: Sessions, *, longest_s: float = 3600.0) -> None:
        import gradio as gr

        with gr.Blocks(), gr.Tabs() as tabs, gr.Tab("Explain"):
            self.tab: ExplainTab = build_explain_tab(tabs, DESCRIPTION, AdapterTasks(), sessions)
        self.handlers = ExplainHandlers(self.tab, loader, longest_s=longest_s)
        self.handlers._warmed = True
        self.filling = ExplainFilling(self.tab, loader)
        self.state: dict[Any, Any] = {
            item: getattr(item, "value", None)
            for item in {*self.tab.ask.all(), *self.tab.shown(), self.tab.run.status, self.tab.run.estimate_line}
        }

    def fill(self, text: str, output: str, *, task: str = "generation", **settings: Any) -> None:
        """What a person types and chooses."""
        ask = self.tab.ask
        self.state |= {ask.task: task, ask.text: text, ask.output: output}
        self.state |= {getattr(ask, name): value for name, value in settings.items()}

    def follow(self, steps: Iterator[dict[Any, Any]]) -> None:
        """The page after all steps."""
        for step in steps:
            self.state |= step

    def explain(self) -> None:
        """Press Explain and wait."""
        self.tab.run.begin(PAGE)
        self.follow(self.handlers.run(self.state, PAGE))

    def pick(self, first: int | None = None, last: int | None = None, text: str = "") -> None:
        """Click tokens."""
        data: Any = SimpleNamespace(_data={"first": first, "last": last, "text": text} if first is not None else {})
        self.state |= self.filling.select(self.state, data)

    def html(self, name: str) -> str:
        """The HTML of a component of the tab."""
        part: Any = self.tab
        for attribute in name.split("."):
            part = getattr(part, attribute)
        return str(self.state[part])
