"""Sentiment: positive or negative, chosen by probability, never by what happens to be written."""

from dataclasses import dataclass

from phi2demo.data.rows import SENTIMENT_LABELS
from phi2demo.engine.engine import GenerationOptions
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.task import Task
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

    def instruction(self, text: str, options: SentimentOptions) -> Instruction:
        """Ask for one of the labels."""
        *others, last = self.labels
        listed = ", ".join(others)
        return Instruction(f"Is the sentiment of the following text {listed} or {last}?", text)

    def plain(self, text: str, options: SentimentOptions) -> str:
        """A review, then the label."""
        return f"Review: {text}\nSentiment:"
