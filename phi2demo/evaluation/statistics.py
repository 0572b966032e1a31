"""Bootstrap intervals and paired tests over sufficient statistics. Knows no metric, no model, no text.

A score is a function of the sums of numbers that each example contributes (n-gram matches, a right answer, bits), so a
resample is a sum of rows. The resamples are drawn as sacrebleu draws its own: the same seed gives the same ones.
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
    """One system's score less the other's on the same examples."""

    value: float
    low: float
    high: float
    p: float
    """Of a difference at least as far from zero, either way, if there were none."""


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
        """Paired bootstrap resampling (Koehn, "Statistical Significance Tests for Machine Translation Evaluation", 2004).

        Both are drawn by the same resamples. The p-value is two-sided, by shifting the resampled differences to a mean
        of zero (Noreen, 1989; Riezler and Maxwell, 2005), and counts the sample itself: 1 / (resamples + 1) is the
        least there is. sacrebleu's, which compares absolute differences with their mean, is at most as large.
        """
        value = self.score - other.score
        drawn = self.resampled - other.resampled
        drawn = drawn[np.isfinite(drawn)]
        further = np.abs(drawn - drawn.mean()) >= abs(value)
        return Difference(value, *interval(drawn), p=(int(further.sum()) + 1) / (len(drawn) + 1))


@dataclass(frozen=True)
class Resamples:
    """Which examples each resample holds, for all systems that answered the same examples."""

    indexes: Sequence[NDArray[np.int64]]
    """Of each resample."""

    @classmethod
    def draw(cls, examples: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> "Resamples":
        """With replacement (Efron, 1979), from numpy's default generator."""
        random = np.random.default_rng(seed)
        return cls(list(random.choice(examples, size=(resamples, examples), replace=True)))

    def scores(self, statistics: Statistics, score: ScoreOfSums) -> NDArray[np.float64]:
        """The score of every resample."""
        return np.array([score(statistics[chosen].sum(0)) for chosen in self.indexes])

    def drawn(self, statistics: Statistics, score: ScoreOfSums) -> Drawn:
        """The score of all examples with those of the resamples."""
        return Drawn(score(statistics.sum(0)), self.scores(statistics, score))

    def estimate(self, statistics: Statistics, score: ScoreOfSums) -> Estimate:
        """The score of all examples and its percentile interval."""
        return self.drawn(statistics, score).estimate

    def compare(self, ours: Statistics, theirs: Statistics, score: ScoreOfSums) -> Difference:
        """Our score less theirs, with a paired test."""
        return self.drawn(ours, score).less(self.drawn(theirs, score))


def interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """From the 1/40th to the 39/40th of sorted scores, as sacrebleu counts them; NaN, of nothing scored, is none."""
    ordered = np.sort(scores[np.isfinite(scores)])
    cut = len(ordered) // 40
    return float(ordered[cut]), float(ordered[len(ordered) - cut - 1])
