"""A small Phi on a CPU that generates token by token, with merged LoRA. Does not choose the tokens.

`transformers` copies all keys and values to append one, and LoRA's many small multiplications cost a small model more
than its own; nothing else differs, but for rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from phi2demo.engine.phi_weights import PhiWeights, apply_rotary

GROWTH = 64
"""Tokens for which room is made at first, beyond the prompt; a store that is full grows by half."""


class PhiDecoder:
    """The rows of a batch under one Phi, with the keys and values of all they have read; left-padded, so that they align."""

    def __init__(self, weights: PhiWeights, config: Any, rotary: torch.Tensor, padding: torch.Tensor) -> None:
        """`rotary` is a complex number for each position and rotated pair, (context, 1, pairs); `padding` by row."""
        self._weights, self._rotary, self._padding = weights, rotary, padding
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width = config.hidden_size // self._heads
        self._length = 0
        self._common: list[torch.Tensor] = []
        """Keys and values that are the same for `_times` rows after each other, kept once; none before `expand_beams`."""
        self._times, self._shared = 1, 0
        """`_shared` is how many tokens they are of; `_store` has those of the tokens after them."""
        self._store = [torch.empty(2, len(padding), self._groups, 0, self._width) for _ in weights.layers]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self._padding)

    @property
    def weights(self) -> PhiWeights:
        """Return the weights that it computes with."""
        return self._weights

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """The logits (rows, vocabulary) after the last of the next tokens (rows, tokens)."""
        return read_together([self], ids)

    def begin(self, tokens: int) -> "_Reading":
        """Return what all layers need to read the next tokens: their positions, rotations and mask."""
        start, end = self._length, self._length + tokens
        self._make_room(end - self._shared)
        positions = (torch.arange(start, end) - self._padding[:, None]).clamp_min_(0)
        self._length = end
        return _Reading(start, end, self._rotary[positions], self._mask(start, end))

    def attend(self, number: int, reading: "_Reading", joint: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Store a layer's keys and values, and return the attention output of its queries (rows, tokens, hidden size)."""
        store, rotary = self._store[number], reading.rotary
        start, end = reading.start - self._shared, reading.end - self._shared
        pairs = joint.view(*joint.shape[:2], 2, self._groups, self._width)
        apply_rotary(pairs[:, :, 0], rotary)
        store[:, :, :, start:end] = pairs.permute(2, 0, 3, 1, 4)
        asked = queries.shape[1]
        rotated = queries.view(self.rows, asked, self._heads, self._width)
        apply_rotary(rotated, rotary[:, -asked:])
        mask = None if reading.mask is None else reading.mask[:, :, -asked:]
        own = store[:, :, :, :end]
        if self._common:
            attended = self._attend_both(self._common[number], own, rotated.transpose(1, 2), mask)
        else:
            attended = functional.scaled_dot_product_attention(
                rotated.transpose(1, 2), own[0], own[1], attn_mask=mask, enable_gqa=self._heads != self._groups
            )
        return attended.transpose(1, 2).flatten(2)

    def _attend_both(
        self, common: torch.Tensor, own: torch.Tensor, queries: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention of queries (rows, heads, tokens, width) to what their rows share and to their own, as to one row of keys."""
        if self._heads != self._groups:
            common, own = (part.repeat_interleave(self._heads // self._groups, dim=2) for part in (common, own))
        scores = torch.cat([self._split(self._joined(queries) @ common[0].mT), queries @ own[0].mT], dim=-1)
        scores *= self._width**-0.5
        if mask is not None:
            scores.masked_fill_(~mask, -torch.inf)
        to_common, to_own = torch.split(scores.softmax(-1), [self._shared, own.shape[3]], dim=-1)
        attended: torch.Tensor = self._split(self._joined(to_common) @ common[1]) + to_own @ own[1]
        return attended

    def _joined(self, rows: torch.Tensor) -> torch.Tensor:
        """(rows, heads, tokens, any) with the tokens of all rows that share their beginning in one row."""
        return rows.reshape(-1, self._times, *rows.shape[1:]).transpose(1, 2).flatten(2, 3)

    def _split(self, joined: torch.Tensor) -> torch.Tensor:
        """Undo `_joined`."""
        rows, heads, tokens, size = joined.shape
        apart = joined.view(rows, heads, self._times, tokens // self._times, size)
        return apart.transpose(1, 2).flatten(0, 1)

    def select_rows(self, index: torch.Tensor) -> None:
        """Keep only these rows; after `expand_beams`, all beams of a row or none."""
        self._padding = self._padding[index]
        self._store = [store[:, index, :, : self._length - self._shared] for store in self._store]
        self._common = [common[:, index[:: self._times] // self._times] for common in self._common]

    def expand_beams(self, times: int) -> None:
        """Repeat each row `times` times, once; the repetitions share the keys and values of what was read so far."""
        self._common = [store[:, :, :, : self._length] for store in self._store]
        self._times, self._shared = times, self._length
        self._padding = self._padding.repeat_interleave(times)
        self._store = [store.new_empty(2, self.rows, self._groups, 0, self._width) for store in self._store]

    def reorder_cache(self, index: torch.Tensor) -> None:
        """Replace rows by others of the same prompt."""
        if torch.equal(index, torch.arange(len(index))):
            return
        for store in self._store:
            written = store[:, :, :, : self._length - self._shared]
            written.copy_(written[:, index])

    def _mask(self, start: int, end: int) -> torch.Tensor | None:
        """Return which tokens each new token attends to, (rows or 1, 1, tokens, all tokens); None for all of them."""
        padded = bool(self._padding.any())
        if not padded and end == start + 1:
            return None
        keys, queries = torch.arange(end), torch.arange(start, end)[:, None]
        visible = (keys <= queries)[None]
        if padded:  # padding sees itself: attention over nothing is no number
            visible = (visible & (keys >= self._padding[:, None, None])) | (keys == queries)
        return visible[:, None]

    def _make_room(self, length: int) -> None:
        room = self._store[0].shape[3]
        if length <= room:
            return
        grown = max(length + GROWTH, room + room // 2)
        for number, old in enumerate(self._store):
            shape = (2, self.rows, self._groups, grown, self._width)
            self._store[number] = torch.empty(shape)
            self._store[number][:, :, :, :room] = old


@dataclass(frozen=True)
class _Reading:
    """The positions, rotations and attention mask of a decoder's next tokens."""

    start: int
    end: int
    rotary: torch.Tensor
    mask: torch.Tensor | None


def read_together(decoders: Sequence[PhiDecoder], ids: torch.Tensor) -> torch.Tensor:
    """The logits (rows, vocabulary) after the next tokens (rows, tokens) of all decoders' rows, one decoder after the other.

    They have the same weights, which are multiplied once for all: only the attention is each decoder's own.
    """
    weights, sizes = decoders[0].weights, [decoder.rows for decoder in decoders]
    readings = [decoder.begin(ids.shape[1]) for decoder in decoders]
    x = weights.embed(ids).float()
    for number, layer in enumerate(weights.layers):
        normed = layer.norm(x)
        joint = layer.keys_values(normed)
        if number == len(weights.layers) - 1:  # nothing is read of its other tokens
            normed, x = normed[:, -1:], x[:, -1:]
        shared = torch.split(joint, sizes), torch.split(layer.queries(normed), sizes)
        parts = zip(decoders, readings, *shared, strict=True)
        attended = torch.cat([decoder.attend(number, reading, *states) for decoder, reading, *states in parts])
        x = x + layer.attended(attended) + layer.outer(layer.inner(normed))
    return weights.head(weights.final_norm(x[:, -1]))


class MixedDecoder:
    """Decodes rows of several adapters in the order of the batch; the rows of an adapter are computed together."""

    def __init__(self, parts: Sequence[tuple[PhiDecoder, torch.Tensor]]) -> None:
        """Decoders, each with the numbers of its rows in the batch."""
        self._parts = list(parts)

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """See `PhiDecoder.read`."""
        if len(self._parts) == 1:
            return self._parts[0][0].read(ids)
        groups: dict[int, list[tuple[PhiDecoder, torch.Tensor]]] = {}
        for decoder, rows in self._parts:
            groups.setdefault(id(decoder.weights), []).append((decoder, rows))
        results = []
        for parts in groups.values():
            together = torch.cat([rows for _, rows in parts])
            results.append((together, read_together([decoder for decoder, _ in parts], ids[together])))
        logits = results[0][1].new_empty(len(ids), results[0][1].shape[1])
        for rows, part in results:
            logits[rows] = part
        return logits

    def select_rows(self, index: torch.Tensor) -> None:
        """See `PhiDecoder.select_rows`."""
        kept = []
        for decoder, rows in self._parts:
            mine = torch.isin(index, rows).nonzero()[:, 0]
            if len(mine):
                decoder.select_rows(torch.searchsorted(rows, index[mine]))
                kept.append((decoder, mine))
        self._parts = kept

    def expand_beams(self, times: int) -> None:
        """See `PhiDecoder.expand_beams`."""
        for number, (decoder, rows) in enumerate(self._parts):
            decoder.expand_beams(times)
            self._parts[number] = decoder, (rows[:, None] * times + torch.arange(times)).flatten()

    def reorder_cache(self, index: torch.Tensor) -> None:
        """See `PhiDecoder.reorder_cache`."""
        for decoder, rows in self._parts:
            decoder.reorder_cache(torch.searchsorted(rows, index[rows]))
