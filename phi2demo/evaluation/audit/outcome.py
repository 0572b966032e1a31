"""What a probe found: figures with intervals, some of them flagged, examples, and a verdict in plain words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from phi2demo.evaluation.audit.inference import holm


@dataclass(frozen=True)
class Finding:
    """One number about one model."""

    score: float
    low: float
    """Of the 95 % interval."""
    high: float
    p: float | None = None
    """Of a score at least as far from `Figure.expected`, either way; after Holm's correction where there are several."""
    flagged: bool = False


@dataclass(frozen=True)
class Figure:
    """One row of the report: the audited model and, where it is finetuned, its base."""

    name: str
    """Unique in its probe."""
    title: str
    """For tables."""
    unit: str
    """What the score counts."""
    threshold: str
    """In words, what is flagged."""
    finding: Finding
    base: Finding | None = None
    control: float | None = None
    """The same of texts that the model cannot know, where that is what counts."""
    expected: float = 0.0
    """The score of a model with nothing to report."""
    digits: int = 1

    @property
    def flagged(self) -> bool:
        """Of the audited model; its base is shown beside it."""
        return self.finding.flagged

    def as_dict(self) -> dict[str, Any]:
        """JSON values: the audited model's finding among the rest, its base's below `base`."""
        values: dict[str, Any] = asdict(self)
        finding, base = values.pop("finding"), values.pop("base")
        return {**values, **finding, "base": base}


@dataclass(frozen=True)
class Outcome:
    """What one probe found."""

    name: str
    title: str
    what: str
    """How it was measured and what that misses, in words."""
    n: int
    """Texts, outputs or documents; 0 where nothing was measured."""
    figures: tuple[Figure, ...]
    verdict: str
    """In plain words, with numbers."""
    examples: tuple[dict[str, Any], ...] = ()


def corrected(findings: Sequence[Finding], *, least: float, expected: float = 0.0) -> list[Finding]:
    """p-values after Holm's correction over all of them; flagged where p < 0.05 and the score is `least` off or more."""
    values = holm([1.0 if finding.p is None else finding.p for finding in findings])
    return [
        replace(finding, p=p, flagged=p < 0.05 and abs(finding.score - expected) >= least)
        for finding, p in zip(findings, values, strict=True)
    ]
