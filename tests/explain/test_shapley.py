from itertools import combinations
from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray

from phi2demo.explain.shapley import exact_values, partition_values, permutation_values
from phi2demo.explain.tree import linkage
from phi2demo.explain.units import split
from tests.explain.test_tree import Table


def brute_force(value_function: Table, units: int) -> NDArray[np.float64]:
    """Shapley's formula, subset by subset."""
    values = np.zeros((units, value_function.rows.shape[1]))
    for unit in range(units):
        others = [other for other in range(units) if other != unit]
        for size in range(units):
            weight = factorial(size) * factorial(units - size - 1) / factorial(units)
            for subset in combinations(others, size):
                without = sum(1 << member for member in subset)
                values[unit] += weight * (value_function.rows[without | 1 << unit] - value_function.rows[without])
    return values


@pytest.mark.parametrize("units", range(2, 9))
def test_exact_values_are_those_of_brute_force(units: int) -> None:
    value_function = Table(units, columns=1 + units % 3, seed=units)
    result = exact_values(value_function, units, seed=0)
    np.testing.assert_allclose(result.values, brute_force(value_function, units), atol=1e-6)
    assert value_function.scored == 2**units


def test_permutations_come_near_and_their_error_says_how_near() -> None:
    value_function = Table(6, columns=2)
    exact = brute_force(value_function, 6).sum(1)
    result = permutation_values(value_function, 6, max_evals=13 * 400, seed=0)
    assert result.standard_error is not None
    errors = np.abs(result.values.sum(1) - exact) / result.standard_error
    assert errors.max() < 4
    assert 0.3 < errors.mean() < 1.6, "a standard error, not a bound"
    few = permutation_values(value_function, 6, max_evals=13 * 25, seed=0)
    assert few.standard_error is not None
    assert 2.5 < (few.standard_error / result.standard_error).mean() < 6
    assert permutation_values(value_function, 6, max_evals=16, seed=0).standard_error is None


def test_owen_values_of_an_additive_function_are_its_weights() -> None:
    weights = np.arange(8.0)[:, None] - 3
    result = partition_values(
        lambda masks: masks @ weights, linkage(split("word " * 8, "words")), max_evals=500, seed=0
    )
    np.testing.assert_allclose(result.values, weights, atol=1e-12)


def test_a_seed_decides_and_numpys_global_generator_is_restored() -> None:
    np.random.seed(7)
    expected = np.random.rand(3)
    np.random.seed(7)
    once, again, other = (
        permutation_values(Table(6), 6, max_evals=40, seed=seed).values.tolist() for seed in (1, 1, 2)
    )
    assert np.random.rand(3).tolist() == expected.tolist()
    assert once == again
    assert once != other


def test_a_tree_kept_as_an_array_gives_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    value_function, tree = Table(10, columns=3), linkage(split("word " * 10, "words"))
    dense = partition_values(value_function, tree, max_evals=40, seed=0).values
    monkeypatch.setattr("phi2demo.explain.shapley.DENSE_BYTES", 0)
    assert np.array_equal(dense, partition_values(value_function, tree, max_evals=40, seed=0).values)
