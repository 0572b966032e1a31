"""A batch as packs of tokens with little padding, where rows that begin alike share that beginning. Knows no model.

What is asked of a task begins with the same words in every row ("Instruct: Translate ... from English to German."),
which are half of a short sentence's tokens; a causal model computes them once for all rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from phi2demo.training.batch import Batch, Batches

LEAST_SHARED = 4
"""Tokens from which a common beginning is worth a piece of its own."""
SPREAD = 1.25
"""The longest row of a part may be so many times as long as its shortest: the rest would be padding."""

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Rows of like lengths after the same beginning."""

    prefix: int | None
    """Which of the pack's prefixes it is."""
    rows: int
    length: int
    """Of the longest; shorter ones are filled up with its last token, which is never a target and no other sees."""


@dataclass(frozen=True)
class Pack:
    """All prefixes one after the other, then all parts row by row."""

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    """Of each token in its row."""
    prefixes: tuple[int, ...]
    """Their lengths."""
    parts: tuple[Part, ...]
    targets: NDArray[np.int64]
    """Where in `tokens` something is to be predicted."""
    labels: NDArray[np.int64]
    """What, by target."""
    weights: NDArray[np.float32]
    """Of each target in the loss."""
    texts: NDArray[np.int64] | None = None
    """Which text each token is of, where a row of a part holds several one after the other."""


@dataclass(frozen=True)
class PackedBatch(Batch):
    """A batch with its packs, which a worker process has made."""

    packs: Sequence[Pack] = ()


@dataclass(frozen=True)
class PackedBatches:
    """Batches with their packs of at most `tokens` tokens: full rows where `length` says how long they are."""

    batches: Batches
    tokens: int
    length: int | None = None

    def at(self, step: int) -> PackedBatch:
        """The batch of a step."""
        batch = self.batches.at(step)
        packs = make_packs(batch, self.tokens) if self.length is None else make_rows(batch, self.tokens, self.length)
        return PackedBatch(batch.input_ids, batch.labels, batch.attention_mask, batch.weights, packs)


@dataclass(frozen=True)
class _Row:
    ids: Ids
    labels: NDArray[np.int64]
    """-100 where nothing is to be predicted."""
    weights: NDArray[np.float32]

    @property
    def free(self) -> int:
        """Tokens before the first target, which may be shared."""
        return int((self.labels != -100).argmax())


def make_packs(batch: Batch, tokens: int) -> list[Pack]:
    """The rows of `batch` in packs of at most `tokens` tokens (or one row); every target is in one of them."""
    packs: list[list[tuple[Ids, list[_Row]]]] = []
    room = 0
    for prefix, rows in _parts(list(_rows(batch)), tokens):
        size = len(rows) * (len(rows[-1].ids) - len(prefix)) + len(prefix)
        if not packs or size > room:
            packs.append([])
            room = tokens
        packs[-1].append((prefix, rows))
        room -= size
    return [_pack(parts) for parts in packs]


