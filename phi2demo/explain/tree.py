"""A binary tree over the units of a text, and Owen values over it from the masked texts that were scored so far."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from phi2demo.explain.units import Mask, Masks, Unit, Values

LookUp = Callable[[Mask], Values | None]
"""The values of a masked text, (columns,), or None where it was not scored."""

_CLAUSE = re.compile(r"[,;:)\]–—»”]\s*$")
_WORD_START = re.compile(r"\s")


def linkage(units: Sequence[Unit], coarser: Sequence[Sequence[Unit]] = ()) -> Values:
    """Build a tree in the form of scipy's linkage, which shap reads: rows of left, right, height, leaves.

    It is cut from the top: first between paragraphs, then between sentences, after clauses, between words, and last
    inside a word; of equal places the one nearest to the middle, so that the tree stays balanced. `coarser` holds the
    paragraphs and the sentences, as units of the same text.
    """
    starts = [{_first_character(unit) for unit in larger} for larger in coarser]
    ranks = [_cut_rank(before, after, starts) for before, after in pairwise(units)]
    rows: list[tuple[int, int, int, int]] = []

    def build(first: int, last: int) -> tuple[int, int]:
        """Add the node over units `first` to `last`; return its index and height."""
        if last - first == 1:
            return first, 0
        best = max(ranks[first : last - 1])
        cuts = [unit for unit in range(first + 1, last) if ranks[unit - 1] == best]
        middle = (first + last) / 2
        cut = min(cuts, key=lambda unit: abs(unit - middle))
        left, left_height = build(first, cut)
        right, right_height = build(cut, last)
        height = max(left_height, right_height) + 1
        rows.append((left, right, height, last - first))
        return len(units) + len(rows) - 1, height

    build(0, len(units))
    return np.array(rows, dtype=float).reshape(len(rows), 4)


def _first_character(unit: Unit) -> int:
    """Return where a unit begins, leading white space left out."""
    return unit.end - len(unit.text.lstrip())


def _cut_rank(before: Unit, after: Unit, starts: Sequence[set[int]]) -> int:
    """Rank the place between two units; the tree is cut at the highest rank first."""
    for strength, offsets in enumerate(starts):
        if _first_character(after) in offsets:
            return 2 + len(starts) - strength
    if _CLAUSE.search(before.text):
        return 2
    return 1 if _WORD_START.match(after.text) else 0


def complete_calls(tree: Values) -> int:
    """Count the masked texts that it takes to open a tree in full.

    A node at depth d is opened in 2^d contexts, for each of its two children: about the square of the number of units
    where the tree is balanced.
    """
    units = len(tree) + 1
    if units < 2:
        return 2
    calls, stack = 2, [(2 * units - 2, 1)]
    while stack:
        node, contexts = stack.pop()
        if node >= units:
            calls += 2 * contexts
            stack += [(int(tree[node - units, 0]), 2 * contexts), (int(tree[node - units, 1]), 2 * contexts)]
    return calls


@dataclass(frozen=True)
class OwenValues:
    """Owen values, as exact as the scored masked texts allow."""

    values: Values
    """(units, columns)."""
    opened: float
    """Share of the inner nodes that were opened in every context, from 0 to 1."""
    split_evenly: float
    """Share of the credit (summed over columns) that was split evenly below nodes that were not opened."""


def owen_values(tree: Values, look_up: LookUp) -> OwenValues | None:
    """Return Owen values (Owen, 1977, by the recursion of shap's PartitionExplainer) from the masked texts scored so far.

    Where a node's children were not scored in a context, its credit there is split evenly over its leaves. Given the
    masked texts that PartitionExplainer scored, the values are those that it returns. None where the empty or the whole
    text was not scored yet.
    """
    units = len(tree) + 1
    leaves = _leaves(tree)
    empty = np.zeros(units, dtype=bool)
    low, high = look_up(empty), look_up(~empty)
    if low is None or high is None:
        return None
    credit = np.zeros((len(leaves), len(low)))
    closed = np.zeros(len(leaves), dtype=bool)
    stack = [(2 * units - 2, empty, low, high, 1.0)]
    while stack:
        node, context, low, high, weight = stack.pop()
        if node < units:
            credit[node] += (high - low) * weight
            continue
        left, right = int(tree[node - units, 0]), int(tree[node - units, 1])
        with_left, with_right = context | leaves[left], context | leaves[right]
        left_value, right_value = look_up(with_left), look_up(with_right)
        if left_value is None or right_value is None:
            credit[node] += (high - low) * weight
            closed[node] = True
            continue
        stack += [
            (left, context, low, left_value, weight / 2),
            (right, context, low, right_value, weight / 2),
            (left, with_right, right_value, high, weight / 2),
            (right, with_left, left_value, high, weight / 2),
        ]
    return _spread(tree, leaves, credit, closed)


def _leaves(tree: Values) -> Masks:
    """Return (nodes, units): the leaves below each node."""
    units = len(tree) + 1
    leaves = np.zeros((units + len(tree), units), dtype=bool)
    leaves[np.arange(units), np.arange(units)] = True
    for node, (left, right) in enumerate(tree[:, :2].astype(int), units):
        leaves[node] = leaves[left] | leaves[right]
    return leaves


def _spread(tree: Values, leaves: Masks, credit: Values, closed: NDArray[np.bool_]) -> OwenValues:
    """Split the credit (nodes, columns) of inner nodes evenly over their leaves; `closed` marks nodes not opened."""
    units = len(tree) + 1
    values = credit[:units].copy()
    for node in range(units, len(credit)):
        values[leaves[node]] += credit[node] / leaves[node].sum()
    for node in range(len(credit) - 1, units - 1, -1):  # a node below a closed one was not opened in every context
        if closed[node]:
            closed[tree[node - units, :2].astype(int)] = True
    inner = closed[units:]
    sums = np.abs(credit.sum(1))
    return OwenValues(
        values,
        float(1 - inner.mean()) if len(inner) else 1.0,
        float(sums[units:].sum() / sums.sum()) if sums.sum() > 0 else 0.0,
    )
