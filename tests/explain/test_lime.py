import numpy as np
import pytest

from phi2demo.explain.lime import KERNEL_WIDTH, draw_masks, fit, kernel, lime_values


@pytest.mark.parametrize(("units", "samples"), [(4, 40), (9, 120), (30, 200)])
def test_values_are_those_of_lime_on_the_same_samples(units: int, samples: int) -> None:
    from lime.lime_base import LimeBase
    from sklearn.metrics.pairwise import pairwise_distances

    masks = draw_masks(units, samples=samples, seed=3)
    outcomes = np.random.default_rng(0).normal(size=(samples, 2)) + masks[:, :2]
    distances = pairwise_distances(masks.astype(float), masks[:1].astype(float), metric="cosine").ravel() * 100
    theirs = LimeBase(lambda distance: np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2)))
    fitted = fit(masks, outcomes)
    for column in range(2):
        _, values, score, _ = theirs.explain_instance_with_data(
            masks.astype(float), outcomes, distances, column, num_features=units, feature_selection="none"
        )
        expected = np.array([value for _, value in sorted(values)])
        np.testing.assert_allclose(fitted.values[:, column], expected, atol=1e-9)
        assert fit(masks, outcomes[:, [column]]).fit == pytest.approx(score)


def test_masks_hide_a_uniform_number_of_units() -> None:
    masks = draw_masks(10, samples=20_001, seed=0)
    assert masks[0].all()
    hidden = np.bincount(10 - masks[1:].sum(1), minlength=11)
    assert hidden[0] == 0
    np.testing.assert_allclose(hidden[1:], 2000, atol=200)
    np.testing.assert_allclose(masks[1:].mean(0), 0.45, atol=0.02)
    assert (draw_masks(10, samples=50, seed=1) == draw_masks(10, samples=50, seed=1)).all()
    assert (draw_masks(10, samples=50, seed=1) != draw_masks(10, samples=50, seed=2)).any()


def test_nearer_texts_weigh_more() -> None:
    weights = kernel(np.tri(11, 10, k=-1, dtype=bool))
    assert (np.diff(weights) > 0).all()
    assert weights[-1] == 1


def test_weights_of_an_additive_function_are_found_and_the_error_says_how_well() -> None:
    truth = np.array([3.0, -2.0, 0.5, 0.0, 1.0])
    random = np.random.default_rng(5)
    fitted = lime_values(
        lambda masks: (masks @ truth + random.normal(size=len(masks)))[:, None], 5, samples=2000, seed=0
    )
    errors = np.abs(fitted.values[:, 0] - truth)
    assert errors.max() < 0.25
    assert (errors < 4 * fitted.standard_error).all()
    assert fitted.standard_error.max() < 0.1
    assert 0.6 < fitted.fit < 0.9
    exact = lime_values(lambda masks: (masks @ truth)[:, None], 5, samples=2000, seed=0)
    assert exact.fit > 0.99
    assert exact.standard_error.max() < 0.01
