"""Measures of whether values rank the units as the model does: deletion and insertion curves, agreement of two methods."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from phi2demo.explain.attribution import Curve
from phi2demo.explain.units import ScoreMasks, Values

STEPS = 10
"""Points of a curve after the first, for a text of at least as many units."""
ORDERINGS = 10
"""Random orderings that a curve is compared with."""


def curves(score: ScoreMasks, totals: Values, *, seed: int) -> tuple[Curve, Curve]:
    """Return the deletion and the insertion curve along `totals` (units,), with the mean of random orderings.

    Deletion removes the units that support the output most from the whole text, insertion adds them to the empty text
    (Petsiuk et al., 2018; random orderings as in Samek et al., 2017). All masked texts are scored in one call.
    """
    units = len(totals)
    steps = step_sizes(units)
    random = np.random.default_rng(seed)
    orders = [np.argsort(-totals, kind="stable"), *(random.permutation(units) for _ in range(ORDERINGS))]
    removed = np.zeros((len(orders) * len(steps), units), dtype=bool)
    for mask, (order, step) in zip(removed, product(orders, steps), strict=True):
        mask[order[:step]] = True
    outcomes = score(np.concatenate([~removed, removed])).sum(1).reshape(2, len(orders), len(steps))
    empty, full = outcomes[0, 0, -1], outcomes[0, 0, 0]
    share = steps / units
    return _curve(share, outcomes[0], empty, full), _curve(share, outcomes[1], empty, full)


def step_sizes(units: int) -> NDArray[np.int_]:
    """Return how many units are removed at each point of a curve, from none to all."""
    return np.unique(np.round(np.linspace(0, units, min(units, STEPS) + 1)).astype(int))


def curve_calls(units: int) -> int:
    """Return how many masked texts `curves` scores at most."""
    return 2 * (ORDERINGS + 1) * (len(step_sizes(units)) - 2) + 2


def agreement(first: Values, second: Values) -> float | None:
    """Return Spearman's rank correlation of two explanations of the same units; None where one of them has no order."""
    if len(first) < 3:
        return None
    ranks = np.array([_ranks(first), _ranks(second)])
    if (ranks.std(1) == 0).any():
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _curve(share: Values, outcomes: Values, empty: float, full: float) -> Curve:
    """Build a curve from `outcomes` (orders, points); the first order is the explained one."""
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
    """Return ranks from 1; equal values share the mean of their ranks."""
    rounded = np.round(values, 12)
    below = (rounded[None] < rounded[:, None]).sum(1)
    equal = (rounded[None] == rounded[:, None]).sum(1)
    return np.asarray(below + (equal + 1) / 2, dtype=np.float64)
