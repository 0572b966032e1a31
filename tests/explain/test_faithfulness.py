import numpy as np
import pytest
from numpy.typing import NDArray

from phi2demo.explain.faithfulness import ORDERINGS, agreement, curve_calls, curves, step_sizes

WEIGHTS = np.array([4.0, 3.0, 2.0, 1.0, 0.0, -1.0, 0.5, 0.2])


class Additive:
    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.weights, self.masks = weights, set[bytes]()

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        self.masks |= {mask.tobytes() for mask in masks}
        return np.asarray((masks @ self.weights)[:, None])


def test_the_right_order_deletes_faster_and_inserts_slower_than_chance() -> None:
    deletion, insertion = curves(Additive(WEIGHTS), WEIGHTS, seed=0)
    assert deletion.area < deletion.random_area
    assert insertion.area > insertion.random_area
    assert deletion.random_area == pytest.approx(0.5, abs=0.12)
    total = WEIGHTS.sum()
    expected = [total - gone for gone in np.cumsum([0, 4, 3, 2, 1, 0.5, 0.2, 0, -1])]
    assert deletion.values == pytest.approx(expected)
    assert insertion.values == pytest.approx([total - value for value in expected])
    assert deletion.share == pytest.approx(np.linspace(0, 1, 9))
    middle = (np.array(expected)[1:] + np.array(expected)[:-1]) / 2
    assert deletion.area == pytest.approx(middle.mean() / total)


def test_the_wrong_order_is_worse_than_chance() -> None:
    deletion, insertion = curves(Additive(WEIGHTS), -WEIGHTS, seed=0)
    assert deletion.area > deletion.random_area
    assert insertion.area < insertion.random_area


@pytest.mark.parametrize("units", [2, 5, 30])
def test_calls_are_counted_beforehand(units: int) -> None:
    score = Additive(np.arange(float(units)))
    curves(score, score.weights, seed=0)
    assert len(score.masks) <= curve_calls(units)
    if units == 30:
        assert len(score.masks) > 0.9 * curve_calls(units)
        assert curve_calls(units) == 2 * (ORDERINGS + 1) * 9 + 2
    assert step_sizes(units)[0] == 0
    assert step_sizes(units)[-1] == units


def test_a_text_without_effect_still_has_areas() -> None:
    deletion, _ = curves(Additive(np.zeros(4)), np.zeros(4), seed=0)
    assert (deletion.area, deletion.random_area) == (0, 0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486832980505138),
        ([1, 1, 1], [1, 2, 3], None),
        ([1, 2], [1, 2], None),
    ],
)
def test_agreement_is_spearmans_correlation(first: list[float], second: list[float], expected: float | None) -> None:
    from scipy.stats import spearmanr

    correlation = agreement(np.array(first, dtype=float), np.array(second, dtype=float))
    assert correlation == (pytest.approx(expected) if expected is not None else None)
    if expected is not None:
        assert correlation == pytest.approx(spearmanr(first, second).statistic)
