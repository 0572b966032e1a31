"""Gradients of a LoRA adapter on a small Phi, computed as if there were one matrix for each layer's inputs.

For a base whose matrices are hardly larger than the adapter's, the many small multiplications of LoRA take more time
than the gradient of the whole matrix. So W + s BA is made once a step, the loss is differentiated by it, and the chain
rule gives the gradients of A and B (with G that of the matrix: s BᵀG and s GAᵀ): the very gradients of LoRA
(Hu et al., 2021), whatever its rank.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from phi2demo.engine.phi_weights import GELU_BY_TANH, base_of, supports, turns_of
from phi2demo.training.batch import Batch
from phi2demo.training.packs import Pack, PackedBatch, make_packs

if TYPE_CHECKING:
    from accelerate import Accelerator
    from peft import PeftModel

KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""All but cuDNN's, which plans anew for every number of rows."""
LARGEST = 100_000_000
"""Parameters of a base for which this saves time; a larger one would need memory for a second copy of its matrices."""


def fits(model: "PeftModel", device: torch.device) -> bool:
    """Whether the gradients of `model` can and should be computed so."""
    base = base_of(model)
    return (
        supports(model)
        and device.type in ("cpu", "cuda")
        and base.num_parameters() <= LARGEST
        and base.config.num_key_value_heads == base.config.num_attention_heads
        and not hasattr(base.model.embed_tokens, "base_layer")
        and not hasattr(base.lm_head, "base_layer")
    )


class MergedPhi:
    """A Phi with a LoRA adapter, in training."""

    def __init__(self, model: "PeftModel", *, dropout: float = 0.0) -> None:
        """`model` is where it is to be trained. `dropout` is that of `set_dropout`."""
        base = base_of(model)
        self._base, self._config, self._dropout = base, base.config, dropout
        self._layers = [_Layer(layer, base.config.hidden_act) for layer in base.model.layers]
        turns = turns_of(model)
        self._turns = turns.real.contiguous(), turns.imag.contiguous()

    def add_gradients(self, batch: Batch, *, part_tokens: int, accelerator: "Accelerator") -> torch.Tensor:
        """Add those of the weighted mean loss of `batch` to the adapter's parameters; returns that loss.

        No more than `part_tokens` tokens (or one row) are computed at once.
        """
        total = torch.zeros((), device=self._base.device)
        for layer in self._layers:
            layer.merge()
        for pack in batch.packs if isinstance(batch, PackedBatch) else make_packs(batch, part_tokens):
            with accelerator.autocast(), sdpa_kernel(KERNELS):
                loss = self.loss(pack) / batch.total_weight
            accelerator.backward(loss)
            total += loss.detach()
        for layer in self._layers:
            layer.pass_back()
        return total

    def loss(self, pack: Pack) -> torch.Tensor:
        """Weighted sum of the cross-entropy of its targets; the layers have to be merged."""
        states = self._hidden(pack)
        head = self._base.lm_head
        logits = functional.linear(states, head.weight, head.bias).float()
        losses = functional.cross_entropy(logits, self._moved(pack.labels), reduction="none")
        return (losses * self._moved(pack.weights)).sum()

    def _moved(self, numbers: NDArray[Any]) -> torch.Tensor:
        """To where the model is."""
        return torch.from_numpy(numbers).to(self._base.device)

    def _hidden(self, pack: Pack) -> torch.Tensor:
        """Normed last hidden states at the targets, (targets, hidden size)."""
        x = self._dropped(self._base.model.embed_tokens(self._moved(pack.tokens)))
        positions, targets = self._moved(pack.positions), self._moved(pack.targets)
        turns = self._turns[0][positions], self._turns[1][positions]
        masks = self._masks(pack)
        for layer in self._layers:
            normed = layer.norm(x)
            attended = self._attend(layer.keys_queries_values(normed), turns, pack, masks)
            if layer is self._layers[-1]:  # nothing else is read of it
                normed, attended, x = (part.index_select(0, targets) for part in (normed, attended, x))
            x = x + self._dropped(layer.attended(attended)) + self._dropped(layer.mlp(normed))
        norm = self._base.model.final_layernorm
        return functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, self._dropout) if self._dropout else x

    def _masks(self, pack: Pack) -> list[torch.Tensor | None]:
        """Of each part; None where it is causal and nothing more."""
        device = self._base.device
        if pack.texts is not None:
            (part,) = pack.parts
            texts = self._moved(pack.texts).view(part.rows, 1, part.length)
            return [_added((texts.mT != texts) | _later(0, part.length, device))[:, None]]
        return [
            _added(_later(pack.prefixes[part.prefix], part.length, device)) if part.prefix is not None else None
            for part in pack.parts
        ]

    def _attend(
        self,
        joint: torch.Tensor,
        turns: tuple[torch.Tensor, torch.Tensor],
        pack: Pack,
        masks: Sequence[torch.Tensor | None],
    ) -> torch.Tensor:
        """Attended values, (tokens, hidden size)."""
        heads, width = self._config.num_attention_heads, joint.shape[1] // 3 // self._config.num_attention_heads
        turned, values = torch.split(joint, [2 * heads * width, heads * width], dim=1)
        both = _turn(turned.view(-1, 2 * heads, width), turns)
        sizes = [*pack.prefixes, *(part.rows * part.length for part in pack.parts)]
        pieces = [
            torch.split(each, sizes) for each in (*torch.split(both, heads, dim=1), values.reshape(-1, heads, width))
        ]
        done = []
        for at in range(len(pack.prefixes)):
            query, key, value = (piece[at][None] for piece in pieces)
            done.append(_attention(query, key, value, None))
        for at, (part, mask) in enumerate(zip(pack.parts, masks, strict=True), len(pack.prefixes)):
            query, key, value = (piece[at].view(part.rows, part.length, heads, width) for piece in pieces)
            if part.prefix is not None:
                key, value = (
                    torch.cat([piece[part.prefix].expand(part.rows, -1, -1, -1), own], dim=1)
                    for piece, own in zip(pieces[1:], (key, value), strict=True)
                )
            done.append(_attention(query, key, value, mask))
        return torch.cat(done)


