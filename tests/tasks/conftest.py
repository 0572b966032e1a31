"""The scripted engine, fresh for each test."""

import pytest
from hypothesis import settings

from tests.tasks.scripted import ScriptedEngine

settings.register_profile("phi2demo", deadline=None)  # a busy machine is no failure
settings.load_profile("phi2demo")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()
