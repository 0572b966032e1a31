"""Scoring: the log-probabilities of given outputs.

Rows are computed in padded batches by transformers, or, for a Phi with plain weights, in packs that compute the prefixes
that they share only once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import Any

import torch
from torch.nn import functional

from phi2demo.engine.adapted_model import BASE, AdaptedModel
from phi2demo.engine.cancellation import cancellable, check_cancelled
from phi2demo.engine.devices import free_memory
from phi2demo.engine.engine import Score
from phi2demo.engine.phi import PackedPhi
from phi2demo.engine.phi_weights import WeightCopies, layer_parameters, rotary_table, supports
from phi2demo.engine.strength import get_or_make

BATCH_TOKENS = 4096
"""Most tokens in a padded batch."""


@dataclass(frozen=True)
class ScoringRow:
    """An output under a prompt, as token ids."""

    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    adapter: str
    """PEFT's name of the adapter, or `adapted_model.BASE`."""

    @property
    def length(self) -> int:
        """Return the number of tokens that the model reads; the last one is only predicted."""
        return len(self.prompt_ids) + len(self.output_ids) - 1


def score_rows(forward: Callable[..., Any], rows: Sequence[ScoringRow], *, device: torch.device) -> list[Score]:
    """Compute the log-probability of every output token with teacher forcing, in the order of `rows`.

    `forward(input_ids=, attention_mask=, logits_to_keep=, adapters=)` returns logits for the kept positions. Rows are
    sorted by length and put into batches; padding is on the right, where a causal model does not attend to it.
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
    """Return the log-probability of one token per row of logits, (tokens, vocabulary), which may be overwritten.

    It is computed from the odds against all other tokens, so that it is accurate also close to 0, and log-odds can be
    derived from it.
    """
    logits, index = logits.float(), token_ids[:, None]
    target = logits.gather(-1, index)
    logits.scatter_(-1, index, float("-inf"))
    other = (index + 1) % logits.shape[-1]
    others = logits.gather(-1, other) - logits.log_softmax(-1).gather(-1, other)  # logsumexp, which is slower on a CPU
    odds = (target - others)[:, 0].cpu().double()  # an MPS device has no float64
    values: list[float] = functional.logsigmoid(odds).tolist()
    return values


def _score_batch(
    forward: Callable[..., Any], rows: Sequence[ScoringRow], batch: list[int], device: torch.device
) -> dict[int, Score]:
    width = max(rows[index].length for index in batch)
    first = min(len(rows[index].prompt_ids) for index in batch) - 1
    input_ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for position, index in enumerate(batch):
        ids = (*rows[index].prompt_ids, *rows[index].output_ids)[:-1]
        input_ids[position, : len(ids)] = torch.tensor(ids)
        mask[position, : len(ids)] = 1
    logits = forward(
        input_ids=input_ids.to(device),
        attention_mask=mask.to(device),
        logits_to_keep=torch.arange(first, width, device=device),
        adapters=[rows[index].adapter for index in batch],
    )
    scores = {}
    for position, index in enumerate(batch):
        row = rows[index]
        start = len(row.prompt_ids) - 1 - first
        targets = torch.tensor(row.output_ids, device=device)
        values = log_probabilities(logits[position, start : start + len(row.output_ids)], targets)
        scores[index] = Score(row.output_ids, tuple(values))
    return scores


@dataclass(frozen=True)
class PassLimits:
    """How much is computed in one packed forward pass."""

    tokens: int
    """Most tokens to compute."""
    keys: int
    """Most keys to attend to, over all rows."""
    logits: int
    """Most rows of logits at once."""


def score_packed(phi: PackedPhi, rows: Sequence[ScoringRow], limits: PassLimits, cancel: Event | None) -> list[Score]:
    """Compute the log-probability of every output token, in the order of `rows`. Raises StoppedError."""
    scores: dict[int, Score] = {}
    for batch in _passes(phi, rows, limits, cancel):
        batch.sort(key=lambda index: (len(rows[index].output_ids), rows[index].length))  # neighbours share a group
        batch_rows = [rows[index] for index in batch]
        prefixes = [row.prompt_ids[:-1] for row in batch_rows]
        tails = [(row.prompt_ids[-1], *row.output_ids[:-1]) for row in batch_rows]
        hidden = phi.hidden(prefixes, tails, cancel)
        targets = torch.tensor([token for row in batch_rows for token in row.output_ids], device=hidden.device)
        values: list[float] = []
        for states, tokens in zip(torch.split(hidden, limits.logits), torch.split(targets, limits.logits), strict=True):
            check_cancelled(cancel)
            values += log_probabilities(phi.logits(states, tokens), tokens)
        numbers = iter(values)
        for index, row in zip(batch, batch_rows, strict=True):
            scores[index] = Score(row.output_ids, tuple(islice(numbers, len(row.output_ids))))
    return [scores[index] for index in range(len(rows))]


def _passes(
    phi: PackedPhi, rows: Sequence[ScoringRow], limits: PassLimits, cancel: Event | None
) -> Iterator[list[int]]:
    """Yield the indices of rows to compute in one pass, similar prompts together; compute prefixes beyond a pass first."""
    batch: list[int] = []
    tokens = keys = 0
    phi.make_room(limits.tokens)
    last: tuple[int, ...] = ()
    for index in sorted(range(len(rows)), key=lambda index: rows[index].prompt_ids):
        row, prefix = rows[index], rows[index].prompt_ids[:-1]
        new = len(prefix) - max(phi.known(prefix), _common_prefix_length(prefix, last)) + len(row.output_ids)
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


def _common_prefix_length(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    length = 0
    for token, other_token in zip(first, second, strict=False):
        if token != other_token:
            break
        length += 1
    return length


LAYER_FLOP = 3e10
"""Floating-point operations of one layer between two checks for a cancel; well under a second on two CPU cores."""

MAX_PASS_TOKENS = 4096
"""Most tokens in a pass, above which passes are no faster."""

MEGABYTE = 1 << 20


class Scorer:
    """Scores rows with one loaded model; caches copies of its weights, and the keys and values of prompts."""

    def __init__(self, model: AdaptedModel, copies: WeightCopies) -> None:
        """`copies` is used where rows can be packed."""
        self._model, self._copies = model, copies
        parameter = next(model.base.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._packable = model.mixes and supports(model.model)
        self._packed: dict[str, dict[float, PackedPhi | None]] = {}

    def score(self, rows: Sequence[ScoringRow], *, cancel: Event | None, strength: float = 1.0) -> list[Score]:
        """Compute the log-probability of every output token, in the order of `rows`; equal rows only once.

        `strength` is that of the adapters. Raises StoppedError.
        """
        scores: dict[ScoringRow, Score] = {}
        for adapter in sorted({row.adapter for row in rows}):
            phi = self._phi(adapter, strength)
            if phi is not None:
                unique = list({row: None for row in rows if row.adapter == adapter})
                scores.update(zip(unique, score_packed(phi, unique, self._limits(), cancel), strict=True))
        others = list({row: None for row in rows if row not in scores})
        for numbers in self._model.passes([row.adapter for row in others]):
            part = [others[number] for number in numbers]
            with cancellable(self._model.model, cancel), self._model.using(part[0].adapter, strength):
                scores.update(zip(part, score_rows(self._model.logits, part, device=self._device), strict=True))
        return [scores[row] for row in rows]

    def forget(self) -> None:
        """Drop the cached keys and values of prompts."""
        for phi in self.packed():
            phi.forget()

    def packed(self) -> list[PackedPhi]:
        """Return the packed models that are cached between calls."""
        return [phi for strengths in self._packed.values() for phi in strengths.values() if phi is not None]

    def _phi(self, adapter: str, strength: float) -> PackedPhi | None:
        if not self._packable:
            return None
        cache = self._packed.setdefault(adapter, {})
        strength = 1.0 if adapter == BASE else strength
        return get_or_make(cache, strength, lambda: self._pack(adapter, strength))

    def _pack(self, adapter: str, strength: float) -> PackedPhi | None:
        """Return a packed model; None where memory is too small for a copy of the weights."""
        weights = self._copies.get(adapter, self._dtype, strength=strength)
        if weights is None:
            return None
        config = self._model.base.config
        per_token = config.num_hidden_layers * self._key_bytes
        slots = min(self._share(256 * MEGABYTE), free_bytes(self._device) // 4) // per_token
        least = config.max_position_embeddings + 2 * self._limits().tokens
        return PackedPhi(weights, config, rotary_table(self._model.model), slots=max(slots, least))

    def _limits(self) -> PassLimits:
        config = self._model.base.config
        tokens = MAX_PASS_TOKENS
        if self._device.type == "cpu":
            tokens = min(tokens, int(LAYER_FLOP / (2 * layer_parameters(self._model.model))))
        logits = self._share(2 * MEGABYTE) // (4 * config.vocab_size)  # what a processor's cache holds
        return PassLimits(max(tokens, 16), self._share(64 * MEGABYTE) // self._key_bytes, max(logits, 64))

    @property
    def _key_bytes(self) -> int:
        """Return the bytes of one token's keys and values in one layer."""
        config = self._model.base.config
        width = config.hidden_size // config.num_attention_heads
        size = 4 if self._device.type == "cpu" else self._dtype.itemsize
        return int(2 * config.num_key_value_heads * width * size)

    def _share(self, on_cpu: int) -> int:
        """Return a number of bytes for the device: `on_cpu`, or 16 times as many on a GPU."""
        return on_cpu if self._device.type == "cpu" else 16 * on_cpu


def free_bytes(device: torch.device) -> int:
    """Return the free bytes of the memory in which `device` computes."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()
