"""What a base's config.json means: its shape, tensor by tensor for Phi. Reads no weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo.engine.weights import Shapes, count, read_json
from phi2demo.errors import ModelError

_PHI_DEFAULTS: dict[str, Any] = {
    "vocab_size": 51200,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
"""Of `transformers.PhiConfig`: what a file leaves out."""

_NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "context": ("max_position_embeddings", "n_positions", "n_ctx"),
    "vocab_size": ("vocab_size",),
}
"""Of one value in the configs of different models."""

_OLD_PHI = ("phi-msft", "mixformer-sequential")


@dataclass(frozen=True)
class BaseConfig:
    """A base's shape as its config.json gives it; 0 where a model other than Phi does not say."""

    model_type: str
    layers: int
    hidden_size: int
    context: int
    vocab_size: int
    cache_numbers: int
    """Keys and values of one full context."""
    shapes: Shapes | None
    """Of all tensors; None for a model other than Phi."""

    @property
    def parameters(self) -> int | None:
        """Exact for Phi, None for another model."""
        return None if self.shapes is None else count(self.shapes)

    @property
    def places(self) -> Shapes | None:
        """What an adapter can change: all tensors, and the output layer also where it is the embedding."""
        if self.shapes is None:
            return None
        return {"lm_head.weight": self.shapes["model.embed_tokens.weight"]} | self.shapes


def read_config(folder: Path, *, name: str) -> BaseConfig:
    """The config of the base in `folder`. Raises ModelError where transformers' own code cannot run such a model."""
    raw = read_json(folder / "config.json", name=name)
    model_type = raw.get("model_type")
    if model_type != "phi":
        _check_known(model_type, raw, name=name)
    values = raw.get("text_config", raw) if model_type != "phi" else _PHI_DEFAULTS | raw
    found = {key: _number(values, names) for key, names in _NAMES.items()}
    shapes = _phi_shapes(_checked_phi(values, name=name)) if model_type == "phi" else None
    heads = _number(values, ("num_attention_heads", "n_head")) or 1
    groups = _number(values, ("num_key_value_heads",)) or heads
    cache = 2 * found["layers"] * (found["hidden_size"] * groups // heads) * found["context"]
    return BaseConfig(model_type=str(model_type), cache_numbers=cache, shapes=shapes, **found)


def _check_known(model_type: object, raw: dict[str, Any], *, name: str) -> None:
    """Refuse what only code from the repository could run. Imports transformers, which takes about two seconds."""
    if model_type in _OLD_PHI:
        raise ModelError(
            f"{name} is written for the old Phi code (model_type {model_type!r}), which transformers does not hold; "
            "give a newer revision of it, such as the present microsoft/phi-2."
        )
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if "auto_map" in raw:
        raise ModelError(
            f"{name} (model_type {model_type!r}) needs code from its own repository, which is never run here; "
            "give a model that transformers itself holds, such as microsoft/phi-2."
        )
    raise ModelError(
        f"{name} has model_type {model_type!r}, which is no text generator that the installed transformers knows; "
        "give a causal language model such as microsoft/phi-2."
    )


def _checked_phi(values: dict[str, Any], *, name: str) -> dict[str, Any]:
    for key in _PHI_DEFAULTS:
        if type(values[key]) is not int or values[key] < 1:
            raise ModelError(f"config.json of {name} has {key} {values[key]!r}; it must be a whole number above 0.")
    if values["hidden_size"] % values["num_attention_heads"]:
        raise ModelError(
            f"config.json of {name} has hidden_size {values['hidden_size']}, which its "
            f"{values['num_attention_heads']} attention heads do not divide; restore the file."
        )
    return values


def _phi_shapes(config: dict[str, Any]) -> Shapes:
    """Every tensor of `PhiForCausalLM`, with tied embeddings once."""
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


def _number(values: dict[str, Any], names: tuple[str, ...]) -> int:
    return next((values[name] for name in names if type(values.get(name)) is int), 0)
