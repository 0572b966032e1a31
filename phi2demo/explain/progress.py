"""What an explanation tells on its way. Plain values, for a page or a command line."""

from dataclasses import dataclass

from phi2demo.explain.attribution import Attribution, Values
from phi2demo.explain.segments import Unit, UnitKind


@dataclass(frozen=True)
class Estimate:
    """What an explanation will take on this machine, from a short trial."""

    kind: UnitKind
    """The units chosen."""
    units: int
    calls: int
    """Prompts to score at most: masked texts that were scored before are not scored again."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Partial:
    """Values so far; credit that is not measured down to a unit yet is split evenly."""

    units: tuple[Unit, ...]
    totals: Values
    """(units,): for the whole target."""


@dataclass(frozen=True, eq=False)
class ExplainProgress:
    """One step of a running explanation. The last one holds the attribution."""

    stage: str
    """In words: "Measuring how fast this machine is", "Asking with words hidden", "Checking"."""
    calls: int
    """Prompts scored so far."""
    seconds: float
    estimate: Estimate | None = None
    """From the second step on."""
    partial: Partial | None = None
    attribution: Attribution | None = None

    @property
    def share(self) -> float:
        """Of the estimated calls that are done, from 0 to 1."""
        if self.attribution is not None:
            return 1.0
        if self.estimate is None:
            return 0.0
        return min(1.0, self.calls / self.estimate.calls) if self.estimate.calls else 1.0
