"""What config.json of a Phi means: its dimensions, and the name and shape of each of its tensors. Imports no torch."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from phi2demo.engine.weights import Shapes
from phi2demo.errors import ModelError, quoted

MODEL_TYPE = "phi"
OLD_MODEL_TYPES = ("phi-msft", "mixformer-sequential")
"""Types of the code that microsoft/phi-2 brought along before transformers had a Phi."""

_OLD_NAMES = re.compile(r"\b(Wqkv|out_proj|mixer|transformer\.h)\b")
_DEFAULTS: dict[str, Any] = {
    "vocab_size": 51200,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
"""Defaults of `transformers.PhiConfig` for values that config.json leaves out."""


def with_defaults(raw: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Return the entries of config.json with Phi's defaults. Raises ModelError where a dimension is impossible."""
    values = _DEFAULTS | dict(raw)
    for key in _DEFAULTS:
        if type(values[key]) is not int or values[key] < 1:
            raise ModelError(
                f"config.json of {name} has {key} {quoted(values[key])}; it must be a whole number above 0."
            )
    if values["hidden_size"] % values["num_attention_heads"]:
        raise ModelError(
            f"config.json of {name} has hidden_size {values['hidden_size']}, which its "
            f"{values['num_attention_heads']} attention heads do not divide; restore the file."
        )
    return values


def tensor_shapes(config: Mapping[str, Any]) -> Shapes:
    """Return the shape of every tensor of `PhiForCausalLM`; tied embeddings appear once."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    width = hidden // config["num_attention_heads"]
    groups = width * (config.get("num_key_value_heads") or config["num_attention_heads"])
    linears = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (groups, hidden),
        "self_attn.v_proj": (groups, hidden),
        "self_attn.dense": (hidden, hidden),
        "mlp.fc1": (inner, hidden),
        "mlp.fc2": (hidden, inner),
    }
    norms = {"input_layernorm": hidden}
    if config.get("qk_layernorm"):
        norms |= {"self_attn.q_layernorm": width, "self_attn.k_layernorm": width}
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "lm_head.bias": (vocabulary,)}
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (vocabulary, hidden)
    shapes |= {f"model.final_layernorm.{part}": (hidden,) for part in ("weight", "bias")}
    for layer in range(config["num_hidden_layers"]):
        for module, (rows, columns) in linears.items():
            shapes[f"model.layers.{layer}.{module}.weight"] = (rows, columns)
            shapes[f"model.layers.{layer}.{module}.bias"] = (rows,)
        for module, size in norms.items():
            shapes |= {f"model.layers.{layer}.{module}.{part}": (size,) for part in ("weight", "bias")}
    return shapes


def adaptable_shapes(shapes: Shapes) -> Shapes:
    """Return the tensors that an adapter can change: all of them, and the output layer even where it is the embedding."""
    return {"lm_head.weight": shapes["model.embed_tokens.weight"]} | shapes


def are_old_names(names: Iterable[str]) -> bool:
    """Return whether these names of modules or tensors are those of the old Phi code."""
    return any(_OLD_NAMES.search(name) for name in names)
