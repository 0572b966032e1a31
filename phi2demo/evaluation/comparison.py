"""One input answered by several models: what differs between the answers, and how near each is to a good one.

Knows no page.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

from phi2demo.data.cleaning import clean
from phi2demo.engine.engine import Use
from phi2demo.errors import InputError
from phi2demo.evaluation.differences import Change, differences, shared
from phi2demo.evaluation.metrics import Metric, metrics_of_one
from phi2demo.tasks import TASKS
from phi2demo.tasks.checks import check_text
from phi2demo.tasks.languages import detect_language
from phi2demo.tasks.task import Request, Result

FORMAT = 1
Anchor = Use | Literal["reference"]
"""What an answer is held against: that of another model, or the good one."""


@dataclass(frozen=True)
class AnswerScore:
    """How near one answer is to the good one. Higher is better."""

    name: str
    title: str
    value: float
    """In percent."""
    signature: str
    digits: int


@dataclass(frozen=True)
class Comparison:
    """The answers to one request, with what they come to."""

    request: Request
    results: tuple[Result, ...]
    reference: str | None
    """A good answer, where the person has one."""
    scores: dict[Use, tuple[AnswerScore, ...]]
    """Against the reference; none where there is no reference."""

    def text_of(self, anchor: Anchor) -> str | None:
        """An answer, or the good one; None where it is not there."""
        if anchor == "reference":
            return self.reference
        return next((result.text for result in self.results if result.use == anchor), None)

    def changes(self, use: Use, anchor: Anchor) -> tuple[Change, ...]:
        """From `anchor` to the answer of `use`, both of which are there."""
        before, after = self.text_of(anchor), self.text_of(use)
        assert before is not None
        assert after is not None
        return differences(before, after)

    def as_dict(self) -> dict[str, Any]:
        """JSON values: what was asked, every answer with its receipt and scores, and what differs between any two."""
        uses = [result.use for result in self.results]
        pairs: list[tuple[Anchor, Use]] = [*combinations(uses, 2)]
        if self.reference is not None:
            pairs += [("reference", use) for use in uses]
        return {
            "format": FORMAT,
            "task": self.request.task,
            "text": self.request.text,
            "options": asdict(self.request.options),
            "reference": self.reference,
            "answers": [
                result.as_dict() | {"scores": [asdict(score) for score in self.scores.get(result.use, ())]}
                for result in self.results
            ],
            "differences": [self._difference(anchor, use) for anchor, use in pairs],
        }

    def _difference(self, anchor: Anchor, use: Use) -> dict[str, Any]:
        changes = self.changes(use, anchor)
        return {
            "from": anchor,
            "to": use,
            "shared": round(shared(changes), 4),
            "changes": [asdict(change) for change in changes],
        }


def check_reference(task: str, typed: object) -> str | None:
    """A good answer as typed, made safe; None where there is none. InputError where it cannot be one of this task."""
    if typed is None or (isinstance(typed, str) and not typed.strip()):
        return None
    text = clean(check_text(typed, what="good answer"))
    labels = TASKS[task].labels
    if labels and text.lower() not in labels:
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        raise InputError(f"The good answer is {shown!r}; for this task it is {' or '.join(labels)}.")
    return text.lower() if labels else text


def compare(request: Request, results: Sequence[Result], reference: str | None) -> Comparison:
    """Hold the answers to `request` against each other and, where there is one, against a checked reference."""
    scores: dict[Use, tuple[AnswerScore, ...]] = {}
    if reference is not None:
        english = request.task != "summarization" or detect_language(reference) in ("en", None)
        metrics = metrics_of_one(request.task, reference, english=english)
        scores = {result.use: tuple(_score(metric, result.text, reference) for metric in metrics) for result in results}
    return Comparison(request, tuple(results), reference, scores)


def _score(metric: Metric, output: str, reference: str) -> AnswerScore:
    value = metric.score(metric.statistics([output], [[reference]]).sum(0))
    return AnswerScore(metric.name, metric.title, value, metric.signature, metric.digits)
