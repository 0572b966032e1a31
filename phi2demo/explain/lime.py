"""LIME: a weighted linear model of the values of randomly masked texts (Ribeiro, Singh, Guestrin, 2016).

The sampling, kernel and regression of the `lime` package's text explainer, without its model selection.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KERNEL_WIDTH = 25.0
"""Of lime's text explainer, for cosine distances times 100."""
ALPHA = 1.0
"""Of the ridge."""


@dataclass(frozen=True)
class LimeFit:
    """A fitted linear model of masked texts."""

    values: NDArray[np.float64]
    """(units, columns): what a unit adds when it is kept."""
    intercept: NDArray[np.float64]
    """(columns,)."""
    standard_error: NDArray[np.float64]
    """(units,): of the sum over columns."""
    fit: float
    """Weighted R² of the sum over columns."""


def lime_values(
    value_function: Callable[[NDArray[np.bool_]], NDArray[np.float64]], units: int, *, samples: int, seed: int
) -> LimeFit:
    """Draw masks, ask the game, fit."""
    masks = draw_masks(units, samples=samples, seed=seed)
    return fit(masks, value_function(masks))


def draw_masks(units: int, *, samples: int, seed: int) -> NDArray[np.bool_]:
    """(samples, units): first the whole text, then texts with a uniform number of units hidden, 1 to all of them."""
    random = np.random.default_rng(seed)
    masks = np.ones((samples, units), dtype=bool)
    for row, hidden in enumerate(random.integers(1, units + 1, samples - 1), 1):
        masks[row, random.choice(units, hidden, replace=False)] = False
    return masks


def kernel(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(masks,): the weight of each, from its cosine distance to the whole text; of the empty text as at distance 1."""
    distance = 100 * (1 - np.sqrt(masks.mean(1)))
    return np.asarray(np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2)), dtype=np.float64)


def fit(masks: NDArray[np.bool_], outcomes: NDArray[np.float64]) -> LimeFit:
    """The ridge of `outcomes` (masks, columns) on `masks` (masks, units), weighted by the kernel.

    The standard errors are those of a weighted ridge with the residuals' variance: spread by sampling, not bias.
    """
    weights = kernel(masks)
    share = weights / weights.sum()
    inputs = masks.astype(np.float64)
    mean_input, mean_outcome = share @ inputs, share @ outcomes
    inputs, centred = inputs - mean_input, outcomes - mean_outcome
    gram = inputs.T @ (inputs * weights[:, None])
    inverse = np.linalg.inv(gram + ALPHA * np.eye(gram.shape[0]))
    values = inverse @ (inputs.T @ (centred * weights[:, None]))
    total = centred.sum(1)
    residuals = total - inputs @ values.sum(1)
    left, spread = float(weights @ residuals**2), float(weights @ total**2)
    freedom = max(1.0, len(masks) - 1 - float(np.trace(gram @ inverse)))
    covariance = inverse @ gram @ inverse * (left / freedom)
    return LimeFit(
        values,
        mean_outcome - mean_input @ values,
        np.sqrt(np.maximum(np.diag(covariance), 0.0)),
        1 - left / spread if spread > 0 else 1.0,
    )
