"""Rounded values must not open another tree than exact ones do."""

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from phi2demo.explain.near_ties import steady_partition_values
from phi2demo.explain.segments import split
from phi2demo.explain.shapley import PlayGame, partition_values
from phi2demo.explain.tree import linkage

Masks = NDArray[np.bool_]
Values = NDArray[np.float64]

UNITS, COLUMNS, EVALS = 60, 3, 200
ERROR = 0.004
TREE = linkage(split(" ".join(f"word{at}" for at in range(UNITS)), "words"))


class Planted:
    """Single units and neighbouring pairs are worth something; few are worth much. Counts and remembers."""

    def __init__(self, seed: int, *, error: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self._alone = random.normal(size=(UNITS, COLUMNS)) * random.exponential(0.3, size=(UNITS, 1)) ** 2
        self._pairs = random.normal(size=(UNITS - 1, COLUMNS)) * 0.05
        self._error = error
        self.asked: set[bytes] = set()

    def __call__(self, masks: Masks) -> Values:
        self.asked |= {mask.tobytes() for mask in masks}
        noise = [np.random.default_rng(zlib.crc32(mask.tobytes())).normal(size=COLUMNS) for mask in masks]
        both = masks[:, 1:] & masks[:, :-1]
        return np.asarray(masks @ self._alone + both @ self._pairs + self._error * np.array(noise))


def walked(game: PlayGame, batch: int) -> Values:
    return partition_values(game, TREE, max_evals=EVALS, seed=0, batch=batch).values


@pytest.mark.parametrize("batch", [10, 64])
def test_the_tree_is_opened_as_without_rounding(batch: int) -> None:
    swapped, mended, off, steady_off = 0, 0, 0.0, 0.0
    for seed in range(12):
        plain, rounded = Planted(seed), Planted(seed, error=ERROR)
        values, careless = walked(plain, batch), walked(rounded, batch)
        swapped += plain.asked != rounded.asked
        exact, rough = Planted(seed), Planted(seed, error=ERROR)
        steady = steady_partition_values(rough, exact, TREE, max_evals=EVALS, seed=0, batch=batch).values
        mended += plain.asked <= rough.asked
        assert len(exact.asked) < EVALS / 2
        assert len(rough.asked) < 1.1 * EVALS
        off = max(off, float(np.abs(careless - values).max()))
        steady_off = max(steady_off, float(np.abs(steady - values).max()))
    assert swapped > 6, "the errors are large enough to matter"
    assert mended > 10
    assert off > 5 * ERROR
    assert steady_off < ERROR, "what is left is the mean of many errors"


def test_without_errors_the_values_are_the_same() -> None:
    exact = Planted(3)
    steady = steady_partition_values(Planted(3), exact, TREE, max_evals=EVALS, seed=0).values
    np.testing.assert_allclose(steady, walked(Planted(3), 64), atol=1e-12)
    assert len(exact.asked) <= 32, "the first groups at the cut, whose errors are nil"


def test_a_tree_opened_in_full_needs_no_second_look() -> None:
    tree = linkage(split("one two three four five", "words"))
    weights = np.arange(5.0)[:, None]

    def exact(masks: Masks) -> Values:
        raise AssertionError("asked")

    found = steady_partition_values(lambda masks: masks @ weights, exact, tree, max_evals=500, seed=0)
    np.testing.assert_allclose(found.values, weights, atol=1e-12)
