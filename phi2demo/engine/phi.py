"""A Phi that runs over packs of tokens and computes no more than the requested probabilities need.

Shared prefixes are computed once. What the first layer computes before attention depends on the token alone and is cached
in a table, and the last layer is run for keys, values and tails only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from phi2demo.engine.cancellation import check_cancelled
from phi2demo.engine.packing import Group, Pack, PrefixTree, make_pack
from phi2demo.engine.phi_weights import PhiWeights, apply_rotary

TABLE_TOKENS = 1024
"""Most tokens in the first layer's table, after which it is emptied."""

FIRST_SLOTS = 1024
"""Of a new store on a GPU; it doubles up to its limit. A CPU has all at once: it is the first use that takes memory."""

STEP = 16
"""Rows that are multiplied together are filled up to a multiple of it: oneDNN compiles a kernel for each number of rows,
which takes as long as multiplying a few dozen of them with a small model."""


class PackedPhi:
    """One Phi with the keys and values of prefixes it has read. Not to be used by two threads at once."""

    def __init__(self, weights: PhiWeights, config: Any, rotary: torch.Tensor, *, slots: int):
        """`rotary` are by position (see `rotary_table`); `slots` bounds the tokens kept."""
        self._weights = weights
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width = config.hidden_size // self._heads
        self._device = rotary.device
        self._dtype = torch.float32 if self._device.type == "cpu" else weights.dtype  # of attention: a CPU has no other
        self._rotary = rotary
        self._slots = slots
        self._tree = PrefixTree()
        self._table = _FirstLayerTable(weights)
        first = slots if self._device.type == "cpu" else FIRST_SLOTS
        self._store = [self._new_store(first) for _ in weights.layers]

    def logits(self, states: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """Float32 logits (tokens, vocabulary) for states that `hidden` gave; those of `token_ids` without rounding."""
        weights = self._weights
        logits = weights.head(states.to(weights.dtype)).float()
        if weights.dtype != torch.float32:
            rows, bias = (part[token_ids].float() for part in weights.head_parts)
            logits.scatter_(1, token_ids[:, None], ((states * rows).sum(-1) + bias)[:, None])
        return logits

    def make_room(self, tokens: int) -> None:
        """Forget all prefixes where `tokens` new ones would exceed the limit."""
        if len(self._tree) + tokens > self._slots:
            self.forget()

    def forget(self) -> None:
        """Drop all prefixes."""
        self._tree.clear()

    def known(self, prefix: Sequence[int]) -> int:
        """Return how many tokens of `prefix` are cached."""
        return len(self._tree.known(prefix))

    def hidden(
        self, prefixes: Sequence[Sequence[int]], tails: Sequence[Sequence[int]], cancel: Event | None
    ) -> torch.Tensor:
        """Return the normed last hidden states of all tails, (tokens, hidden size) in float32, and cache the prefixes.

        Without tails it only caches the prefixes. Raises StoppedError.
        """
        try:
            pack = make_pack(self._tree, prefixes, tails)
            self._grow(pack.first_slot, pack.first_slot + len(pack.tokens) + STEP)
            return self._run(pack, cancel)
        except BaseException:
            self._tree.clear()  # its newest slots hold nothing
            raise

    def _run(self, pack: Pack, cancel: Event | None) -> torch.Tensor:
        count, start = len(pack.tokens), pack.prefix_tokens
        spare = -count % STEP  # filled with the last token, which no other sees
        tokens, positions = (np.pad(part, (0, spare), mode="edge") for part in (pack.tokens, pack.positions))
        rotary = self._rotary.index_select(0, torch.from_numpy(positions).to(self._device))
        groups = [self._place(group) for group in pack.groups]
        slots = slice(pack.first_slot, pack.first_slot + len(tokens))
        keys_values, queries, x = self._table.look_up(tokens.tolist(), self._device)
        self._keep(keys_values, rotary, self._store[0][slots])
        self._attend(queries, rotary, self._store[0], groups)
        first, *others = self._weights.layers
        x.add_(first.attended(queries))
        for layer, store in zip(others, self._store[1:], strict=True):
            check_cancelled(cancel)
            normed = layer.norm(x).to(self._weights.dtype)
            self._keep(layer.keys_values(normed), rotary, store[slots])
            if store is self._store[-1]:
                if not pack.tails:
                    break
                groups = [self._place(group, start) for group in pack.tails]
                normed, x, rotary = normed[start:count], x[start:count], rotary[start:count]
            queries = layer.queries(normed)
            self._attend(queries, rotary, store, groups)
            x.add_(layer.attended(queries)).add_(layer.outer(layer.inner(normed)))
        return self._weights.final_norm(x)

    def _keep(self, keys_values: torch.Tensor, rotary: torch.Tensor, into: torch.Tensor) -> None:
        pairs = keys_values.float().view(-1, 2, self._groups, self._width)
        apply_rotary(pairs[:, 0], rotary)
        into.copy_(pairs)

    def _attend(
        self, queries: torch.Tensor, rotary: torch.Tensor, store: torch.Tensor, groups: Sequence["_Placed"]
    ) -> None:
        """Puts the attended values in the place of `queries`, (queries, heads x width)."""
        rotated = queries.float().view(-1, self._heads, self._width)
        apply_rotary(rotated, rotary)
        rotated = rotated.to(self._dtype)
        for group in groups:
            rows = len(group.keys)
            kept = store.index_select(0, group.keys.view(-1)).view(rows, -1, 2, self._groups, self._width)
            selected = rotated[group.run] if group.run else rotated.index_select(0, group.queries)
            values = functional.scaled_dot_product_attention(
                selected.view(rows, -1, self._heads, self._width).transpose(1, 2),
                kept[:, :, 0].transpose(1, 2),
                kept[:, :, 1].transpose(1, 2),
                attn_mask=group.mask,
                enable_gqa=self._heads != self._groups,
            ).transpose(1, 2)
            if group.run:
                queries[group.run].view(values.shape).copy_(values)
            else:
                flat = values.reshape(-1, queries.shape[1]).to(queries.dtype)
                queries.index_copy_(0, group.numbers, flat.index_select(0, group.real))

    def _place(self, group: Group, start: int = 0) -> "_Placed":
        """On the device, with queries numbered from `start`."""
        visible = torch.from_numpy(group.visible).to(self._device)[:, None]
        mask = torch.zeros(visible.shape, dtype=self._dtype, device=self._device)
        queries, keys, real, numbers = (
            torch.from_numpy(part).to(self._device)
            for part in (group.queries.reshape(-1) - start, group.keys, group.real, group.numbers - start)
        )
        mask = mask.masked_fill_(~visible, float("-inf"))
        return _Placed(group.run(start), queries, keys, mask, real, numbers)

    def _grow(self, filled: int, needed: int) -> None:
        size = len(self._store[0])
        if needed <= size:
            return
        grown = max(needed, min(2 * size, self._slots))
        for number, old in enumerate(self._store):
            self._store[number] = self._new_store(grown)
            self._store[number][:filled] = old[:filled]

    def _new_store(self, slots: int) -> torch.Tensor:
        shape = (slots, 2, self._groups, self._width)
        return torch.empty(shape, dtype=self._dtype, device=self._device)


@dataclass(frozen=True)
class _Placed:
    """A group on the device."""

    run: slice | None
    """The queries where they are neighbours without padding, which saves gathering and spreading them."""
    queries: torch.Tensor
    keys: torch.Tensor
    mask: torch.Tensor
    """(segments, 1, queries, keys), added to the scores."""
    real: torch.Tensor
    numbers: torch.Tensor


class _FirstLayerTable:
    """Caches what the first layer computes of each token before attention."""

    def __init__(self, weights: PhiWeights) -> None:
        self._weights = weights
        self._rows: dict[int, int] = {}
        self._parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def look_up(self, tokens: Sequence[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys and values, queries, and embedding plus MLP, of `tokens`."""
        new = sorted(set(tokens) - self._rows.keys())
        if len(self._rows) + len(new) > TABLE_TOKENS:
            self._rows.clear()
            new = sorted(set(tokens))
        if new:
            made = self._compute(torch.tensor(new, device=device))
            if self._rows and self._parts is not None:
                made = _stacked(self._parts, made)
            self._parts = made
            self._rows.update(zip(new, range(len(self._rows), len(self._rows) + len(new)), strict=True))
        assert self._parts is not None
        index = torch.tensor([self._rows[token] for token in tokens], device=device)
        keys_values, queries, x = self._parts
        return keys_values.index_select(0, index), queries.index_select(0, index), x.index_select(0, index)

    def _compute(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        first = self._weights.layers[0]
        x = self._weights.embed(ids).float()
        normed = first.norm(x).to(self._weights.dtype)
        return first.keys_values(normed), first.queries(normed), x + first.outer(first.inner(normed))


def _stacked(
    above: tuple[torch.Tensor, torch.Tensor, torch.Tensor], below: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    one, two, three = (torch.cat(pair) for pair in zip(above, below, strict=True))
    return one, two, three
