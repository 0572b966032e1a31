"""Choose how rows are scored: packed where the model is a Phi with plain weights and memory allows, else in batches."""

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import torch

from phi2demo.engine.devices import free_memory
from phi2demo.engine.engine import Score
from phi2demo.engine.halting import halting
from phi2demo.engine.loading import BASE
from phi2demo.engine.packed_scoring import Limits, score_packed
from phi2demo.engine.phi import PackedPhi
from phi2demo.engine.phi_weights import WeightCopies, base_of, supports, turns_of
from phi2demo.engine.scoring import ScoringRow, score_rows
from phi2demo.engine.strength import recalled, scaled

LAYER_FLOP = 3e10
"""Work of one layer on a CPU, between two looks at the stop button: well under a second on two cores."""

MOST_TOKENS = 4096
"""Of one pass; more are no faster."""

MEGABYTE = 1 << 20


class Scorer:
    """Scores rows of one loaded model; keeps copies of its weights and the keys and values of prompts between calls."""

    def __init__(self, model: torch.nn.Module, forward: Callable[..., Any], copies: WeightCopies) -> None:
        """`forward` runs plain batches (see `score_rows`); `copies` is read where the model is such a Phi."""
        self._model, self._forward, self._copies = model, forward, copies
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._packable = supports(model)
        if self._packable:
            layer = base_of(model).model.layers[0]
            self._layer_parameters = sum(part.numel() for part in layer.parameters())
        self._packed: dict[str, dict[float, PackedPhi | None]] = {}

    def score(self, rows: Sequence[ScoringRow], *, cancel: Event | None, strength: float = 1.0) -> list[Score]:
        """Log-probability of every output token, in the order of `rows`; equal rows are computed once.

        `strength` is the adapter's. Raises StoppedError.
        """
        scores: dict[ScoringRow, Score] = {}
        for adapter in sorted({row.adapter for row in rows}):
            phi = self._phi(adapter, strength)
            if phi is not None:
                mine = list({row: None for row in rows if row.adapter == adapter})
                scores.update(zip(mine, score_packed(phi, mine, self._limits(), cancel), strict=True))
        others = list({row: None for row in rows if row not in scores})
        if others:
            with halting(self._model, cancel), scaled(self._model, strength):
                scores.update(zip(others, score_rows(self._forward, others, device=self._device), strict=True))
        return [scores[row] for row in rows]

    def forget(self) -> None:
        """Drop the keys and values of prompts, as if none had been scored."""
        for phi in self.packed():
            phi.forget()

    def packed(self) -> list[PackedPhi]:
        """What is kept between calls."""
        return [phi for strengths in self._packed.values() for phi in strengths.values() if phi is not None]

    def _phi(self, adapter: str, strength: float) -> PackedPhi | None:
        if not self._packable:
            return None
        kept = self._packed.setdefault(adapter, {})
        strength = 1.0 if adapter == BASE else strength
        return recalled(kept, strength, lambda: self._pack(adapter, strength))

    def _pack(self, adapter: str, strength: float) -> PackedPhi | None:
        """None where memory is too short for a copy of the weights."""
        weights = self._copies.get(adapter, self._dtype, strength=strength)
        if weights is None:
            return None
        config = base_of(self._model).config
        per_token = config.num_hidden_layers * self._key_bytes
        slots = min(self._share(256 * MEGABYTE), free_bytes(self._device) // 4) // per_token
        least = config.max_position_embeddings + 2 * self._limits().tokens
        return PackedPhi(weights, config, turns_of(self._model), slots=max(slots, least))

    def _limits(self) -> Limits:
        config = base_of(self._model).config
        tokens = MOST_TOKENS
        if self._device.type == "cpu":
            tokens = min(tokens, int(LAYER_FLOP / (2 * self._layer_parameters)))
        logits = self._share(2 * MEGABYTE) // (4 * config.vocab_size)  # what a processor's cache holds
        return Limits(max(tokens, 16), self._share(64 * MEGABYTE) // self._key_bytes, max(logits, 64))

    @property
    def _key_bytes(self) -> int:
        """Of one token's keys and values in one layer."""
        config = base_of(self._model).config
        width = config.hidden_size // config.num_attention_heads
        size = 4 if self._device.type == "cpu" else self._dtype.itemsize
        return int(2 * config.num_key_value_heads * width * size)

    def _share(self, on_cpu: int) -> int:
        """Bytes that one purpose may take: `on_cpu`, or 16 times as much of a GPU's own memory."""
        return on_cpu if self._device.type == "cpu" else 16 * on_cpu


def free_bytes(device: torch.device) -> int:
    """Of the memory that a model on `device` computes in."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()
