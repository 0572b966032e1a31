"""Copies of the weights of a loaded Phi, with or without its adapter, in the layout that multiplies fastest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from phi2demo.engine.strength import get_or_make, scaled_adapters

Linear = Callable[[torch.Tensor], torch.Tensor]
"""(tokens, inputs) to (tokens, outputs), with its bias."""

Norm = Callable[[torch.Tensor], torch.Tensor]
"""Of float32, over the last dimension."""


@dataclass(frozen=True)
class Layer:
    """Its attention and its MLP read the same normed input and are added."""

    norm: Norm
    keys_values: Linear
    """To keys, then values, of all heads. Numbers of a key or query that are rotated together are neighbours."""
    queries: Linear
    """To queries of all heads."""
    attended: Linear
    """From the attended values."""
    inner: Linear
    """To the inner MLP, activated."""
    outer: Linear
    """From the inner MLP."""


@dataclass(frozen=True)
class PhiWeights:
    """One Phi, finetuned or base."""

    embed: Callable[[torch.Tensor], torch.Tensor]
    layers: tuple[Layer, ...]
    final_norm: Norm
    head: Linear
    head_parts: tuple[torch.Tensor, torch.Tensor]
    """Its weight and bias with all their digits."""
    dtype: torch.dtype
    """Of what is multiplied; norms and the sums over layers are float32."""


GELU_BY_TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
"""Names of one function (Hendrycks and Gimpel, 2016)."""


def supports(model: nn.Module) -> bool:
    """Whether this is a Phi with plain weights, to which nothing but LoRA was added."""
    from transformers import PhiForCausalLM

    base = base_of(model)
    if not isinstance(base, PhiForCausalLM):
        return False
    config = base.config
    linears = [module for layer in base.model.layers for module in _linears(layer)] + [base.lm_head]
    norms = [layer.input_layernorm for layer in base.model.layers] + [base.model.final_layernorm]
    embedding = base.model.embed_tokens
    return (
        len(base.model.layers) > 1
        and not config.qk_layernorm
        and base.model.layers[0].self_attn.head_dim % 2 == 0  # pairs turn in place
        and config.rope_parameters["rope_type"] == "default"
        and len({str(parameter.device) for parameter in base.parameters()}) == 1
        and all(_is_plain(module) for module in linears)
        and all(type(norm) is nn.LayerNorm for norm in norms)
        and type(getattr(embedding, "base_layer", embedding)) is nn.Embedding
        and _has_plain_lora(embedding)
    )


def base_of(model: nn.Module) -> Any:
    """The transformers model in a PEFT model, or the model itself."""
    inner = getattr(model, "get_base_model", None)
    return model if inner is None else inner()


def read_weights(model: nn.Module, *, adapter: str | None, dtype: torch.dtype) -> PhiWeights:
    """Copies of all weights in `dtype`, with LoRA added to them where `adapter` names one."""
    base = base_of(model)
    return PhiWeights(
        embed=_chosen(base.model.embed_tokens, adapter),
        layers=tuple(_read_layer(layer, adapter, dtype, base.config.hidden_act) for layer in base.model.layers),
        final_norm=_norm(base.model.final_layernorm),
        head=_joined([base.lm_head], adapter, dtype),
        head_parts=(_weight(base.lm_head, adapter), _bias(base.lm_head)),
        dtype=dtype,
    )


def copied_bytes(model: nn.Module, dtype: torch.dtype) -> int:
    """Size of the copies that `read_weights` makes."""
    base = base_of(model)
    linears = [module for layer in base.model.layers for module in _linears(layer)] + [base.lm_head]
    return sum(int(module.weight.numel()) for module in linears) * dtype.itemsize


def layer_parameters(model: nn.Module) -> int:
    """Return the number of parameters of one layer, with those of its adapters."""
    return sum(parameter.numel() for parameter in base_of(model).model.layers[0].parameters())


def apply_rotary(heads: torch.Tensor, rotary: torch.Tensor) -> None:
    """Partial rotary embedding (Su et al., 2021), in place, of (..., heads, width) whose rotated numbers are neighbours.

    `rotary` has a complex number for each pair, (..., 1, pairs).
    """
    pairs = heads[..., : 2 * rotary.shape[-1]].view(*heads.shape[:-1], -1, 2)
    torch.view_as_complex(pairs).mul_(rotary)


def rotary_table(model: nn.Module) -> torch.Tensor:
    """By position in the context, (context, 1, pairs)."""
    base = base_of(model)
    device = next(base.parameters()).device
    positions = torch.arange(base.config.max_position_embeddings, device=device)[None]
    cos, sin = base.model.rotary_emb(torch.zeros(1, device=device), positions)
    half = cos.shape[-1] // 2
    return torch.complex(*(part[0, :, None, :half].float() for part in (cos, sin)))


class WeightCopies:
    """Copies of the weights of one model, made at the first request if they fit into memory."""

    def __init__(self, model: nn.Module, *, base: str, free: Callable[[], int]) -> None:
        """`base` names what no adapter touches; `free` says how many bytes there are."""
        self._model, self._base, self._free = model, base, free
        self._copies: dict[tuple[str, torch.dtype], dict[float, PhiWeights | None]] = {}

    def get(self, adapter: str, dtype: torch.dtype, *, strength: float = 1.0) -> PhiWeights | None:
        """Of an adapter in `dtype`; None where memory is too short for a copy. The base is the same at any strength."""
        name = None if adapter == self._base else adapter

        def read() -> PhiWeights | None:
            if copied_bytes(self._model, dtype) > self._free() // 2:
                return None
            with scaled_adapters(self._model, strength):
                return read_weights(self._model, adapter=name, dtype=dtype)

        return get_or_make(self._copies.setdefault((adapter, dtype), {}), strength if name else 1.0, read)


def _read_layer(layer: Any, adapter: str | None, dtype: torch.dtype, activation: str) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    keys, queries = attention.k_proj, attention.q_proj
    return Layer(
        norm=_norm(layer.input_layernorm),
        keys_values=_joined([keys, attention.v_proj], adapter, dtype, order=_paired(attention, keys)),
        queries=_joined([queries], adapter, dtype, order=_paired(attention, queries)),
        attended=_joined([attention.dense], adapter, dtype),
        inner=_joined([mlp.fc1], adapter, dtype, activation=activation),
        outer=_joined([mlp.fc2], adapter, dtype),
    )


def _paired(attention: Any, projection: Any) -> torch.Tensor:
    """Return the order of a projection's outputs that makes neighbours of numbers that are rotated together.

    Rotary embedding rotates the first half of the numbers against the second; as neighbours they are one
    complex number, and queries and keys in the same order multiply to the same.
    """
    order = torch.arange(projection.out_features).view(-1, attention.head_dim)
    rotated = order[:, : attention.rotary_ndims]
    halves = rotated.view(len(order), 2, -1).transpose(1, 2).flatten(1)
    return torch.cat([halves, order[:, attention.rotary_ndims :]], dim=1).flatten()


def _linears(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    return [attention.q_proj, attention.k_proj, attention.v_proj, attention.dense, mlp.fc1, mlp.fc2]


def _is_plain(module: Any) -> bool:
    base = getattr(module, "base_layer", module)
    return type(base) is nn.Linear and bool(base.weight.is_floating_point()) and _has_plain_lora(module)


def _has_plain_lora(module: Any) -> bool:
    """Return whether a module has no adapter but W + BA: neither a variant such as DoRA, nor a bias of B's own."""
    if not hasattr(module, "base_layer"):
        return True
    return (
        hasattr(module, "lora_A") and not module.lora_variant and all(up.bias is None for up in module.lora_B.values())
    )


