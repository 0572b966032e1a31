"""The way of one request with one model, round by round: what it has come to so far. Asks no engine."""

from dataclasses import dataclass, field

from phi2demo.engine.engine import Completion, StopReason, Use
from phi2demo.tasks.listing import Listed
from phi2demo.tasks.task import Pieces, Request

CUT_SHORT: tuple[StopReason, ...] = ("stopped", "time")
"""The reasons that end a whole request, not a piece alone."""


@dataclass
class Round:
    """What one use has come to in one round."""

    pieces: Pieces
    outputs: list[str] = field(default_factory=list)
    """Cleaned, of the pieces that are done."""
    completions: list[Completion] = field(default_factory=list)
    alternatives: list[tuple[Listed, ...]] = field(default_factory=list)
    """Of the pieces that are done."""
    probabilities: list[float | None] = field(default_factory=list)
    """Of the pieces that are done."""
    withheld: list[bool] = field(default_factory=list)
    """Of the pieces that are done: whether the text supports the answer too little for it to be given."""
    partial: list[str] = field(default_factory=list)
    """Cleaned, of the pieces that are running."""

    @property
    def text(self) -> str:
        """So far."""
        return self.pieces.join((*self.outputs, *self.partial))

    @property
    def complete(self) -> bool:
        """Whether every piece was answered to its end."""
        cut_short = any(completion.stop_reason in CUT_SHORT for completion in self.completions)
        return len(self.completions) == len(self.pieces.texts) and not cut_short


@dataclass(eq=False)
class Strand:
    """The way of one request with one use."""

    request: Request
    read: Request
    """As the model reads it."""
    use: Use
    rounds: list[Round]
    seconds: float = 0.0
    """From the start of all to its newest answer."""

    @property
    def current(self) -> Round:
        """The round that is running."""
        return self.rounds[-1]

    @property
    def text(self) -> str:
        """Of the current round; of the one before as long as there is nothing to see of the current one."""
        seen = len(self.rounds) == 1 or any((*self.current.outputs, *self.current.partial))
        return self.rounds[-1 if seen else -2].text

    @property
    def final(self) -> Round:
        """The last round; the one before where the last did not come to its end: half a merge loses a half."""
        return self.rounds[-1 if self.current.complete or len(self.rounds) == 1 else -2]
