"""The Evaluate tab over the scripted engine, for tests: what the page would send, and what it would show."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from phi2demo.engine.loading import EngineLoader
from phi2demo.evaluation.reports import shipped_test_sets
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.evaluate_handlers import EvaluateHandlers
from phi2demo.ui.evaluate_reports import EvaluateReports
from phi2demo.ui.evaluate_tab import EvaluateTab, build_evaluate_tab
from phi2demo.ui.sessions import Sessions
from tests.ui.conftest import DESCRIPTION

PAGE: Any = SimpleNamespace(session_hash="page")


class EvaluatePage:
    """A page with this one tab; `state` is what a person sees in it."""

    def __init__(
        self,
        loader: EngineLoader,
        sessions: Sessions,
        model_cards: Path,
        *,
        description: ModelDescription = DESCRIPTION,
        turn_s: float = 20.0,
    ) -> None:
        import gradio as gr

        with gr.Blocks():
            self.tab: EvaluateTab = build_evaluate_tab(
                description, AdapterTasks(), sessions, shipped=shipped_test_sets(model_cards / "set")
            )
        self.handlers = EvaluateHandlers(self.tab, loader, turn_s=turn_s)
        self.reports = EvaluateReports(self.tab, loader, reports_folder=model_cards)
        tab = self.tab
        item = {*tab.live.all(), *tab.shown(), tab.source, tab.run.status, tab.run.estimate_line, tab.running, tab.turn}
        self.state: dict[Any, Any] = {component: getattr(component, "value", None) for component in item}

    def fill(self, **values: Any) -> None:
        """What a person types and chooses, by the names of the inputs."""
        for name, value in values.items():
            self.state[self.tab.source if name == "source_of" else getattr(self.tab.live, name)] = value

    def follow(self, steps: Iterator[dict[Any, Any]]) -> None:
        """The page after all steps, and after all turns that these bring."""
        for step in steps:
            turn = self.state[self.tab.turn]
            self.state |= step
            if self.state[self.tab.turn] != turn:
                self.follow(self.handlers.go_on(self.state, PAGE))

    def run(self) -> None:
        """Press Run and wait."""
        self.state |= self.tab.run.begin(PAGE)
        self.follow(self.handlers.run(self.state, PAGE))

    def html(self, name: str) -> str:
        """The HTML of a component of the tab."""
        part: Any = self.tab
        for item in name.split("."):
            part = getattr(part, item)
        return str(self.state[part])
