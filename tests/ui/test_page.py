"""The page as a whole, as it is built."""

from phi2demo.engine.loading import EngineLoader
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui.page import build_demo
from tests.ui.conftest import DESCRIPTION


def test_an_uploaded_file_lies_around_for_minutes_only(loader: EngineLoader) -> None:
    demo = build_demo(loader, DESCRIPTION, AdapterTasks())
    assert demo.delete_cache is not None
    checked_s, kept_s = demo.delete_cache
    assert kept_s >= 120, "it may wait in the queue before it is read"
    assert checked_s + kept_s <= 600
