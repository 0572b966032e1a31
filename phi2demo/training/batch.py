"""A batch of token ids, and how it is divided among processes and into parts of limited size. Knows no model."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

MAX_LENGTH_RATIO = 1.5
"""The longest row of a part is at most this many times as long as its shortest, to limit the padding."""


@dataclass(frozen=True)
class Batch:
    """Token ids and, for each, the token to predict after it (-100: none); all of shape (rows, length)."""

    input_ids: "torch.Tensor"
    labels: "torch.Tensor"
    attention_mask: "torch.Tensor | None" = None
    """1 for tokens, 0 for padding on the right; None without padding."""
    weights: "torch.Tensor | None" = None
    """Weight of each target in the loss; None if all are equal."""

    @property
    def tokens(self) -> int:
        """Number of tokens without padding."""
        return sum(self._lengths)

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all targets, by which their summed loss is divided."""
        return float((self.labels != -100).sum() if self.weights is None else self.weights.sum())

    def share(self, index: int, shares: int) -> "Batch":
        """Return every `shares`-th row from `index`, with rows ordered by length: the share of one process."""
        return self._rows(self._by_length()[index::shares])

    def parts(self, max_tokens: int | None) -> list["Batch"]:
        """Group rows of similar length into parts of at most `max_tokens` (or one row), cut to their longest row."""
        if max_tokens is None:
            return [self]
        parts: list[list[int]] = [[]]
        for row in self._by_length():
            length, shortest = self._lengths[row], self._lengths[(parts[-1] or [row])[0]]
            too_many_tokens = (len(parts[-1]) + 1) * length > max_tokens
            if parts[-1] and (too_many_tokens or length > MAX_LENGTH_RATIO * shortest):
                parts.append([])
            parts[-1].append(row)
        return [self._rows(rows) for rows in parts]

    @cached_property
    def _lengths(self) -> list[int]:
        rows, length = self.input_ids.shape
        return [length] * rows if self.attention_mask is None else self.attention_mask.sum(1).tolist()

    def _by_length(self) -> list[int]:
        return sorted(range(len(self._lengths)), key=lambda row: self._lengths[row])

    def _rows(self, rows: list[int]) -> "Batch":
        length = max(self._lengths[row] for row in rows)
        tensors = (self.input_ids, self.labels, self.attention_mask, self.weights)
        return Batch(*(None if t is None else t[rows, :length] for t in tensors))  # type: ignore[arg-type]


class Batches(Protocol):
    """Source of the training loop's batches: a step always has the same batch."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        ...
