"""Whether values rank the units as the model does: deletion, insertion, random orderings, agreement of two methods."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from phi2demo.explain.attribution import Curve

Masks = NDArray[np.bool_]
Values = NDArray[np.float64]
PlayGame = Callable[[Masks], Values]

STEPS = 10
"""Points of a curve after the first, where there are so many units."""
ORDERINGS = 10
"""Random ones to compare with."""


def curves(value_function: PlayGame, totals: Values, *, seed: int) -> tuple[Curve, Curve]:
    """Deletion and insertion along `totals` (units,), beside the mean of random orderings.

    Deletion takes the units away that support the output most, insertion puts them into the empty text (Petsiuk et
    al., 2018; the comparison with random orderings as in Samek et al., 2017). All masks are asked for at once.
    """
    units = len(totals)
    steps = step_sizes(units)
    random = np.random.default_rng(seed)
    orders = [np.argsort(-totals, kind="stable"), *(random.permutation(units) for _ in range(ORDERINGS))]
    removed = np.array([_first(order, step) for order in orders for step in steps])
    outcomes = value_function(np.concatenate([~removed, removed])).sum(1).reshape(2, len(orders), len(steps))
    empty, full = outcomes[0, 0, -1], outcomes[0, 0, 0]
    share = steps / units
    return _curve(share, outcomes[0], empty, full), _curve(share, outcomes[1], empty, full)


def step_sizes(units: int) -> NDArray[np.int_]:
    """How many units are gone at each point of a curve: 0, ..., all of them."""
    return np.unique(np.round(np.linspace(0, units, min(units, STEPS) + 1)).astype(int))


def curve_calls(units: int) -> int:
    """Masked texts that `curves` asks for at most."""
    return 2 * (ORDERINGS + 1) * (len(step_sizes(units)) - 2) + 2


def agreement(first: Values, second: Values) -> float | None:
    """Spearman's rank correlation of two explanations of the same units; None where one of them has no order."""
    if len(first) < 3:
        return None
    ranks = np.array([_ranks(first), _ranks(second)])
    if (ranks.std(1) == 0).any():
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _first(order: Sequence[int] | NDArray[np.int_], count: int) -> Masks:
    mask = np.zeros(len(order), dtype=bool)
    mask[np.asarray(order)[:count]] = True
    return mask


def _curve(share: Values, outcomes: Values, empty: float, full: float) -> Curve:
    """`outcomes` is (orders, points), the explained order first."""
    widths = np.diff(share)
    areas = ((outcomes[:, :-1] + outcomes[:, 1:]) / 2 * widths).sum(1)
    scale = max(abs(full - empty), 1e-9)
    scaled = (areas - empty) / scale
    return Curve(
        tuple(share.tolist()),
        tuple(outcomes[0].tolist()),
        tuple(outcomes[1:].mean(0).tolist()),
        float(scaled[0]),
        float(scaled[1:].mean()),
    )


def _ranks(values: Values) -> Values:
    """From 1, the mean of the ranks where values are equal."""
    rounded = np.round(values, 12)
    below = (rounded[None] < rounded[:, None]).sum(1)
    equal = (rounded[None] == rounded[:, None]).sum(1)
    return np.asarray(below + (equal + 1) / 2, dtype=np.float64)
