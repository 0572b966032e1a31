"""Shapley and Owen values by `shap`, over masks alone. Knows no text and no model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from phi2demo.explain.units import Mask, Masks, ScoreMasks, UnitValues, Values

BATCH = 64
"""Masked texts that the partition explainer scores together. The batch decides in which order a tree is opened, and so
the values of a tree that is not opened in full: it is constant so that these do not depend on the machine."""

DENSE_BYTES = 1 << 26
"""The largest tree that is kept as an array: about 5,800 units."""

_shap_lock = threading.Lock()
"""Held while shap draws from numpy's global generator."""


class UnitMasker:
    """A masker for shap whose masked input is the mask itself; the value function knows the masked text.

    shap reads all of its attributes.
    """

    immutable_outputs = True

    def __init__(self, units: int, clustering: Values | None = None) -> None:
        self.shape = (1, units)
        self.feature_names = [[str(unit) for unit in range(units)]]
        if clustering is not None:
            self.clustering = clustering

    def __call__(self, mask: Mask, inputs: Any) -> tuple[Masks]:
        """Return `mask` as the one row of the masked input."""
        return (np.asarray(mask, dtype=bool)[None],)

    def mask_shapes(self, inputs: Any) -> list[tuple[int]]:
        """Return the shape of a mask: one dimension."""
        return [(self.shape[1],)]


def partition_values(score: ScoreMasks, tree: Values, *, max_evals: int, seed: int) -> UnitValues:
    """Return Owen values over a tree, opened where the credit is greatest, from about `max_evals` masked texts.

    Computed by shap's PartitionExplainer (Owen, 1977; Lundberg and Lee, 2017).
    """
    from shap.explainers import PartitionExplainer

    units = len(tree) + 1
    with _numpy_seed(seed):
        explainer = PartitionExplainer(score, UnitMasker(units, tree))
        _make_dense(explainer)
        explanation = explainer(np.ones((1, units)), max_evals=max_evals, batch_size=BATCH, silent=True)
    return UnitValues(_values_of(explanation))


def exact_values(score: ScoreMasks, units: int, *, seed: int) -> UnitValues:
    """Return Shapley values over all 2^units masked texts, by shap's ExactExplainer (Shapley, 1953)."""
    from shap.explainers import ExactExplainer

    with _numpy_seed(seed):
        explainer = ExactExplainer(score, UnitMasker(units))
        explanation = explainer(np.ones((1, units)), max_evals=2**units, batch_size=2**units, silent=True)
    return UnitValues(_values_of(explanation))


def permutation_values(score: ScoreMasks, units: int, *, max_evals: int, seed: int) -> UnitValues:
    """Return Shapley values sampled over random orders of the units, by shap's PermutationExplainer.

    Each order is walked forwards and backwards (antithetic sampling: Mitchell et al., 2022). The standard error is taken
    over these pairs; there is none for a single pair.
    """
    from shap.explainers import PermutationExplainer

    contributions: list[Values] = []

    def score_and_record(masks: Masks) -> Values:
        values = score(masks)
        contributions.append(_mean_contributions(masks, values.sum(1)))
        return values

    walk = 2 * units + 1
    with _numpy_seed(seed):
        explainer = PermutationExplainer(score_and_record, UnitMasker(units), seed=seed)
        explanation = explainer(np.ones((1, units)), max_evals=max(max_evals, walk), batch_size=walk, silent=True)
    pairs = len(contributions)
    error = np.std(contributions, axis=0, ddof=1) / np.sqrt(pairs) if pairs > 1 else None
    return UnitValues(_values_of(explanation), error)


def _make_dense(explainer: Any) -> None:
    """Store the units below each node of the tree as an array: shap slices a sparse matrix for every mask, which is slow."""
    nodes: Any = getattr(explainer, "_mask_matrix", None)  # private: another version of shap may lack it
    if hasattr(nodes, "toarray") and nodes.shape[0] * nodes.shape[1] <= DENSE_BYTES:
        explainer._mask_matrix = nodes.toarray()


def warm_up() -> None:
    """Import shap and let numba compile what it needs, so that the first explanation does not wait for it."""

    def score(masks: Masks) -> Values:
        return masks.astype(np.float64)

    partition_values(score, np.array([[0.0, 1.0, 1.0, 2.0]]), max_evals=16, seed=0)
    exact_values(score, 2, seed=0)
    permutation_values(score, 2, max_evals=16, seed=0)


def _mean_contributions(masks: Masks, totals: Values) -> Values:
    """Return (units,): the mean of what each unit added on the way forwards and on the way back."""
    gained = np.zeros(masks.shape[1])
    for before, after, change in zip(masks[:-1], masks[1:], np.diff(totals), strict=True):
        unit = int(np.flatnonzero(before != after)[0])
        gained[unit] += change if after[unit] else -change
    return gained / 2


def _values_of(explanation: Any) -> Values:
    values = np.asarray(explanation.values[0], dtype=np.float64)
    return values.reshape(len(values), -1)  # shap drops the dimension of a single column


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, and restore its state afterwards."""
    with _shap_lock:
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
