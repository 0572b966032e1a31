"""Bootstrap intervals and paired tests over sufficient statistics. Knows no metric, no model, no text.

A score is a function of the sums of numbers that each example contributes (n-gram matches, a right answer, bits), so a
resample is a sum of rows. Resamples are drawn as in sacrebleu: the same seed gives the same resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Statistics = NDArray[np.float64]
"""Of shape (examples, numbers)."""
ScoreOfSums = Callable[[NDArray[np.float64]], float]
"""From the sums over examples, of shape (numbers,), to a score."""

SEED = 12345
"""sacrebleu's."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A score with its bootstrap 95 % interval."""

    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One system's score minus the other's, on the same examples."""

    value: float
    low: float
    high: float
    p: float
    """The probability of a difference at least as far from zero in either direction, if the systems were equal."""


@dataclass(frozen=True)
class Drawn:
    """A score of all examples, and the scores of the resamples."""

    score: float
    resampled: NDArray[np.float64]

    @property
    def estimate(self) -> Estimate:
        """The score with its percentile interval."""
        return Estimate(self.score, *interval(self.resampled))

    def less(self, other: "Drawn") -> Difference:
        """Test by paired bootstrap resampling (Koehn, "Statistical Significance Tests for Machine Translation Evaluation", 2004).

        Both are drawn by the same resamples. The p-value is two-sided, by shifting the resampled differences to a mean
        of zero (Noreen, 1989; Riezler and Maxwell, 2005), and counts the sample itself, so it is at least
        1 / (resamples + 1). sacrebleu's p-value, which compares absolute differences with their mean, is at most as large.
        """
        value = self.score - other.score
        differences = self.resampled - other.resampled
        differences = differences[np.isfinite(differences)]
        further = np.abs(differences - differences.mean()) >= abs(value)
        return Difference(value, *interval(differences), p=(int(further.sum()) + 1) / (len(differences) + 1))


@dataclass(frozen=True)
class Resamples:
    """The examples of each resample, for all systems that answered the same examples."""

    indexes: Sequence[NDArray[np.int64]]
    """One array for each resample."""

    @classmethod
    def draw(cls, examples: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> "Resamples":
        """Draw examples with replacement (Efron, 1979), with numpy's default generator."""
        random = np.random.default_rng(seed)
        return cls(list(random.choice(examples, size=(resamples, examples), replace=True)))

    def scores(self, statistics: Statistics, score: ScoreOfSums) -> NDArray[np.float64]:
        """Compute the score of every resample."""
        return np.array([score(statistics[chosen].sum(0)) for chosen in self.indexes])

    def drawn(self, statistics: Statistics, score: ScoreOfSums) -> Drawn:
        """Compute the score of all examples and of every resample."""
        return Drawn(score(statistics.sum(0)), self.scores(statistics, score))

    def estimate(self, statistics: Statistics, score: ScoreOfSums) -> Estimate:
        """Compute the score of all examples and its percentile interval."""
        return self.drawn(statistics, score).estimate

    def compare(self, ours: Statistics, theirs: Statistics, score: ScoreOfSums) -> Difference:
        """Subtract their score from ours, with a paired test."""
        return self.drawn(ours, score).less(self.drawn(theirs, score))


def interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Give the 1/40th and the 39/40th of the sorted scores, counted as in sacrebleu; NaN is left out."""
    ordered = np.sort(scores[np.isfinite(scores)])
    cut = len(ordered) // 40
    return float(ordered[cut]), float(ordered[len(ordered) - cut - 1])
