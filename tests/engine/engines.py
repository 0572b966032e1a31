"""Engines of each kind for the same adapter, and the torch model behind them."""

from pathlib import Path
from typing import Any

from phi2demo.engine.local import LocalEngine
from phi2demo.engine.onnx_model import OnnxModel
from phi2demo.engine.planning import plan
from phi2demo.engine.transformers_model import TransformersModel
from phi2demo.settings import ModelSettings

KINDS = ["decoder", "transformers", "onnx"]


def made_for(kind: str, adapter: Path) -> LocalEngine:
    """Generates with its own decoder, as it would by itself, with transformers, or with ONNX Runtime GenAI."""
    if kind == "onnx":
        return onnx_engine(adapter=str(adapter), cache=adapter.parent / "cache")
    local_engine = LocalEngine.load(plan(ModelSettings(adapter=str(adapter), device="cpu")))
    model = transformers_model(local_engine)
    assert model._decodable
    model._decodable = kind == "decoder"
    return local_engine


def onnx_engine(**settings: Any) -> LocalEngine:
    """Generates with ONNX Runtime GenAI."""
    return LocalEngine(OnnxModel(plan(ModelSettings(engine="onnx", **settings))))


def transformers_model(engine: LocalEngine) -> TransformersModel:
    """The model that scores for an engine."""
    model = engine._model
    return model._float_model if isinstance(model, OnnxModel) else model  # type: ignore[return-value]


def torch_model(engine: LocalEngine) -> Any:
    """The torch module behind an engine."""
    return transformers_model(engine).adapted.model
