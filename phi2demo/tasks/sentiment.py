"""Sentiment: positive, negative or a further label, chosen by probability, never by what happens to be written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phi2demo.data.rows import SENTIMENT_LABELS, Row
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import SettingsError, quoted
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.task import Task, problem_of_label
from phi2demo.tasks.templates import Instruction


@dataclass(frozen=True)
class SentimentOptions(TaskOptions):
    """None so far."""


class Sentiment(Task[SentimentOptions]):
    """The most probable label."""

    name = "sentiment"
    command = "classify"
    title = "Sentiment"
    input_label = "A review or an opinion"
    options_type = SentimentOptions
    generation = GenerationOptions(max_new_tokens=4)

    def __init__(self, labels: tuple[str, ...] = SENTIMENT_LABELS[::-1]) -> None:
        """Make the task; a model may have been finetuned with more labels, such as neutral."""
        self.labels = labels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sentiment) and self.labels == other.labels

    def __hash__(self) -> int:
        return hash(self.labels)

    @property
    def declared(self) -> dict[str, Any]:
        """The labels."""
        return {"labels": list(self.labels)}

    def with_labels(self, labels: Sequence[str]) -> "Sentiment":
        """Positive, negative, and any others."""
        distinct = tuple(dict.fromkeys(labels))
        if not set(SENTIMENT_LABELS) <= set(distinct) or any(not label or label != label.strip() for label in distinct):
            raise SettingsError(
                f"{self.name}: labels is {quoted(labels)}; give {', '.join(SENTIMENT_LABELS)} and any others."
            )
        return Sentiment(distinct)

    def problem_of_row(self, row: Row) -> str:
        """Refuse a label that the task does not have."""
        return problem_of_label(row, self.labels)

    def instruction(self, text: str, options: SentimentOptions) -> Instruction:
        """Ask for one of the labels."""
        *others, last = self.labels
        listed = ", ".join(others)
        return Instruction(f"Is the sentiment of the following text {listed} or {last}?", text)

    def plain(self, text: str, options: SentimentOptions) -> str:
        """A review, then the label."""
        return f"Review: {text}\nSentiment:"