class _Layer:
    """One of its layers, whose matrices are leaves of the graph while a step is computed."""

    def __init__(self, layer: Any, activation: str) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._norm = layer.input_layernorm
        self._activation = (
            (lambda x: functional.gelu(x, approximate="tanh")) if activation in GELU_BY_TANH else mlp.activation_fn
        )
        self._in = _Merged([attention.q_proj, attention.k_proj, attention.v_proj])
        self._dense, self._fc1, self._fc2 = _Merged([attention.dense]), _Merged([mlp.fc1]), _Merged([mlp.fc2])

    def merge(self) -> None:
        for merged in (self._in, self._dense, self._fc1, self._fc2):
            merged.merge()

    def pass_back(self) -> None:
        for merged in (self._in, self._dense, self._fc1, self._fc2):
            merged.pass_back()

    def norm(self, x: torch.Tensor) -> torch.Tensor:
        norm = self._norm
        return functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)

    def keys_queries_values(self, normed: torch.Tensor) -> torch.Tensor:
        return self._in(normed)

    def attended(self, values: torch.Tensor) -> torch.Tensor:
        return self._dense(values)

    def mlp(self, normed: torch.Tensor) -> torch.Tensor:
        return self._fc2(self._activation(self._fc1(normed)))


class _Merged:
    """Linear layers of the same input, each with or without LoRA, as one matrix."""

    def __init__(self, modules: Sequence[Any]) -> None:
        self._modules = modules
        self._bias = torch.cat([getattr(module, "base_layer", module).bias.detach() for module in modules])
        self._weight = torch.zeros(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self._weight, self._bias)

    def merge(self) -> None:
        with torch.no_grad():
            made = []
            for module in self._modules:
                weight = getattr(module, "base_layer", module).weight
                for down, up, scaling in _factors(module):
                    weight = torch.addmm(weight, up, down, alpha=scaling)
                made.append(weight)
            self._weight = torch.cat(made)
        self._weight.requires_grad_(any(True for module in self._modules for _ in _factors(module)))

    def pass_back(self) -> None:
        if self._weight.grad is None:
            return
        sizes = [getattr(module, "base_layer", module).out_features for module in self._modules]
        with torch.no_grad():
            for module, gradient in zip(self._modules, torch.split(self._weight.grad, sizes), strict=True):
                for down, up, scaling in _factors(module):
                    _add(down, (up.T @ gradient) * scaling)
                    _add(up, (gradient @ down.T) * scaling)
        self._weight = torch.zeros(0)


def _factors(module: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """LoRA's A and B with their scaling, where the layer has them."""
    for name, down in getattr(module, "lora_A", {}).items():
        yield down.weight, module.lora_B[name].weight, module.scaling[name]


def _add(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _turn(heads: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Partial rotary embedding (Su et al., 2021) of (tokens, heads, width)."""
    cos, sin = turns
    one, other, rest = torch.split(heads, [cos.shape[-1], cos.shape[-1], heads.shape[-1] - 2 * cos.shape[-1]], dim=-1)
    return torch.cat([one * cos - other * sin, other * cos + one * sin, rest], dim=-1)


def _attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Of (rows, tokens, heads, width), causal where there is no mask; (rows x tokens, heads x width)."""
    attended = functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
    )
    return attended.transpose(1, 2).reshape(-1, queries.shape[2] * queries.shape[3])


def _later(before: int, length: int, device: torch.device) -> torch.Tensor:
    """Which of themselves and so many before them come after each of `length` tokens."""
    return torch.ones(length, before + length, dtype=torch.bool, device=device).triu(before + 1)


def _added(hidden: torch.Tensor) -> torch.Tensor:
    """What is added to the scores so that none goes to the hidden ones."""
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, float("-inf"))
