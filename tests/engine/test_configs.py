import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.configs import read_config
from phi2demo.errors import ModelError


def config(folder: Path, **values: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(values))
    return folder


SMALL = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize(
    "changes", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 2}, {"qk_layernorm": True}]
)
def test_shapes_are_those_of_the_model(tmp_path: Path, changes: dict[str, Any]) -> None:
    from transformers import PhiConfig, PhiForCausalLM

    model = PhiForCausalLM(PhiConfig(**SMALL, **changes, pad_token_id=0))
    found = read_config(config(tmp_path, model_type="phi", **SMALL, **changes), name="m")
    assert found.shapes == {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    assert found.parameters == sum(tensor.numel() for tensor in model.parameters())


def test_phi_2_is_known_from_its_config(tmp_path: Path) -> None:
    values = {"vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32}
    found = read_config(config(tmp_path, model_type="phi", **values), name="m")
    assert (found.layers, found.hidden_size, found.context) == (32, 2560, 2048)
    assert found.parameters == 2_779_683_840
    assert found.cache_numbers == 2 * 32 * 2560 * 2048


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 0}, "hidden_size 0; it must be a whole number above 0"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers '2'"),
        ({"hidden_size": 100, "num_attention_heads": 3}, "3 attention heads do not divide"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_config(config(tmp_path, model_type="phi", **values), name="m")


@pytest.mark.parametrize("model_type", ["phi-msft", "mixformer-sequential"])
def test_the_old_phi_code_is_refused(tmp_path: Path, model_type: str) -> None:
    with pytest.raises(ModelError, match=r"old Phi code.*newer revision"):
        read_config(config(tmp_path, model_type=model_type, auto_map={"AutoConfig": "x.Y"}), name="m")


def test_code_from_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m \(model_type 'mine'\) needs code from its own repository.*never run"):
        read_config(config(tmp_path, model_type="mine", auto_map={"AutoModelForCausalLM": "x.Y"}), name="m")


@pytest.mark.parametrize("model_type", [None, "mine", "t5", "clip"])
def test_a_type_that_writes_no_text_is_refused(tmp_path: Path, model_type: str | None) -> None:
    with pytest.raises(ModelError, match=f"model_type {model_type!r}, which is no text generator"):
        read_config(config(tmp_path, model_type=model_type), name="m")


def test_another_known_type_is_read_as_far_as_it_says(tmp_path: Path) -> None:
    found = read_config(config(tmp_path, model_type="gpt2", n_layer=2, n_embd=32, n_positions=64, n_head=2), name="m")
    assert (found.layers, found.hidden_size, found.context, found.shapes) == (2, 32, 64, None)
