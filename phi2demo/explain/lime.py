"""LIME: a weighted linear model of the values of randomly masked texts (Ribeiro, Singh, Guestrin, 2016).

The sampling, kernel and regression of the `lime` package's text explainer, without its model selection.
"""

import numpy as np

from phi2demo.explain.units import Masks, ScoreMasks, UnitValues, Values

KERNEL_WIDTH = 25.0
"""The default of lime's text explainer, for cosine distances times 100."""
RIDGE_ALPHA = 1.0


def lime_values(score: ScoreMasks, units: int, *, samples: int, seed: int) -> UnitValues:
    """Return LIME values from `samples` randomly masked texts."""
    masks = draw_masks(units, samples=samples, seed=seed)
    return fit(masks, score(masks))


def draw_masks(units: int, *, samples: int, seed: int) -> Masks:
    """Draw (samples, units): first the whole text, then texts with 1 to all units hidden, each number equally likely."""
    random = np.random.default_rng(seed)
    masks = np.ones((samples, units), dtype=bool)
    for row, hidden in enumerate(random.integers(1, units + 1, samples - 1), 1):
        masks[row, random.choice(units, hidden, replace=False)] = False
    return masks


def kernel(masks: Masks) -> Values:
    """Return the weights of masks, (masks,), from their cosine distance to the whole text; the empty text is at distance 1."""
    distance = 100 * (1 - np.sqrt(masks.mean(1)))
    return np.asarray(np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2)), dtype=np.float64)


def fit(masks: Masks, outcomes: Values) -> UnitValues:
    """Fit a ridge regression of `outcomes` (masks, columns) on `masks` (masks, units), weighted by the kernel.

    A unit's value is what it adds when it is kept. The standard errors are those of a weighted ridge with the residuals'
    variance: they measure the spread by sampling, not the bias.
    """
    weights = kernel(masks)
    share = weights / weights.sum()
    inputs = masks.astype(np.float64)
    inputs, centred = inputs - share @ inputs, outcomes - share @ outcomes
    gram = inputs.T @ (inputs * weights[:, None])
    inverse = np.linalg.inv(gram + RIDGE_ALPHA * np.eye(gram.shape[0]))
    values = inverse @ (inputs.T @ (centred * weights[:, None]))
    total = centred.sum(1)
    residuals = total - inputs @ values.sum(1)
    unexplained, variance = float(weights @ residuals**2), float(weights @ total**2)
    degrees_of_freedom = max(1.0, len(masks) - 1 - float(np.trace(gram @ inverse)))
    covariance = inverse @ gram @ inverse * (unexplained / degrees_of_freedom)
    return UnitValues(
        values,
        np.sqrt(np.maximum(np.diag(covariance), 0.0)),
        1 - unexplained / variance if variance > 0 else 1.0,
    )
