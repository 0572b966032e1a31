"""Turn rows of the corpus into finetuning examples: the prompt that the app would send, and the output to learn.

Prompts come from `TASKS[name].prompt`, so that training and the app cannot differ. One more kind of example, `REPLAY`,
is plain prose: without some of the text that it was pretrained on, a model would forget it. Knows no token ids.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from phi2demo.data.corpus import OWN, Source, Split
from phi2demo.data.documents import pack, split_sentences
from phi2demo.data.rows import Row, sentiment_of
from phi2demo.errors import DataError, SettingsError, quoted
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.own_task import OwnTask
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.task import AnyTask, PromptLimit
from phi2demo.tasks.templates import PLAIN, Template
from phi2demo.tasks.translation import TranslationOptions

REPLAY = "replay"
"""Name, among those of the tasks, for prose that is trained on without a prompt."""
CONTINUATION_TOKENS = 160
"""Most tokens in the output of a text generation example."""
REPLAY_TOKENS = 256
"""Most tokens in a replay example."""
MIN_DOCUMENT_TOKENS = 32
"""A document that would have to be cut shorter than this gives no summarization example."""
MAX_OPENING_SENTENCES = 3
"""Most sentences in the prompt of a text generation example."""
_READ_CHARACTERS = 4000


@dataclass(frozen=True)
class Example:
    """A prompt and the output to learn for it."""

    prompt: str
    """Everything before the output; empty where the output is a whole text."""
    output: str
    """Without the end token."""
    ended: bool = True
    """Whether the end token follows the output."""
    separator: str = " "
    """Text between prompt and output."""


@dataclass(frozen=True)
class ExampleMaker:
    """How the examples of one task are made."""

    row_kind: str
    """Kind of the rows that they are made of."""
    make: Callable[[Row, np.random.Generator, PromptLimit], Example | None]
    """Makes an example of a row, drawn with the generator if there are several; None if the row gives none that fits."""
    requirement: str
    """What a row needs to give an example, for messages."""


def _translation(row: Row, random: np.random.Generator, limit: PromptLimit) -> Example:
    ends = [(row["source_lang"], row["source"]), (row["target_lang"], row["target"])]
    (source, text), (target, output) = ends[:: random.choice((1, -1))]
    return _example("translation", text, TranslationOptions(source, target), output, limit.template)


def _summarization(row: Row, random: np.random.Generator, limit: PromptLimit) -> Example | None:
    """Cut a document that is too long at the end of a sentence."""
    options = SummaryOptions("sentence")
    empty_prompt = TASKS["summarization"].prompt("", options, limit.template)
    document_tokens = limit.tokens - limit.count_tokens(f"{empty_prompt}{limit.template.separator}{row['summary']}")
    if document_tokens < MIN_DOCUMENT_TOKENS:
        return None
    document = row["document"]
    if limit.count_tokens(document) > document_tokens:
        document = pack(document, count=limit.count_tokens, limit=document_tokens)[0]
    return _example("summarization", document, options, row["summary"], limit.template)


def _sentiment(row: Row, random: np.random.Generator, limit: PromptLimit) -> Example:
    return _example("sentiment", row["text"], SentimentOptions(), sentiment_of(row), limit.template)


def _question_answering(row: Row, random: np.random.Generator, limit: PromptLimit) -> Example | None:
    if not row["answers"]:
        return None
    options = QuestionOptions(row["question"])
    return _example("question_answering", row["context"], options, row["answers"][0]["text"], limit.template)


def _generation(row: Row, random: np.random.Generator, limit: PromptLimit) -> Example | None:
    """Take one to three sentences from the start of the text or of a paragraph; the next ones are the output."""
    sentences, _ = _sentences(row, random)
    opening_size = int(random.integers(1, MAX_OPENING_SENTENCES + 1))
    output = "".join(_first_sentences(sentences[opening_size:], CONTINUATION_TOKENS, limit)).strip()
    if not output:
        return None
    opening = "".join(sentences[:opening_size])
    separator = opening[len(opening.rstrip()) :] or " "
    prompt = TASKS["generation"].prompt(opening.strip(), GenerationTaskOptions("continue"), PLAIN)
    return Example(prompt, output, separator=separator)


def _replay(row: Row, random: np.random.Generator, limit: PromptLimit) -> Example | None:
    """Take the sentences from the start of the text or of a paragraph."""
    sentences, complete = _sentences(row, random)
    kept = _first_sentences(sentences, min(REPLAY_TOKENS, limit.tokens - 1), limit)
    output = "".join(kept).strip()
    return Example("", output, ended=complete and len(kept) == len(sentences)) if output else None


EXAMPLE_MAKERS = {
    "translation": ExampleMaker("translation", _translation, "a pair that fits with the instruction"),
    "summarization": ExampleMaker(
        "summarization",
        _summarization,
        f"a summary that leaves room for {MIN_DOCUMENT_TOKENS} tokens of its document",
    ),
    "sentiment": ExampleMaker("sentiment", _sentiment, "a review that fits with the instruction"),
    "question_answering": ExampleMaker(
        "question_answering",
        _question_answering,
        "an answer, and a context that fits with the question and the instruction",
    ),
    "generation": ExampleMaker(
        "prose",
        _generation,
        f"a text of two or more sentences, of which one after the first has at most {CONTINUATION_TOKENS} tokens",
    ),
    REPLAY: ExampleMaker("prose", _replay, f"a text whose first sentence has at most {REPLAY_TOKENS} tokens"),
}
"""How to make the examples of each task; simplification is not a task of the app."""

FINETUNING_KINDS = frozenset(maker.row_kind for maker in EXAMPLE_MAKERS.values()) | {OWN}
"""Kinds of rows that finetuning uses."""


def maker_of(task_name: str) -> ExampleMaker:
    """Return how the examples of a task are made, also of one that a tasks.json declares."""
    if task_name in EXAMPLE_MAKERS:
        return EXAMPLE_MAKERS[task_name]

    def make(row: Row, random: np.random.Generator, limit: PromptLimit) -> Example:
        text, options = TASKS[task_name].from_row(row)
        return _example(task_name, text, options, row["output"], limit.template)

    return ExampleMaker(task_name, make, "a text that fits with the instruction and the output")


def by_task(sources: Sequence[Source]) -> list[Source]:
    """Split data sets whose rows name their task, so that each source has one task, whose id is its kind.

    Raises DataError for a row of a task that is not declared, and for one that its task does not accept.
    """
    split_sources = [source for source in sources if source.kind != OWN]
    for source in sources:
        if source.kind == OWN:
            tasks = dict.fromkeys(row["task"] for rows in source.rows.values() for row in rows)
            if unknown := [name for name in tasks if name not in TASKS]:
                raise DataError(
                    f"{source.name} has rows of the task {quoted(unknown[0])}, which is not declared. Give --tasks with a "
                    "tasks.json that declares it, or remove the rows."
                )
            split_sources += [_of_task(source, TASKS[name]) for name in tasks]
    return split_sources


def _of_task(source: Source, task: AnyTask) -> Source:
    rows: dict[Split, tuple[Row, ...]] = {
        split: tuple(row for row in rows if row["task"] == task.name) for split, rows in source.rows.items()
    }
    for row in (row for part in rows.values() for row in part):
        if problem := task.problem_of_row(row):
            raise DataError(f"{source.name}: the row of {task.name} with the text {quoted(row['text'])}: {problem}")
    return Source(source.name, task.name, rows)


def _example(task_name: str, text: str, options: TaskOptions, output: str, template: Template) -> Example:
    return Example(TASKS[task_name].prompt(text, options, template), output, separator=template.separator)


def _sentences(row: Row, random: np.random.Generator) -> tuple[list[str], bool]:
    """Return the sentences from the start of the text or of a paragraph, and whether they reach the text's end."""
    paragraphs = row["text"].splitlines()
    first = 0 if random.random() < 0.5 else int(random.integers(len(paragraphs)))
    sentences = split_sentences("\n".join(paragraphs[first:])[:_READ_CHARACTERS])
    if sum(map(len, sentences)) == _READ_CHARACTERS:
        return sentences[:-1], False  # the last one is cut off
    return sentences, True


