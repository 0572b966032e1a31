"""Single items with what each form made of them, from the worst to the best. Knows no model and no page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from phi2demo.data.test_sets import TestSet, text_of
from phi2demo.evaluation.metrics import Metric, metrics_for
from phi2demo.evaluation.slices import labels_of
from phi2demo.evaluation.systems import SCORED, SystemName

Order = Literal["worst", "best", "change"]

ITEM_METRICS = {
    "translation": ("chrf", "chrF"),
    "summarization": ("rougeL", "ROUGE-L"),
    "sentiment": ("accuracy", "right"),
    "question_answering": ("f1", "F1"),
}
"""By kind: the metric that says most of a single answer, and its name there."""


@dataclass(frozen=True)
class Example:
    """One item, answered."""

    test_set: str
    kind: str
    index: int
    """Of its item in the measure."""
    text: str
    """What was translated, summarized, judged or asked about."""
    question: str
    """Of question answering; else empty."""
    references: tuple[str, ...]
    outputs: dict[SystemName, str]
    scores: dict[SystemName, float]
    """0 to 100, by the metric of ITEM_METRICS."""
    labels: dict[str, str]
    """Length, complexity, and the genre where one is known."""

    def change(self, base: SystemName) -> float:
        """Score of the finetuned model less that of the base in this form; 0 where one did not answer."""
        if "finetuned" not in self.scores or base not in self.scores:
            return 0.0
        return self.scores["finetuned"] - self.scores[base]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        described: dict[str, Any] = {"test_set": self.test_set, "index": self.index, "text": self.text}
        if self.question:
            described["question"] = self.question
        return described | {
            "references": list(self.references),
            "outputs": {str(system): text for system, text in self.outputs.items()},
            "scores": {system: round(score, 2) for system, score in self.scores.items()},
            **self.labels,
        }


def examples_of(test_set: TestSet, outputs: Mapping[SystemName, Mapping[int, str]]) -> list[Example]:
    """Those items of a measure that some form answered, in their order; `outputs` by form and the item's index."""
    if test_set.kind in SCORED:
        return []
    found = []
    for item in test_set.items:
        answers = {system: texts[item.index] for system, texts in outputs.items() if item.index in texts}
        if answers:
            metric = item_metric(test_set.kind, item.references)
            found.append(
                Example(
                    test_set=test_set.name,
                    kind=test_set.kind,
                    index=item.index,
                    text=text_of(item.row, test_set.kind),
                    question=str(item.row.get("question", "")) if test_set.kind == "question_answering" else "",
                    references=item.references,
                    outputs=answers,
                    scores={system: _score(metric, text, item.references) for system, text in answers.items()},
                    labels={str(by): name for by, name in labels_of(item, test_set).items()},
                )
            )
    return found


def ordered(examples: Sequence[Example], order: Order, *, base: SystemName | None) -> list[Example]:
    """By the score of the finetuned model (of the base where there is no other), or by how far the two are apart."""
    if order == "change" and base is not None:
        return sorted(examples, key=lambda example: (-abs(example.change(base)), example.index))
    sign = -1 if order == "best" else 1
    return sorted(examples, key=lambda example: (sign * next(iter(example.scores.values())), example.index))


def item_metric(kind: str, references: Sequence[str]) -> Metric:
    """The metric of one item of a kind."""
    name = ITEM_METRICS[kind][0]
    return next(metric for metric in metrics_for(kind, [references]) if metric.name == name)


def _score(metric: Metric, output: str, references: Sequence[str]) -> float:
    return metric.score(metric.statistics([output], [references])[0])
