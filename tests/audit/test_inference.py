"""Permutation tests, intervals and corrections against known numbers."""

import numpy as np
import pytest
from scipy import stats

from phi2demo.audit.inference import (
    crossed_interval,
    crossed_p,
    holm,
    share_interval,
    sign_flip_p,
    wilson,
)


def test_all_flips_of_few_pairs_are_tried() -> None:
    assert sign_flip_p(np.array([1.0, 2.0, 3.0]), seed=0) == 2 / 8
    assert sign_flip_p(np.array([1.0, -1.0]), seed=0) == 1.0
    assert sign_flip_p(np.zeros(4), seed=0) == 1.0
    differences = np.random.default_rng(3).normal(0.4, 1, 12)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences, seed=0) == pytest.approx(theirs.pvalue)


def test_drawn_flips_agree_with_scipy_and_never_give_zero() -> None:
    differences = np.random.default_rng(4).normal(0.3, 1, 40)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1)
    assert sign_flip_p(differences, seed=0) == pytest.approx(theirs.pvalue, abs=0.01)
    assert sign_flip_p(np.ones(60), seed=0) == pytest.approx(1 / 10_000)


def test_the_crossed_test_asks_sentences_and_words() -> None:
    one_word = np.zeros((30, 12))
    one_word[:, 0] = 1.0
    assert sign_flip_p(one_word.mean(1), seed=0) < 0.001
    assert crossed_p(one_word, seed=0) == 1.0
    assert crossed_p(np.ones((30, 12)), seed=0) < 0.001
    assert crossed_p(np.ones((30, 1)), seed=0) < 0.001


def test_the_crossed_interval_doubts_words_too() -> None:
    one_word = np.zeros((30, 12))
    one_word[:, 0] = 1.0
    low, high = crossed_interval(one_word, resamples=500, seed=0)
    assert low == 0.0
    assert high > 0.2
    values = np.random.default_rng(0).normal(2, 1, (50, 1))
    low, high = crossed_interval(values, resamples=2000, seed=0)
    assert low == pytest.approx(values.mean() - 1.96 * values.std() / 50**0.5, abs=0.05)
    assert high == pytest.approx(values.mean() + 1.96 * values.std() / 50**0.5, abs=0.05)


@pytest.mark.parametrize(("hits", "count"), [(0, 20), (3, 40), (40, 40), (17, 50)])
def test_wilson_as_scipy_has_it(hits: int, count: int) -> None:
    theirs = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((theirs.low, theirs.high))


def test_a_share_of_none_is_not_sure() -> None:
    assert share_interval(np.zeros(20), resamples=100, seed=0) == pytest.approx(wilson(0, 20))
    low, high = share_interval(np.array([0.0, 1.0] * 20), resamples=500, seed=0)
    assert 0.3 < low < 0.5 < high < 0.7


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
