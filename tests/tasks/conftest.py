"""The scripted engine, fresh for each test."""

import pytest

from tests.tasks.scripted import ScriptedEngine


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()
