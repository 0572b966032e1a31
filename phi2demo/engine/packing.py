"""Rows to be scored as one pack of tokens without padding: every shared prefix once. Knows nothing of torch.

A row is cut in two. Its prompt without the last token is a prefix: its keys and values are kept in a tree and computed
once for all rows that begin with it. The rest, from which the output is predicted, is the row's own tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class PrefixTree:
    """A trie over token ids whose nodes are slots of a store, numbered in the order in which they were added."""

    def __init__(self) -> None:
        self._children: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._children)

    def known(self, ids: Sequence[int]) -> list[int]:
        """Slots of the longest prefix of `ids` that is there."""
        slots: list[int] = []
        node = -1
        for token in ids:
            slot = self._children.get((node, token))
            if slot is None:
                break
            slots.append(slot)
            node = slot
        return slots

    def add(self, slots: list[int], ids: Sequence[int]) -> None:
        """Continue the path `slots` with new nodes for `ids`; their slots are appended to it."""
        node = slots[-1] if slots else -1
        for token in ids:
            slot = len(self._children)
            self._children[node, token] = slot
            slots.append(slot)
            node = slot

    def clear(self) -> None:
        """Forget all prefixes; slots are numbered from 0 again."""
        self._children.clear()


WASTE = 1.5
"""Padded queries times keys over real ones, above which segments are not put into one group."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """Consecutive queries of one row, and what the last of them sees; each one before it sees a key less."""

    first: int
    """Number in the pack of the first query."""
    count: int
    keys: list[int]
    """Slots in the store."""


@dataclass(frozen=True)
class Group:
    """Segments padded to one shape, to be attended in one call."""

    queries: Ints
    """(segments, queries), numbers in the pack; padding repeats the last one."""
    keys: Ints
    """(segments, keys), slots; padding repeats the first one."""
    visible: NDArray[np.bool_]
    """(segments, queries, keys)."""
    real: Ints
    """Where in the flattened queries the real ones are, in the order of `numbers`."""
    numbers: Ints
    """Of the real queries in the pack."""

    def run(self, start: int = 0) -> slice | None:
        """The queries, counted from `start`, where they follow each other in the pack and none is padding."""
        flat = self.queries.reshape(-1)
        first = int(flat[0])
        follow = np.array_equal(flat, np.arange(first, first + len(flat)))
        return slice(first - start, first - start + len(flat)) if follow else None


@dataclass(frozen=True)
class Pack:
    """What one pass computes: first the new prefixes, then the tails."""

    tokens: Ints
    positions: Ints
    first_slot: int
    """Of the pack's first token; the others follow."""
    prefix_tokens: int
    """Tokens before the tails; only their slots are kept."""
    groups: tuple[Group, ...]
    """All queries."""
    tails: tuple[Group, ...]
    """Those of tails only."""


def make_pack(tree: PrefixTree, prefixes: Sequence[Sequence[int]], tails: Sequence[Sequence[int]]) -> Pack:
    """Pack rows and add their prefixes to the tree; without tails the prefixes only."""
    first_slot = len(tree)
    tokens: list[int] = []
    positions: list[int] = []
    runs: list[Segment] = []
    paths: list[list[int]] = []
    for prefix in prefixes:
        path = tree.known(prefix)
        known = len(path)
        if known < len(prefix):
            tree.add(path, prefix[known:])
            runs.append(Segment(len(tokens), len(prefix) - known, path))
            tokens += prefix[known:]
            positions += range(known, len(prefix))
        paths.append(path)
    prefix_tokens = len(tokens)
    ends: list[Segment] = []
    for path, tail in zip(paths, tails, strict=bool(tails)):
        slot = first_slot + len(tokens)
        ends.append(Segment(len(tokens), len(tail), [*path, *range(slot, slot + len(tail))]))
        positions += range(len(path), len(path) + len(tail))
        tokens += tail
    of_tails = make_groups(ends)
    return Pack(
        np.array(tokens), np.array(positions), first_slot, prefix_tokens, (*make_groups(runs), *of_tails), of_tails
    )


def make_groups(segments: Sequence[Segment]) -> tuple[Group, ...]:
    """Put segments of like shape together."""
    groups: list[list[Segment]] = []
    real = 0
    for segment in sorted(segments, key=lambda segment: (segment.count, len(segment.keys))):
        area = segment.count * len(segment.keys)
        if groups:
            widest = max(len(segment.keys), max(len(other.keys) for other in groups[-1]))
            if (len(groups[-1]) + 1) * segment.count * widest <= WASTE * (real + area):
                groups[-1].append(segment)
                real += area
                continue
        groups.append([segment])
        real = area
    return tuple(map(_pad, groups))


def _pad(segments: Sequence[Segment]) -> Group:
    counts = np.array([segment.count for segment in segments])
    lengths = np.array([len(segment.keys) for segment in segments])
    firsts = np.array([segment.first for segment in segments])
    offsets = np.arange(counts.max())
    queries = firsts[:, None] + np.minimum(offsets, counts[:, None] - 1)
    keys = np.empty((len(segments), lengths.max()), dtype=np.int64)
    for row, segment in enumerate(segments):
        keys[row, : lengths[row]] = segment.keys
        keys[row, lengths[row] :] = segment.keys[0]
    seen = (lengths - counts)[:, None] + np.minimum(offsets, counts[:, None] - 1) + 1
    visible = np.arange(lengths.max()) < seen[:, :, None]
    real = np.flatnonzero(offsets < counts[:, None])
    return Group(queries, keys, visible, real, queries.reshape(-1)[real])
