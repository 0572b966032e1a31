"""The answer of each model to a request with its receipt, and the steps on the way to it. Knows no task."""

from dataclasses import asdict, dataclass, field
from typing import Any

from phi2demo.engine.engine import Candidate, Variant
from phi2demo.tasks.confidence import ConfidenceBand, joint
from phi2demo.tasks.receipt import Receipt


@dataclass(frozen=True)
class Alternative:
    """One of the outputs that an answer was chosen among."""

    candidate: Candidate
    text: str
    """Cleaned."""
    log_probability: float
    """Of the candidate given the prompt, in nats: the model's own, without guidance, bias and penalties."""

    def as_dict(self) -> dict[str, str | float]:
        """For JSON."""
        return {"text": self.text, "log_probability": self.log_probability}


@dataclass(frozen=True)
class Result:
    """What one model answered."""

    variant: Variant
    text: str
    """Cleaned, as shown."""
    raw: tuple[str, ...]
    """As generated, piece by piece: with `token_ids`, what an explanation scores."""
    receipt: Receipt
    notes: tuple[str, ...] = ()
    """Warnings for the reader: a number that was lost, a text in another language than the one chosen."""
    facts: tuple[str, ...] = ()
    """Figures of this answer, in words: words in and out, compression."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Of the labels, for a task that classifies."""
    token_ids: tuple[tuple[int, ...], ...] = ()
    """Of `raw`, as generated, with the tokens that ended each piece; none where the output was chosen, not generated."""
    alternatives: tuple[tuple[Alternative, ...], ...] = ()
    """Of each piece what it was chosen among, the chosen one first; none where there was no choice, or nobody asked."""
    piece_probabilities: tuple[float | None, ...] = ()
    """Mean token probability of each piece, see `tasks.confidence_band`; none where the task has no right answer, or chooses a
    label."""

    withheld: str = ""
    """What the model itself answered, where the text does not support it and `text` says so."""

    confidence_band: ConfidenceBand | None = None
    """How answers that are as probable scored in an evaluation; None where none was measured."""

    @property
    def mean_probability(self) -> float | None:
        """Of all tokens, as the geometric mean; of a label its probability."""
        if self.probabilities:
            return max(self.probabilities.values())
        if not self.piece_probabilities:
            return None
        return joint((value, len(ids)) for value, ids in zip(self.piece_probabilities, self.token_ids, strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values: text, variant, notes, facts and receipt.

        Where they are known, also the probabilities of the labels, the mean token probability with its confidence band,
        the answer that was withheld, and the alternatives of each piece.
        """
        answer: dict[str, Any] = {
            "text": self.text,
            "variant": self.variant,
            "notes": list(self.notes),
            "facts": list(self.facts),
            "receipt": asdict(self.receipt),
        }
        if self.probabilities:
            answer["probabilities"] = self.probabilities
        if self.mean_probability is not None:
            answer["mean_probability"] = self.mean_probability
        if self.confidence_band:
            answer["confidence_band"] = asdict(self.confidence_band)
        if self.withheld:
            answer["withheld"] = self.withheld
        if any(self.alternatives):
            answer["alternatives"] = [[alternative.as_dict() for alternative in piece] for piece in self.alternatives]
        return answer


@dataclass(frozen=True)
class Progress:
    """One step of a running request."""

    texts: dict[Variant, str]
    """Cleaned text so far."""
    done: int
    total: int
    """Pieces (sentences, parts) finished, of how many in all: passes still to come are counted as far as they can be foreseen."""
    stage: str
    """In words: "Summarizing part 3 of 40"."""
    new_tokens: int
    seconds: float
    results: tuple[Result, ...] | None = None
    """Only in the last step; in the order of the request's variants."""