def _first_sentences(sentences: list[str], max_tokens: int, limit: PromptLimit) -> list[str]:
    """Return as many of the first sentences as have at most `max_tokens` tokens together."""
    kept, tokens = [], 0
    for sentence in sentences:
        tokens += limit.count_tokens(sentence)
        if tokens > max_tokens:
            break
        kept.append(sentence)
    return kept


TASK_WEIGHTS = {
    "translation": 0.70,
    "generation": 0.07,
    "summarization": 0.05,
    "sentiment": 0.07,
    "question_answering": 0.04,
    REPLAY: 0.07,
}
"""Share of the examples of each task; the shares of tasks without data go to the others."""
OWN_WEIGHT = 1.0
"""Weight of a declared task: as much as all others together."""


EMPHASIS = {"generation": 2.0, "summarization": 1.5, "question_answering": 1.5, REPLAY: 2.0}
"""Factor of an example in the loss; 1 for other tasks. Long examples take more time, so few are drawn, with more weight."""


def task_weights(overrides: Mapping[str, float]) -> dict[str, float]:
    """Return `TASK_WEIGHTS` with some replaced; SettingsError for an unknown task or a weight below 0."""
    known = TASK_WEIGHTS | {name: OWN_WEIGHT for name, task in TASKS.items() if isinstance(task, OwnTask)}
    for task, weight in overrides.items():
        if task not in known:
            raise SettingsError(
                f"--mix {task}={weight}: there is no task {quoted(task)}; give one of {', '.join(known)}."
            )
        if not 0 <= weight < math.inf:
            raise SettingsError(f"--mix {task}={weight}: give a weight from 0.")
    return known | dict(overrides)
