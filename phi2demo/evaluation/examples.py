"""Single items with the answer of each system, to be read from the worst to the best. Knows no model and no page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from phi2demo.data.test_sets import TestSet, text_of
from phi2demo.evaluation.metrics import Metric, item_metric
from phi2demo.evaluation.outputs import SCORED, SystemName
from phi2demo.evaluation.slices import labels_of

Order = Literal["worst", "best", "change"]


@dataclass(frozen=True)
class Example:
    """One item with its answers."""

    test_set: str
    kind: str
    index: int
    """Of the item in its test set."""
    text: str
    """The text that was translated, summarized, classified or asked about."""
    question: str
    """Only in question answering; else empty."""
    references: tuple[str, ...]
    outputs: dict[SystemName, str]
    scores: dict[SystemName, float]
    """0 to 100, by `item_metric`."""
    labels: dict[str, str]
    """Length, complexity, and the genre where it is known."""

    def change(self, base: SystemName) -> float:
        """Subtract the score of a base system from the finetuned model's; 0 where one did not answer."""
        if "finetuned" not in self.scores or base not in self.scores:
            return 0.0
        return self.scores["finetuned"] - self.scores[base]

    def as_dict(self) -> dict[str, Any]:
        """Give JSON values."""
        values: dict[str, Any] = {"test_set": self.test_set, "index": self.index, "text": self.text}
        if self.question:
            values["question"] = self.question
        return values | {
            "references": list(self.references),
            "outputs": {str(system): text for system, text in self.outputs.items()},
            "scores": {system: round(score, 2) for system, score in self.scores.items()},
            **self.labels,
        }


def examples_of(test_set: TestSet, outputs: Mapping[SystemName, Mapping[int, str]]) -> list[Example]:
    """Collect the items of a test set that any system answered, in their order; `outputs` are by system and item index."""
    if test_set.kind in SCORED:
        return []
    examples = []
    for item in test_set.items:
        answers = {system: texts[item.index] for system, texts in outputs.items() if item.index in texts}
        if answers:
            metric = item_metric(test_set.kind, item.references)
            examples.append(
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
    return examples


def ordered(examples: Sequence[Example], order: Order, *, base: SystemName | None) -> list[Example]:
    """Sort by the score of the finetuned model (of the base where it alone was asked), or by the difference of the two."""
    if order == "change" and base is not None:
        return sorted(examples, key=lambda example: (-abs(example.change(base)), example.index))
    sign = -1 if order == "best" else 1
    return sorted(examples, key=lambda example: (sign * next(iter(example.scores.values())), example.index))


def _score(metric: Metric, output: str, references: Sequence[str]) -> float:
    return metric.score(metric.statistics([output], [references])[0])