def make_rows(batch: Batch, tokens: int, length: int) -> list[Pack]:
    """The rows of `batch` one after the other in rows of `length` tokens, no shorter than any, few of them half empty.

    One part a pack, as a GPU wants few and large ones: first-fit decreasing (Johnson, 1973), without shared beginnings.
    """
    bins: list[list[_Row]] = []
    room: list[int] = []
    for row in sorted(_rows(batch), key=lambda row: -len(row.ids)):
        at = next((at for at, free in enumerate(room) if free >= len(row.ids)), len(bins))
        if at == len(bins):
            bins.append([])
            room.append(length)
        bins[at].append(row)
        room[at] -= len(row.ids)
    count = max(1, tokens // length)
    return [_full_rows(bins[start : start + count], length) for start in range(0, len(bins), count)]


def _full_rows(bins: Sequence[Sequence[_Row]], length: int) -> Pack:
    shape = (len(bins), length)
    tokens, positions, texts = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    labels, weights = np.full(shape, -100, np.int64), np.zeros(shape, np.float32)
    for number, rows in enumerate(bins):
        start = 0
        for text, row in enumerate(rows):
            place = (number, slice(start, start := start + len(row.ids)))
            tokens[place], positions[place], texts[place] = row.ids, np.arange(len(row.ids)), text
            labels[place], weights[place] = row.labels, row.weights
    targets = np.flatnonzero(labels != -100)
    chosen = labels.ravel()[targets], weights.ravel()[targets]
    return Pack(tokens.ravel(), positions.ravel(), (), (Part(None, *shape),), targets, *chosen, texts.ravel())


def _rows(batch: Batch) -> Iterator[_Row]:
    count, width = batch.input_ids.shape
    lengths = [width] * count if batch.attention_mask is None else batch.attention_mask.sum(1).tolist()
    ids, labels = batch.input_ids.numpy(), batch.labels.numpy()
    weights = np.ones(labels.shape, np.float32) if batch.weights is None else batch.weights.numpy()
    for row, length in enumerate(lengths):
        if (labels[row, :length] != -100).any():
            yield _Row(tuple(ids[row, :length].tolist()), labels[row, :length], weights[row, :length])


def _parts(rows: list[_Row], tokens: int) -> Iterator[tuple[Ids, list[_Row]]]:
    """Common beginnings with rows of like lengths, shortest first."""
    for group, shared in _groups(rows):
        part: list[_Row] = []
        for row in sorted(group, key=lambda row: len(row.ids)):
            length = len(row.ids) - shared
            if part and ((len(part) + 1) * length + shared > tokens or length > SPREAD * (len(part[0].ids) - shared)):
                yield row.ids[:shared], part
                part = []
            part.append(row)
        yield part[0].ids[:shared], part


def _groups(rows: list[_Row]) -> list[tuple[list[_Row], int]]:
    """Rows with how many tokens they share, so grouped that this saves most."""
    ordered = sorted(rows, key=lambda row: row.ids)
    shared = [min(a.free, b.free, _common(a.ids, b.ids)) for a, b in pairwise(ordered)]
    return _split(ordered, shared)[1]


def _split(rows: list[_Row], shared: list[int]) -> tuple[int, list[tuple[list[_Row], int]]]:
    """Tokens saved, and the groups: all as one, or split where neighbours share least. `shared` is by neighbours."""
    if not shared:
        return 0, [(rows, 0)]
    least = min(shared)
    whole = len(shared) * least if least >= LEAST_SHARED else 0
    saved, groups, start = 0, [], 0
    for end in (*(at + 1 for at, count in enumerate(shared) if count == least), len(rows)):
        more, found = _split(rows[start:end], shared[start : end - 1])
        saved, start = saved + more, end
        groups += found
    return (whole, [(rows, least)]) if whole > saved else (saved, groups)


def _common(one: Ids, other: Ids) -> int:
    """Tokens that both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _pack(parts: Sequence[tuple[Ids, list[_Row]]]) -> Pack:
    prefixes = list(dict.fromkeys(prefix for prefix, _ in parts if prefix))
    tokens, positions = list(map(np.array, prefixes)), [np.arange(len(prefix)) for prefix in prefixes]
    at = sum(map(len, prefixes))
    placed, targets, labels, weights = [], [], [], []
    for prefix, rows in parts:
        shared, length = len(prefix), len(rows[-1].ids) - len(prefix)
        for row in rows:
            tail = np.array(row.ids[shared:])
            tokens.append(np.pad(tail, (0, length - len(tail)), mode="edge"))
            positions.append(np.arange(shared, shared + length))
            wanted = np.flatnonzero(row.labels != -100)
            targets.append(at + wanted - shared)
            labels.append(row.labels[wanted])
            weights.append(row.weights[wanted])
            at += length
        placed.append(Part(prefixes.index(prefix) if prefix else None, len(rows), length))
    joined = [np.concatenate(each) for each in (tokens, positions, targets, labels, weights)]
    return Pack(joined[0], joined[1], tuple(map(len, prefixes)), tuple(placed), joined[2], joined[3], joined[4])
