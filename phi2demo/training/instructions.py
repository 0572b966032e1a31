"""Corpus rows as examples of what the app asks for: the task's own prompt, and the output to learn. Knows no tokens ids.

Prompts come from `TASKS[name].prompt`, so that training and the app cannot drift apart. One more kind of example,
`REPLAY`, is prose as it is: without some of what it was pretrained on a model would forget it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from phi2demo.data.documents import pack, split_sentences
from phi2demo.data.rows import Row
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.task import PromptLimit
from phi2demo.tasks.translation import TranslationOptions

CONTINUATION_TOKENS = 160
"""At most, in what a model learns to go on with."""
REPLAY = "replay"
"""Where a task stands: texts as they are, which no tab asks for."""
REPLAY_TOKENS = 256
"""At most, of such a text."""
MIN_DOCUMENT_TOKENS = 32
"""A document that would be cut shorter than this teaches nothing about summaries."""
MAX_OPENING_SENTENCES = 3
_READ_CHARACTERS = 4000


@dataclass(frozen=True)
class Example:
    """One thing asked and answered."""

    prompt: str
    """All that is read; empty where the output is a whole text."""
    output: str
    """What comes after it, without the end token behind."""
    ended: bool = True
    """Whether the end token stands behind it."""
    between: str = " "
    """What stands between the two."""


Form = Callable[[Row, np.random.Generator, PromptLimit], Example | None]
"""A row as an example, drawn with the generator where there are several; None where it holds none that fits."""


def _example(task: str, text: str, options: TaskOptions, output: str, between: str = " ") -> Example:
    asked = TASKS[task]
    form = asked.prompt_style_of("finetuned", options, "template")
    return Example(asked.prompt(text, options, form), output, between=between)


def _translation(row: Row, random: np.random.Generator, budget: PromptLimit) -> Example:
    ends = [(row["source_lang"], row["source"]), (row["target_lang"], row["target"])]
    (source, text), (target, output) = ends[:: random.choice((1, -1))]
    return _example("translation", text, TranslationOptions(source, target), output)


def _summarization(row: Row, random: np.random.Generator, budget: PromptLimit) -> Example | None:
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


def _sentiment(row: Row, random: np.random.Generator, budget: PromptLimit) -> Example:
    return _example("sentiment", row["text"], SentimentOptions(), "positive" if int(row["label"]) == 1 else "negative")


def _question_answering(row: Row, random: np.random.Generator, budget: PromptLimit) -> Example | None:
    if not row["answers"]:
        return None
    options = QuestionOptions(row["question"])
    return _example("question_answering", row["context"], options, row["answers"][0]["text"])


def _generation(row: Row, random: np.random.Generator, budget: PromptLimit) -> Example | None:
    """One to three sentences from the start of the text or of a paragraph; the sentences after them are the output."""
    sentences, _ = _sentences(row, random)
    opening = int(random.integers(1, MAX_OPENING_SENTENCES + 1))
    output = "".join(_within(sentences[opening:], CONTINUATION_TOKENS, budget)).strip()
    if not output:
        return None
    read = "".join(sentences[:opening])
    text = read.strip()
    between = read[len(read.rstrip()) :] or " "
    return _example("generation", text, GenerationTaskOptions("continue"), output, between)


def _replay(row: Row, random: np.random.Generator, budget: PromptLimit) -> Example | None:
    """The sentences from the start of the text or of a paragraph."""
    sentences, whole = _sentences(row, random)
    kept = _within(sentences, min(REPLAY_TOKENS, budget.tokens - 1), budget)
    output = "".join(kept).strip()
    return Example("", output, ended=whole and len(kept) == len(sentences)) if output else None


def _sentences(row: Row, random: np.random.Generator) -> tuple[list[str], bool]:
    """Those from the start of the text or of a paragraph, and whether these are all to its end."""
    paragraphs = row["text"].splitlines()
    first = 0 if random.random() < 0.5 else int(random.integers(len(paragraphs)))
    sentences = split_sentences("\n".join(paragraphs[first:])[:_READ_CHARACTERS])
    if sum(map(len, sentences)) == _READ_CHARACTERS:
        return sentences[:-1], False  # the last is cut off in its middle
    return sentences, True


def _within(sentences: list[str], limit: int, budget: PromptLimit) -> list[str]:
    """The first of them, of at most `limit` tokens together."""
    kept, tokens = [], 0
    for sentence in sentences:
        tokens += budget.count_tokens(sentence)
        if tokens > limit:
            break
        kept.append(sentence)
    return kept


FORMS: dict[str, tuple[str, Form]] = {
    "translation": ("translation", _translation),
    "summarization": ("summarization", _summarization),
    "sentiment": ("sentiment", _sentiment),
    "question_answering": ("question_answering", _question_answering),
    "generation": ("prose", _generation),
    REPLAY: ("prose", _replay),
}
"""Task: (kind of row that teaches it, form). Simplification is no task of the app."""
NEEDS = {
    "translation": "a pair that fits with the instruction",
    "summarization": f"a summary that leaves room for {MIN_DOCUMENT_TOKENS} tokens of its document",
    "sentiment": "a review that fits with the instruction",
    "question_answering": "an answer, and a context that fits with the question and the instruction",
    "generation": f"a text of two sentences or more, of which one after the first has at most {CONTINUATION_TOKENS} tokens",
    REPLAY: f"a text whose first sentence has at most {REPLAY_TOKENS} tokens",
}
"""By task, what a row must hold to give an example."""
KINDS_TAUGHT = frozenset(kind for kind, _ in FORMS.values())
"""Kinds of rows that finetuning uses."""