def _joined(
    modules: Sequence[nn.Module],
    adapter: str | None,
    dtype: torch.dtype,
    *,
    order: torch.Tensor | None = None,
    activation: str | None = None,
) -> Linear:
    """One multiplication for several of the same input; `order` is that of the first outputs."""
    weight = torch.cat([_weight(module, adapter).to(dtype) for module in modules])
    bias = torch.cat([_bias(module) for module in modules]).to(dtype)
    if order is not None:
        order = order.to(weight.device)
        weight[: len(order)], bias[: len(order)] = weight[order], bias[order]
    return _prepared(weight, bias, activation)


def _prepared(weight: torch.Tensor, bias: torch.Tensor, activation: str | None) -> Linear:
    """oneDNN's own blocked layout on a CPU, which saves reordering the weights in each call, and its GELU on the way."""
    operators = torch.ops.mkldnn
    reorder = getattr(operators, "_reorder_linear_weight", None)  # both are private: another torch may lack them
    multiply = getattr(operators, "_linear_pointwise", None)
    onednn = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not onednn or reorder is None or multiply is None:
        return _activated(lambda inputs: nn.functional.linear(inputs, weight, bias), activation)
    packed = reorder(weight, None)
    if activation in GELU_BY_TANH:
        return lambda inputs: multiply(inputs, packed, bias, "gelu", [], "tanh")
    return _activated(lambda inputs: multiply(inputs, packed, bias, "none", [], ""), activation)


def _activated(linear: Linear, name: str | None) -> Linear:
    from transformers.activations import ACT2FN

    if name is None:
        return linear
    if name in GELU_BY_TANH:
        return lambda inputs: nn.functional.gelu(linear(inputs), approximate="tanh")
    function = ACT2FN[name]
    return lambda inputs: function(linear(inputs))


def _norm(module: nn.LayerNorm) -> Norm:
    weight, bias = module.weight.float(), module.bias.float()
    return lambda inputs: nn.functional.layer_norm(inputs, module.normalized_shape, weight, bias, module.eps)


def _weight(module: Any, adapter: str | None) -> torch.Tensor:
    base = getattr(module, "base_layer", module)
    weight: torch.Tensor = base.weight
    if adapter is not None and adapter in getattr(module, "lora_A", {}):
        weight = weight.float() + module.get_delta_weight(adapter).float()
    return weight


def _bias(module: Any) -> torch.Tensor:
    base = getattr(module, "base_layer", module)
    bias: torch.Tensor = base.weight.new_zeros(base.out_features) if base.bias is None else base.bias
    return bias


def _chosen(module: Any, adapter: str | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """The embedding as this adapter changes it, whichever else the module has; the base's own where it does not."""
    base: Callable[[torch.Tensor], torch.Tensor] = getattr(module, "base_layer", module)
    if adapter is None or adapter not in getattr(module, "lora_embedding_A", {}):
        return base
    down, up = module.lora_embedding_A[adapter].T, module.lora_embedding_B[adapter].T
    scaling: float = module.scaling[adapter]
    return lambda ids: base(ids) + (nn.functional.embedding(ids, down) @ up) * scaling
