"""Random weights of a shape."""

from pathlib import Path

from phi2demo.benchmark.setup import SHAPES, generate_by_transformers, load_peer, save_random
from phi2demo.engine.engine import GenerationOptions
from phi2demo.engine.planning import plan


def test_random_weights_are_saved_as_a_model_with_an_adapter_that_can_be_loaded(tmp_path: Path) -> None:
    settings = save_random("small", tmp_path, layers=3)
    planned = plan(settings)
    assert (planned.layers, planned.hidden_size) == (3, SHAPES["small"]["hidden_size"])
    assert planned.base == "random weights in the shape small"
    assert settings.cache.parent == tmp_path, "graphs go with the weights"
    loaded = load_peer(settings)
    (ids,) = generate_by_transformers(loaded, ["The train"], GenerationOptions(max_new_tokens=4))
    assert len(ids) == 4
