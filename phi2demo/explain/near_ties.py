"""Owen values from values with rounding errors, over the tree that values without them would open.

A tree that is cut short is opened where the credit is greatest, so of two groups of nearly equal credit the last digits
decide which is opened, and that changes a value by far more than those digits. Here the walk is made with rough values;
what decided its last round by less than the error is valued again without rounding, and then it is walked once more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phi2demo.explain.shapley import BATCH, PlayGame, ShapleyValues, Values, partition_values
from phi2demo.explain.tree import Mask, members

WALKS = 4
"""At most; what was valued again may open groups that are close themselves."""
FIRST = 8
"""Groups at the cut whose masks are valued without rounding before it is known how large the errors are."""
ROUNDS = 2
"""The last ones, whose choices are looked at: who is opened later in a round before them is mostly opened in the next."""
MARGIN = 3.0
"""Standard deviations of the rounding error that two groups must be apart."""


@dataclass(frozen=True)
class _Group:
    """A node of the tree in a context, whose credit decides when it is opened."""

    low: bytes
    high: bytes
    """Masks, without and with its units."""
    weight: float
    born: int
    """Round after which its credit was known."""
    opened: int | None
    """Round in which its children were asked for."""


class _Walked:
    """A walk's masks with their values and the round in which each was asked for."""

    def __init__(self, rough: PlayGame, exact: PlayGame) -> None:
        self._rough, self._exact = rough, exact
        self.values: dict[bytes, Values] = {}
        self.rounds: dict[bytes, int] = {}
        self.last = 0
        self.errors: dict[bytes, Values] = {}

    def begin(self) -> None:
        """A new walk, over what is known."""
        self.rounds, self.last = {}, 0

    def __call__(self, masks: NDArray[np.bool_]) -> Values:
        self.last += 1
        masks = np.asarray(masks, dtype=bool)
        keys = [mask.tobytes() for mask in masks]
        new = [at for at, key in enumerate(keys) if key not in self.values]
        if new:
            self.values.update(zip((keys[at] for at in new), self._rough(masks[new]), strict=True))
        for key in keys:
            self.rounds.setdefault(key, self.last)
        return np.array([self.values[key] for key in keys])

    def settle(self, keys: list[bytes]) -> None:
        """Value these masks without rounding."""
        masks = np.array([np.frombuffer(key, dtype=bool) for key in keys])
        for key, exact in zip(keys, self._exact(masks), strict=True):
            self.errors[key] = self.values[key] - exact
            self.values[key] = exact

    def credit(self, group: _Group) -> float:
        """By which the explainer orders what it opens: of the column where it is greatest."""
        return float(np.abs(self.values[group.high] - self.values[group.low]).max()) * group.weight

    def doubt(self, group: _Group, error: float) -> float:
        """How far its credit may be off."""
        rough = sum(key not in self.errors for key in (group.low, group.high))
        return MARGIN * error * group.weight * float(np.sqrt(rough))


def steady_partition_values(
    rough: PlayGame, exact: PlayGame, tree: Values, *, max_evals: int, seed: int, batch: int = BATCH
) -> ShapleyValues:
    """As `partition_values` of `exact`, but nearly all masks are valued by `rough`, which has small random errors."""
    walked = _Walked(rough, exact)
    for _ in range(WALKS):
        walked.begin()
        found = partition_values(walked, tree, max_evals=max_evals, seed=seed, batch=batch)
        if _stands(walked, list(_groups(walked, tree))):
            break
    return found


def _stands(walked: _Walked, groups: list[_Group]) -> bool:
    """Whether the last rounds chose as exact values would; values without rounding what that hangs on."""
    stands = True
    for round_ in range(walked.last, walked.last - ROUNDS, -1):
        chosen = [group for group in groups if group.opened == round_]
        left = [group for group in groups if group.born < round_ and (group.opened is None or group.opened > round_)]
        if not chosen or not left:
            continue
        while keys := _doubtful(walked, chosen, left):
            walked.settle(keys)
        stands = stands and min(map(walked.credit, chosen)) >= max(map(walked.credit, left))
    return stands


def _doubtful(walked: _Walked, chosen: list[_Group], left: list[_Group]) -> list[bytes]:
    """Masks, of rough values, of groups that errors may have brought to the other side of the cut."""
    if not walked.errors:
        cut = max(map(walked.credit, left))
        near = sorted([*chosen, *left], key=lambda group: abs(walked.credit(group) - cut))[:FIRST]
    else:
        error = float(np.sqrt((np.array(list(walked.errors.values())) ** 2).mean(0).max()))
        lowest = [walked.credit(group) - walked.doubt(group, error) for group in chosen]
        highest = [walked.credit(group) + walked.doubt(group, error) for group in left]
        least, most = min(lowest), max(highest)
        near = [group for group, low in zip(chosen, lowest, strict=True) if low <= most]
        near += [group for group, high in zip(left, highest, strict=True) if high >= least]
    keys = dict.fromkeys(key for group in near for key in (group.low, group.high))
    return [key for key in keys if key not in walked.errors]


def _groups(walked: _Walked, tree: Values) -> Iterator[_Group]:
    """All inner nodes in the contexts in which their credit is known."""
    units, leaves = len(tree) + 1, members(tree)
    nothing = np.zeros(units, dtype=bool)
    stack: list[tuple[int, Mask, Mask, float]] = [(2 * units - 2, nothing, ~nothing, 1.0)]
    while stack:
        node, low, high, weight = stack.pop()
        if node < units:
            continue
        left, right = (int(child) for child in tree[node - units, :2])
        with_left, with_right = low | leaves[left], low | leaves[right]
        asked = [walked.rounds.get(mask.tobytes()) for mask in (with_left, with_right)]
        opened = None if None in asked else max(round_ for round_ in asked if round_ is not None)
        ends = low.tobytes(), high.tobytes()
        yield _Group(*ends, weight, max(walked.rounds[end] for end in ends), opened)
        if opened is not None:
            stack += [
                (left, low, with_left, weight / 2),
                (right, low, with_right, weight / 2),
                (left, with_right, high, weight / 2),
                (right, with_left, high, weight / 2),
            ]
