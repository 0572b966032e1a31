"""A binary tree over the units of a text, and Owen values over it from whatever masked texts are known."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phi2demo.explain.units import Unit

Mask = NDArray[np.bool_]
"""(units,): true where a unit is kept."""
Known = Callable[[Mask], NDArray[np.float64] | None]
"""The values of a masked text, of shape (columns,), where they were measured."""

_CLAUSE = re.compile(r"[,;:)\]–—»”]\s*$")
_WORD_START = re.compile(r"\s")


def linkage(units: Sequence[Unit], coarser: Sequence[Sequence[Unit]] = ()) -> NDArray[np.float64]:
    """A tree in the form of scipy's linkage, which shap takes: rows of left, right, height, leaves.

    It is cut from the top: first between paragraphs, then between sentences, after clauses, between words, and only then inside a
    word; where there is a choice, nearest to the middle, so that it stays balanced. `coarser` are the paragraphs and
    the sentences, as units of the same text.
    """
    begins = [{_first_character(unit) for unit in larger} for larger in coarser]
    ranks = [_rank(units[at - 1], units[at], begins) for at in range(1, len(units))]
    rows: list[tuple[int, int, int, int]] = []

    def build(first: int, last: int) -> tuple[int, int]:
        """The node over units `first` to `last`, and its height."""
        if last - first == 1:
            return first, 0
        best = max(ranks[first : last - 1])
        gaps = [at for at in range(first + 1, last) if ranks[at - 1] == best]
        middle = (first + last) / 2
        cut = min(gaps, key=lambda at: abs(at - middle))
        left, left_height = build(first, cut)
        right, right_height = build(cut, last)
        height = max(left_height, right_height) + 1
        rows.append((left, right, height, last - first))
        return len(units) + len(rows) - 1, height

    build(0, len(units))
    return np.array(rows, dtype=float).reshape(len(rows), 4)


def _first_character(unit: Unit) -> int:
    """Where a unit begins, white space left out."""
    return unit.end - len(unit.text.lstrip())


def _rank(before: Unit, after: Unit, begins: Sequence[set[int]]) -> int:
    for strength, offsets in enumerate(begins):
        if _first_character(after) in offsets:
            return 2 + len(begins) - strength
    if _CLAUSE.search(before.text):
        return 2
    return 1 if _WORD_START.match(after.text) else 0


def complete_calls(tree: NDArray[np.float64]) -> int:
    """Masked texts that a tree takes to be opened in full, each counted once.

    A node at depth d is looked at in 2^d contexts, for each of its two children: about the square of the units where
    the tree is balanced.
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
    """Owen values as far as they are known."""

    values: NDArray[np.float64]
    """(units, columns)."""
    opened: float
    """Share of the inner nodes that were opened in every context."""
    split_evenly: float
    """Share of the credit (summed over columns) that was split evenly below nodes that were not opened."""


def owen_values(tree: NDArray[np.float64], known: Known) -> OwenValues | None:
    """Owen values (Owen, 1977, by the recursion of shap's PartitionExplainer) from the masked texts that are known.

    Where a node's children are not known in a context, its credit there is split evenly over its leaves. Given the
    masked texts that PartitionExplainer asked for, these are the values that it returns. None where the empty or the
    whole text is not known yet.
    """
    units = len(tree) + 1
    under = members(tree)
    nothing = np.zeros(units, dtype=bool)
    low, high = known(nothing), known(~nothing)
    if low is None or high is None:
        return None
    credit = np.zeros((len(under), len(low)))
    closed = np.zeros(len(under), dtype=bool)
    stack = [(2 * units - 2, nothing, low, high, 1.0)]
    while stack:
        node, context, low, high, weight = stack.pop()
        if node < units:
            credit[node] += (high - low) * weight
            continue
        left, right = int(tree[node - units, 0]), int(tree[node - units, 1])
        with_left, with_right = context | under[left], context | under[right]
        left_value, right_value = known(with_left), known(with_right)
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
    return _spread(tree, under, credit, closed)


def members(tree: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(nodes, units): which leaves are under a node."""
    units = len(tree) + 1
    members = np.zeros((units + len(tree), units), dtype=bool)
    members[np.arange(units), np.arange(units)] = True
    for at, (left, right) in enumerate(tree[:, :2].astype(int)):
        members[units + at] = members[left] | members[right]
    return members


def _spread(
    tree: NDArray[np.float64], members: NDArray[np.bool_], credit: NDArray[np.float64], closed: NDArray[np.bool_]
) -> OwenValues:
    units = len(tree) + 1
    values = credit[:units].copy()
    for node in range(units, len(credit)):
        values[members[node]] += credit[node] / members[node].sum()
    for node in range(len(credit) - 1, units - 1, -1):  # what is under a closed node was not opened in every context
        if closed[node]:
            closed[tree[node - units, :2].astype(int)] = True
    inner = closed[units:]
    sums = np.abs(credit.sum(1))
    return OwenValues(
        values,
        float(1 - inner.mean()) if len(inner) else 1.0,
        float(sums[units:].sum() / sums.sum()) if sums.sum() > 0 else 0.0,
    )
