"""Sentiment: positive or negative, chosen by probability, never by what happens to be written."""

from dataclasses import dataclass
from typing import ClassVar

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
    generation: ClassVar = GenerationOptions(max_new_tokens=4)
    labels: ClassVar = SENTIMENT_LABELS[::-1]

    def instruction(self, text: str, options: SentimentOptions) -> Instruction:
        """Ask for one of the labels."""
        return Instruction(f"Is the sentiment of the following text {' or '.join(self.labels)}?", text)

    def plain(self, text: str, options: SentimentOptions) -> str:
        """A review, then the label."""
        return f"Review: {text}\nSentiment:"
