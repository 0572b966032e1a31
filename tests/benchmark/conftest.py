"""A tiny model for both sides of a comparison: loaded once, and behind an engine."""

from pathlib import Path

import pytest

from phi2demo.engine.loading import LoadedModel, load
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.transformers_model import TransformersModel
from phi2demo.settings import ModelSettings


@pytest.fixture(scope="package")
def loaded(tiny_base: Path, tiny_adapter: Path) -> LoadedModel:
    return load(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu")))


@pytest.fixture(scope="package")
def engine(loaded: LoadedModel) -> LocalEngine:
    return LocalEngine(TransformersModel(loaded))


@pytest.fixture(scope="package")
def base_engine(tiny_base: Path) -> LocalEngine:
    return LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu")))
