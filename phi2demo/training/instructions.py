"""Corpus rows as examples of what the app asks for: the task's own prompt, and the output to learn. Knows no tokens ids.

Prompts come from `TASKS[name].prompt`, so that training and the app cannot drift apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from phi2demo.tasks import TASKS
from phi2demo.tasks.documents import pack, split_sentences
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.task import Budget, TaskOptions
from phi2demo.tasks.translation import TranslationOptions
from phi2demo.training.corpus import Row

CONTINUATION_TOKENS = 160
"""At most, in what a model learns to go on with."""
MIN_DOCUMENT_TOKENS = 32
"""A document that would be cut shorter than this teaches nothing about summaries."""
MAX_OPENING_SENTENCES = 3
_READ_CHARACTERS = 4000


@dataclass(frozen=True)
class Example:
    """One thing asked and answered."""

    prompt: str
    """The whole template, up to `Output:`."""
    output: str
    """What comes after it, without the space before and the end token behind."""


Form = Callable[[Row, np.random.Generator, Budget], Example | None]
"""A row as an example, drawn with the generator where there are several; None where it holds none that fits."""


def _example(task: str, text: str, options: TaskOptions, output: str) -> Example:
    return Example(TASKS[task].prompt(text, options), output)


def _translation(row: Row, random: np.random.Generator, budget: Budget) -> Example:
    ends = [(row["source_lang"], row["source"]), (row["target_lang"], row["target"])]
    (source, text), (target, output) = ends[:: random.choice((1, -1))]
    return _example("translation", text, TranslationOptions(source, target), output)


def _summarization(row: Row, random: np.random.Generator, budget: Budget) -> Example | None:
    """The document is cut at a sentence end where it is too long."""
    options = SummaryOptions("sentence")
    empty = TASKS["summarization"].prompt("", options)
    room = budget.tokens - budget.count_tokens(f"{empty} {row['summary']}")
    if room < MIN_DOCUMENT_TOKENS:
        return None
    document = row["document"]
    if budget.count_tokens(document) > room:
        document = pack(document, count=budget.count_tokens, limit=room)[0]
    return _example("summarization", document, options, row["summary"])


def _sentiment(row: Row, random: np.random.Generator, budget: Budget) -> Example:
    return _example("sentiment", row["text"], SentimentOptions(), "positive" if int(row["label"]) == 1 else "negative")


def _question_answering(row: Row, random: np.random.Generator, budget: Budget) -> Example | None:
    if not row["answers"]:
        return None
    options = QuestionOptions(row["question"])
    return _example("question_answering", row["context"], options, row["answers"][0]["text"])


def _generation(row: Row, random: np.random.Generator, budget: Budget) -> Example | None:
    """One to three sentences from the start of the text or of a paragraph; the sentences after them are the output."""
    paragraphs = row["text"].splitlines()
    first = 0 if random.random() < 0.5 else int(random.integers(len(paragraphs)))
    sentences = split_sentences("\n".join(paragraphs[first:])[:_READ_CHARACTERS])
    if sum(map(len, sentences)) == _READ_CHARACTERS:
        sentences.pop()  # cut off in its middle
    opening = int(random.integers(1, MAX_OPENING_SENTENCES + 1))
    output, tokens = "", 0
    for sentence in sentences[opening:]:
        tokens += budget.count_tokens(sentence)
        if tokens > CONTINUATION_TOKENS:
            break
        output += sentence
    if not output.strip():
        return None
    text = "".join(sentences[:opening]).strip()
    return _example("generation", text, GenerationTaskOptions("continue"), output.strip())


FORMS: dict[str, tuple[str, Form]] = {
    "translation": ("translation", _translation),
    "summarization": ("summarization", _summarization),
    "sentiment": ("sentiment", _sentiment),
    "question_answering": ("question_answering", _question_answering),
    "prose": ("generation", _generation),
}
"""Kind of row: (task it teaches, form). Simplification is no task of the app."""
