"""Choose how rows are scored: packed where the model is a Phi with plain weights and memory allows, else in batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import Any

import torch
from torch.nn import functional

from phi2demo.engine.devices import free_memory
from phi2demo.engine.engine import Score
from phi2demo.engine.halting import check, halting
from phi2demo.engine.loading import BASE
from phi2demo.engine.phi import PackedPhi
from phi2demo.engine.phi_weights import WeightCopies, base_of, rotary_table, supports
from phi2demo.engine.strength import recalled, scaled

BATCH_TOKENS = 4096
"""Tokens of a batch with its padding."""


@dataclass(frozen=True)
class ScoringRow:
    """One output under one prompt, as token ids."""

    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    adapter: str
    """Name of the adapter, or `__base__`."""

    @property
    def length(self) -> int:
        """Tokens that the model reads: the last one is only predicted."""
        return len(self.prompt_ids) + len(self.output_ids) - 1


def score_rows(forward: Callable[..., Any], rows: Sequence[ScoringRow], *, device: torch.device) -> list[Score]:
    """Log-probability of every output token, teacher-forced, in the order of `rows`.

    `forward(input_ids=, attention_mask=, logits_to_keep=, adapters=)` gives logits for the kept positions. Rows are
    sorted by length and batched by tokens; padding is on the right, where a causal model cannot see it.
    """
    order = sorted(range(len(rows)), key=lambda index: rows[index].length)
    scores: dict[int, Score] = {}
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * rows[index].length > BATCH_TOKENS:
            scores.update(_score_batch(forward, rows, batch, device))
            batch = []
        batch.append(index)
    if batch:
        scores.update(_score_batch(forward, rows, batch, device))
    return [scores[index] for index in range(len(rows))]


def log_probabilities(logits: torch.Tensor, token_ids: torch.Tensor) -> list[float]:
    """Of one token each under its logits, (tokens, vocabulary), which may be overwritten.

    By the odds against all other tokens: also next to 0 all digits are right, so that log-odds can be had from them.
    """
    logits, at = logits.float(), token_ids[:, None]
    wanted = logits.gather(-1, at)
    logits.scatter_(-1, at, float("-inf"))
    other = (at + 1) % logits.shape[-1]
    others = logits.gather(-1, other) - logits.log_softmax(-1).gather(-1, other)  # logsumexp, which is slower on a CPU
    odds = (wanted - others)[:, 0].cpu().double()  # an MPS device has no float64
    values: list[float] = functional.logsigmoid(odds).tolist()
    return values


def _score_batch(
    forward: Callable[..., Any], rows: Sequence[ScoringRow], batch: list[int], device: torch.device
) -> dict[int, Score]:
    width = max(rows[index].length for index in batch)
    first = min(len(rows[index].prompt_ids) for index in batch) - 1
    input_ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for at, index in enumerate(batch):
        ids = (*rows[index].prompt_ids, *rows[index].output_ids)[:-1]
        input_ids[at, : len(ids)] = torch.tensor(ids)
        mask[at, : len(ids)] = 1
    logits = forward(
        input_ids=input_ids.to(device),
        attention_mask=mask.to(device),
        logits_to_keep=torch.arange(first, width, device=device),
        adapters=[rows[index].adapter for index in batch],
    )
    scores = {}
    for at, index in enumerate(batch):
        row = rows[index]
        start = len(row.prompt_ids) - 1 - first
        wanted = torch.tensor(row.output_ids, device=device)
        values = log_probabilities(logits[at, start : start + len(row.output_ids)], wanted)
        scores[index] = Score(row.output_ids, tuple(values))
    return scores


@dataclass(frozen=True)
class Limits:
    """What one pass may hold."""

    tokens: int
    """To be computed."""
    keys: int
    """To be read, over all rows."""
    logits: int
    """Rows of logits."""


def score_packed(phi: PackedPhi, rows: Sequence[ScoringRow], limits: Limits, cancel: Event | None) -> list[Score]:
    """Log-probability of every output token, in the order of `rows`. Raises StoppedError."""
    scores: dict[int, Score] = {}
    for batch in _passes(phi, rows, limits, cancel):
        batch.sort(key=lambda index: (len(rows[index].output_ids), rows[index].length))  # rows of one group in a row
        taken = [rows[index] for index in batch]
        prefixes = [row.prompt_ids[:-1] for row in taken]
        tails = [(row.prompt_ids[-1], *row.output_ids[:-1]) for row in taken]
        hidden = phi.hidden(prefixes, tails, cancel)
        wanted = torch.tensor([token for row in taken for token in row.output_ids], device=hidden.device)
        values: list[float] = []
        for states, tokens in zip(torch.split(hidden, limits.logits), torch.split(wanted, limits.logits), strict=True):
            check(cancel)
            values += log_probabilities(phi.logits(states, tokens), tokens)
        numbers = iter(values)
        for index, row in zip(batch, taken, strict=True):
            scores[index] = Score(row.output_ids, tuple(islice(numbers, len(row.output_ids))))
    return [scores[index] for index in range(len(rows))]


def _passes(phi: PackedPhi, rows: Sequence[ScoringRow], limits: Limits, cancel: Event | None) -> Iterator[list[int]]:
    """Indices of rows to be run together; like prompts follow each other. Longer prefixes than a pass are read before."""
    batch: list[int] = []
    tokens = keys = 0
    phi.make_room(limits.tokens)
    last: tuple[int, ...] = ()
    for index in sorted(range(len(rows)), key=lambda index: rows[index].prompt_ids):
        row, prefix = rows[index], rows[index].prompt_ids[:-1]
        new = len(prefix) - max(phi.known(prefix), _shared(prefix, last)) + len(row.output_ids)
        if batch and (tokens + new > limits.tokens or keys + row.length > limits.keys):
            yield batch
            batch, tokens, keys = [], 0, 0
            phi.make_room(limits.tokens)
            new = len(prefix) - phi.known(prefix) + len(row.output_ids)
        if not batch and new > limits.tokens:
            phi.make_room(row.length + limits.tokens)
            for end in range(phi.known(prefix) + limits.tokens, len(prefix), limits.tokens):
                phi.hidden([prefix[:end]], [], cancel)
            new = len(prefix) - phi.known(prefix) + len(row.output_ids)
        batch.append(index)
        tokens, keys, last = tokens + new, keys + row.length, prefix
    if batch:
        yield batch


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Length of the prefix that both have."""
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


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
        return PackedPhi(weights, config, rotary_table(self._model), slots=max(slots, least))

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
