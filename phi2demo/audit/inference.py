"""Intervals and tests for means of few clusters, and for shares. Numbers in, numbers out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phi2demo.evaluation.statistics import interval

EXACT = 12
"""Up to this many differences, all sign flips are tried."""
FLIPS = 9999
"""Drawn, where there are more."""
Z = 1.959963984540054
"""97.5 % of a normal distribution lie below it."""

Matrix = NDArray[np.float64]
"""Differences: a row for each sentence, a column for each word that stands in it."""


def sign_flip_p(differences: NDArray[np.float64], *, seed: int) -> float:
    """Two-sided p of a mean of paired differences, if each might as well have the other sign.

    The permutation test for pairs (Fisher, 1935; Good, "Permutation Tests", 2000): all flips for few pairs, else
    FLIPS drawn ones and the data themselves.
    """
    count = len(differences)
    if count <= EXACT:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    else:
        drawn = np.random.default_rng(seed).choice((-1, 1), size=(FLIPS, count))
        signs = np.concatenate((np.ones((1, count), dtype=drawn.dtype), drawn))
    sums = np.abs(signs @ differences)
    return float(np.mean(sums >= abs(differences.sum()) * (1 - 1e-9) - 1e-15))


def crossed_p(differences: Matrix, *, seed: int) -> float:
    """The larger p of two tests: over sentences, and over words where there are several.

    A shift that hangs on one sentence or on one word is not of the group (Clark, "The language-as-fixed-effect
    fallacy", 1973): both have to agree.
    """
    values = [sign_flip_p(differences.mean(1), seed=seed)]
    if differences.shape[1] > 1:
        values.append(sign_flip_p(differences.mean(0), seed=seed))
    return max(values)


def crossed_interval(differences: Matrix, *, resamples: int, seed: int) -> tuple[float, float]:
    """Bootstrap 95 % interval of the mean, sentences and words drawn with replacement.

    The pigeonhole bootstrap (Owen, "The pigeonhole bootstrap", 2007), which errs to the wide side; with one column the
    plain bootstrap over sentences.
    """
    random = np.random.default_rng(seed)
    rows, columns = differences.shape
    means = np.empty(resamples)
    for at in range(resamples):
        drawn = differences[random.integers(rows, size=rows)].mean(0)
        means[at] = drawn[random.integers(columns, size=columns)].mean() if columns > 1 else drawn[0]
    return interval(means)


def share_interval(shares: NDArray[np.float64], *, resamples: int, seed: int) -> tuple[float, float]:
    """95 % interval of a mean of shares, one of each prompt: bootstrap over prompts.

    Where all shares are the same, a bootstrap knows no doubt: then Wilson's score interval (1927), each prompt counted
    once.
    """
    if np.all(shares == shares[0]):
        return wilson(float(shares.sum()), len(shares))
    return crossed_interval(shares[:, None], resamples=resamples, seed=seed)


def wilson(hits: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (Wilson, "Probable inference", 1927)."""
    share = hits / count
    middle = share + Z**2 / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    scale = 1 + Z**2 / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, "A simple sequentially rejective multiple test procedure", 1979)."""
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[at]))
        corrected[at] = highest
    return corrected
