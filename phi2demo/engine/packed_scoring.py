"""Score rows by packs of tokens: how many at once, and the output layer at their ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Event

import torch

from phi2demo.engine.engine import Score
from phi2demo.engine.halting import check
from phi2demo.engine.phi import PackedPhi
from phi2demo.engine.scoring import ScoringRow, log_probabilities


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
