"""Confidence intervals and significance tests for means over few clusters and for shares. Numbers in, numbers out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phi2demo.evaluation.statistics import interval

MAX_EXACT = 12
"""Up to this many differences, all sign flips are tried."""
SAMPLED_FLIPS = 9999
"""Number of sign flips that are drawn where there are more differences."""
Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

Matrix = NDArray[np.float64]
"""Differences: a row for each sentence, a column for each word that stands in it."""


def sign_flip_p(differences: NDArray[np.float64], *, seed: int) -> float:
    """Return the two-sided p of a mean of paired differences, if each might as well have the other sign.

    The permutation test for pairs (Fisher, 1935; Good, "Permutation Tests", 2000): all flips for few pairs, else
    SAMPLED_FLIPS drawn ones and the data themselves.
    """
    count = len(differences)
    if count <= MAX_EXACT:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    else:
        drawn = np.random.default_rng(seed).choice((-1, 1), size=(SAMPLED_FLIPS, count))
        signs = np.concatenate((np.ones((1, count), dtype=drawn.dtype), drawn))
    sums = np.abs(signs @ differences)
    return float(np.mean(sums >= abs(differences.sum()) * (1 - 1e-9) - 1e-15))


def crossed_p(differences: Matrix, *, seed: int) -> float:
    """Return the larger p of two tests: over sentences, and over words where there are several.

    A shift that depends on one sentence or one word is no shift of the group (Clark, "The language-as-fixed-effect
    fallacy", 1973): both tests have to agree.
    """
    values = [sign_flip_p(differences.mean(1), seed=seed)]
    if differences.shape[1] > 1:
        values.append(sign_flip_p(differences.mean(0), seed=seed))
    return max(values)


def crossed_interval(differences: Matrix, *, resamples: int, seed: int) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the mean; sentences and words are drawn with replacement.

    The pigeonhole bootstrap (Owen, "The pigeonhole bootstrap", 2007) gives rather too wide an interval; with one
    column it is the plain bootstrap over sentences.
    """
    random = np.random.default_rng(seed)
    rows, columns = differences.shape
    means = np.empty(resamples)
    for index in range(resamples):
        drawn = differences[random.integers(rows, size=rows)].mean(0)
        means[index] = drawn[random.integers(columns, size=columns)].mean() if columns > 1 else drawn[0]
    return interval(means)


def share_interval(shares: NDArray[np.float64], *, resamples: int, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean of shares, one for each prompt, by a bootstrap over prompts.

    Where all shares are the same, a bootstrap gives an interval of no width; then it is Wilson's score interval (1927),
    with each prompt counted once.
    """
    if np.all(shares == shares[0]):
        return wilson(float(shares.sum()), len(shares))
    return crossed_interval(shares[:, None], resamples=resamples, seed=seed)


def wilson(hits: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share (Wilson, "Probable inference", 1927)."""
    share = hits / count
    middle = share + Z**2 / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    scale = 1 + Z**2 / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def holm(values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number (Holm, "A simple sequentially rejective multiple test procedure", 1979)."""
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = highest
    return corrected
