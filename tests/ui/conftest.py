"""The parts of a page over the scripted engine."""

from collections.abc import Callable

import pytest

from phi2demo.engine.loading import EngineLoader
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.handlers import TabHandlers
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.task_tab import TaskTab, build_task_tab
from tests.ui.scripted import INFO, ScriptedEngine

DESCRIPTION = ModelDescription(
    base=INFO.base,
    adapter=INFO.adapter,
    parameters=INFO.parameters,
    device="auto",
    dtype="auto",
    context=INFO.context,
    is_embedded=True,
)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def loader(engine: ScriptedEngine) -> EngineLoader:
    started = EngineLoader(lambda: engine).start()
    started.engine(timeout_s=5)
    return started


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def tab_of(loader: EngineLoader, sessions: Sessions) -> Callable[..., tuple[TaskTab, TabHandlers]]:
    """Tab and handlers of a task, of a model that declares nothing or what is given."""
    import gradio as gr

    def build(task: str, adapter_tasks: AdapterTasks | None = None) -> tuple[TaskTab, TabHandlers]:
        with gr.Blocks():
            tab = build_task_tab(TASKS[task], DESCRIPTION, adapter_tasks or AdapterTasks(), sessions)
        return tab, TabHandlers(tab, loader)

    return build
