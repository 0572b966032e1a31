"""A batch of token ids, and how it is cut into what one process computes at once. Knows no model."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

SPREAD = 1.5
"""The longest row of a part may be so many times as long as its shortest: the rest would be padding."""


@dataclass(frozen=True)
class Batch:
    """Token ids and, for each, the token to be predicted there (-100: none); all of shape (rows, length)."""

    input_ids: "torch.Tensor"
    labels: "torch.Tensor"
    attention_mask: "torch.Tensor | None" = None
    """1 for tokens, 0 for padding on the right; None where there is none."""
    weights: "torch.Tensor | None" = None
    """Of each target in the loss; all the same where None."""

    @property
    def tokens(self) -> int:
        """Without padding."""
        return sum(self._lengths)

    @property
    def total_weight(self) -> float:
        """Of all targets: what their summed loss is divided by."""
        return float((self.labels != -100).sum() if self.weights is None else self.weights.sum())

    def share(self, index: int, shares: int) -> "Batch":
        """Every `shares`-th row from `index`, rows ordered by length: what one process computes."""
        return self._rows(self._by_length()[index::shares])

    def parts(self, tokens: int | None) -> list["Batch"]:
        """Rows of like lengths together, each part of at most `tokens` tokens (or one row), cut to its longest row."""
        if tokens is None:
            return [self]
        parts: list[list[int]] = [[]]
        for row in self._by_length():
            length, shortest = self._lengths[row], self._lengths[(parts[-1] or [row])[0]]
            if parts[-1] and ((len(parts[-1]) + 1) * length > tokens or length > SPREAD * shortest):
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
    """Where the loop gets its batches: the same step always gives the same batch."""

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        ...
