"""Shapley and Owen values by `shap`, over masks alone. Knows no text and no model."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.bool_]
Values = NDArray[np.float64]
PlayGame = Callable[[Masks], Values]
"""(masks, units) to (masks, columns)."""

BATCH = 64
"""Masked texts that the partition explainer asks for together. It decides in which order a tree is opened, hence the
values of a tree that is cut short: a constant, so that these do not depend on the machine."""

DENSE_BYTES = 1 << 26
"""Of the largest tree that is kept as an array: about 5,800 units."""

_shap_lock = threading.Lock()
"""shap draws from numpy's global generator."""


@dataclass(frozen=True)
class ShapleyValues:
    """What shap found."""

    values: Values
    """(units, columns)."""
    standard_error: Values | None = None
    """(units,): of the sum over columns, over permutations."""


class UnitMasker:
    """A masker in shap's sense whose masked input is the mask itself: the game knows what text that is."""

    immutable_outputs = True

    def __init__(self, units: int, clustering: Values | None = None) -> None:
        self.shape = (1, units)
        self.feature_names = [[str(at) for at in range(units)]]
        if clustering is not None:
            self.clustering = clustering

    def __call__(self, mask: Masks, inputs: Any) -> tuple[Masks]:
        """A row of masked input."""
        return (np.asarray(mask, dtype=bool)[None],)

    def mask_shapes(self, inputs: Any) -> list[tuple[int]]:
        """One feature dimension."""
        return [(self.shape[1],)]


def partition_values(
    value_function: PlayGame, tree: Values, *, max_evals: int, seed: int, batch: int = BATCH
) -> ShapleyValues:
    """Owen values over a tree, opened where the credit is greatest, with about `max_evals` masked texts.

    shap's PartitionExplainer (Owen, 1977; Lundberg and Lee, 2017).
    """
    from shap.explainers import PartitionExplainer

    units = len(tree) + 1
    with _seeded(seed):
        explainer = PartitionExplainer(value_function, UnitMasker(units, tree))
        _make_dense(explainer)
        found = explainer(_input(units), max_evals=max_evals, batch_size=batch, silent=True)
    return ShapleyValues(_values(found))


def exact_values(value_function: PlayGame, units: int, *, seed: int) -> ShapleyValues:
    """Shapley values over all 2^units masked texts, by shap's ExactExplainer (Shapley, 1953)."""
    from shap.explainers import ExactExplainer

    with _seeded(seed):
        explainer = ExactExplainer(value_function, UnitMasker(units))
        found = explainer(_input(units), max_evals=2**units, batch_size=2**units, silent=True)
    return ShapleyValues(_values(found))


def permutation_values(value_function: PlayGame, units: int, *, max_evals: int, seed: int) -> ShapleyValues:
    """Shapley values sampled over random orders, each walked there and back, by shap's PermutationExplainer.

    Antithetic sampling: Mitchell et al., 2022. The standard error is over the pairs; none for a single pair.
    """
    from shap.explainers import PermutationExplainer

    walked: list[Values] = []

    def watched(masks: Masks) -> Values:
        values = value_function(masks)
        walked.append(_per_unit(masks, values.sum(1)))
        return values

    length = 2 * units + 1
    with _seeded(seed):
        explainer = PermutationExplainer(watched, UnitMasker(units), seed=seed)
        found = explainer(_input(units), max_evals=max(max_evals, length), batch_size=length, silent=True)
    error = np.std(walked, axis=0, ddof=1) / np.sqrt(len(walked)) if len(walked) > 1 else None
    return ShapleyValues(_values(found), error)


def _make_dense(explainer: Any) -> None:
    """Which units a node of the tree has, as an array: shap takes a row of a sparse matrix for every mask, which is slow."""
    nodes: Any = getattr(explainer, "_mask_matrix", None)  # private: another shap may lack it
    if hasattr(nodes, "toarray") and nodes.shape[0] * nodes.shape[1] <= DENSE_BYTES:
        explainer._mask_matrix = nodes.toarray()


def warm_up() -> None:
    """Import shap and let numba compile what it needs: seconds that the first explanation then does not take."""
    tree = np.array([[0.0, 1.0, 1.0, 2.0]])

    def value_function(masks: Masks) -> Values:
        return masks.astype(np.float64)

    partition_values(value_function, tree, max_evals=16, seed=0)
    exact_values(value_function, 2, seed=0)
    permutation_values(value_function, 2, max_evals=16, seed=0)


def _per_unit(masks: Masks, totals: Values) -> Values:
    """(units,): the mean of what each unit added on the way there and on the way back."""
    gained = np.zeros(masks.shape[1])
    for before, after, change in zip(masks[:-1], masks[1:], np.diff(totals), strict=True):
        unit = int(np.flatnonzero(before != after)[0])
        gained[unit] += change if after[unit] else -change
    return gained / 2


def _input(units: int) -> NDArray[np.float64]:
    return np.ones((1, units))


def _values(found: Any) -> Values:
    values = np.asarray(found.values[0], dtype=np.float64)
    return values.reshape(len(values), -1)  # shap drops the dimension of a single column


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """numpy's global generator from `seed`, and as it was afterwards."""
    with _shap_lock:
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
