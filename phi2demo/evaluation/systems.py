"""How an item is asked: the finetuned model by the task's template, its base by the same and in its plain form.

The plain form is the text that the base was pretrained on, up to where the answer begins.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

from phi2demo.data.documents import pack
from phi2demo.data.rows import Row
from phi2demo.data.test_sets import Item, TestSet
from phi2demo.engine.engine import END_OF_TEXT, Completion, Engine, GenerationOptions, Prompt, Variant
from phi2demo.errors import InputError
from phi2demo.tasks import TASKS
from phi2demo.tasks.candidates import choose, preferred, reversible
from phi2demo.tasks.confidence import mean_probabilities
from phi2demo.tasks.declared import read_adapter_tasks
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import PromptStyle, Request, TaskOptions
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.translation import TranslationOptions

_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True)
class Likelihood:
    """Of a text under a model."""

    bits: float
    """Negative log2-probability."""
    tokens: int
    """That it was scored as."""


def text_bits(
    engine: Engine, texts: Sequence[str], *, variant: Variant, adapter_strength: float = 1.0
) -> list[Likelihood]:
    """Of each whole text, the first token given the end of another text.

    A text longer than the context is cut between words into parts of about half a context. The first part is scored
    from the start, each later one after the part before it, so that every token is scored once and, but for the first
    part's, after at least half a context of what precedes it.
    """
    prompts, outputs, owners = [], [], []
    for owner, text in enumerate(texts):
        parts = cut(text, count=engine.count_tokens, limit=engine.info.context - 1, part=engine.info.context // 2 - 1)
        for before, part in zip((END_OF_TEXT, *parts), parts, strict=False):
            prompts.append(Prompt(before, variant))
            outputs.append(part)
            owners.append(owner)
    bits, tokens = [0.0] * len(texts), [0] * len(texts)
    scores = engine.score(prompts, outputs, adapter_strength=adapter_strength)
    for owner, score in zip(owners, scores, strict=True):
        bits[owner] -= score.total / math.log(2)
        tokens[owner] += len(score.token_ids)
    return [Likelihood(*each) for each in zip(bits, tokens, strict=True)]


def cut(text: str, *, count: Callable[[str], int], limit: int, part: int) -> list[str]:
    """`text` whole if it has at most `limit` tokens, else in parts of at most `part`; joined, they are `text`."""
    if count(text) <= limit:
        return [text]
    parts = [""]
    used = 0
    for word in _WORD.findall(text):
        for piece in _halved(word, count, part):
            size = count(piece)
            if used + size > part and parts[-1]:
                parts.append("")
                used = 0
            parts[-1] += piece
            used += size
    return parts


def _halved(word: str, count: Callable[[str], int], limit: int) -> list[str]:
    if len(word) < 2 or count(word) <= limit:
        return [word]
    middle = len(word) // 2
    return _halved(word[:middle], count, limit) + _halved(word[middle:], count, limit)


SystemName = Literal["finetuned", "base_template", "base_plain"]
SYSTEMS: tuple[SystemName, ...] = ("finetuned", "base_template", "base_plain")

TIME_LIMIT_S = 3600.0
"""No answer is cut short by the clock: figures would differ from run to run."""
SCORED = ("prose", "continuation")
"""Kinds of which nothing is generated: the text there is is scored."""
TOO_LONG = "does not fit the context"
"""Why there is no answer."""
SEAM_TOKENS = 4
"""Text and form may take this many tokens more together than apart."""


@dataclass(frozen=True)
class Answer:
    """What a model made of one item."""

    output: str
    """Cleaned; empty where there is none."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON values: probabilities, new tokens, confidence, why there is no answer."""


@dataclass(frozen=True)
class System(ABC):
    """One way to ask the items of one measure of one model."""

    name: ClassVar[str] = ""
    engine: Engine
    test_set: TestSet
    generation: GenerationOptions
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """What a report says of how the model was asked, as JSON values."""
        if self.test_set.kind in SCORED:
            return {"adapter_strength": self.generation.adapter_strength}
        return asdict(self.generation)

    @abstractmethod
    def prompt(self, item: Item) -> str:
        """What the model reads, before a long text is cut."""

    @abstractmethod
    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to items that are computed together."""


@dataclass(frozen=True)
class TemplateSystem(System):
    """The task as the app asks it: template, cutting of long texts, decoding and clean-up."""

    variant: Variant = "finetuned"

    def prompt(self, item: Item) -> str:
        """Of the task."""
        read = read_of(item.row, self.test_set.task, self.generation)
        return TASKS[self.test_set.task].prompt(read.text, read.options)

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """An item that does not fit is left without an answer, as it is in the app."""
        requests = [self._request(item) for item in items]
        try:
            results = self._assistant.answer(*map(check, requests))
        except InputError:
            return [self._alone(request) for request in requests]
        return [_answer(result) for result in results]

    @property
    def _assistant(self) -> Assistant:
        return Assistant(self.engine, lists_alternatives=False)

    def _alone(self, request: Request) -> Answer:
        try:
            (result,) = self._assistant.answer(check(request))
        except InputError as error:
            return Answer("", {"unanswered": str(error)})
        return _answer(result)

    def _request(self, item: Item) -> Request:
        return replace(
            request_of(item.row, self.test_set.task, self.generation), variants=(self.variant,), seed=self.seed
        )


@dataclass(frozen=True)
class PlainSystem(System):
    """The base in the form it was pretrained on: the first line of what follows, or the likelier label."""

    def prompt(self, item: Item) -> str:
        """The pretraining text up to the answer."""
        return plain_prompt(item.row, self.test_set.task, self.generation)

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Documents are cut at a sentence end where they are too long; what else does not fit has no answer."""
        prompts = {at: self._fitting(item) for at, item in enumerate(items)}
        fitting = {at: prompt for at, prompt in prompts.items() if prompt is not None}
        found = dict(zip(fitting, self._ask(list(fitting.values()), [items[at].row for at in fitting]), strict=True))
        return [found.get(at, Answer("", {"unanswered": TOO_LONG})) for at in range(len(items))]

    def _ask(self, texts: Sequence[str], rows: Sequence[Row]) -> list[Answer]:
        task = TASKS[self.test_set.task]
        if not texts:
            return []
        if task.labels:
            return self._label(texts, task.labels)
        prompts = [self._prompt(text, row) for text, row in zip(texts, rows, strict=True)]
        options = replace(self.generation, stop=task.plain_stop)
        *_, last = self.engine.stream(prompts, options)
        assert last.completions is not None
        chosen = self._chosen(prompts, rows, last.completions)
        known = mean_probabilities(self.engine, prompts, chosen)
        return [
            Answer(
                task.kept(each.text.strip().partition("\n")[0], self._read(row).options).strip(),
                {"new_tokens": len(each.token_ids), "confidence": value},
            )
            for each, row, value in zip(chosen, rows, known, strict=True)
        ]

    def _prompt(self, text: str, row: Row) -> Prompt:
        return Prompt(text, "base", self.seed)

    def _chosen(
        self, prompts: Sequence[Prompt], rows: Sequence[Row], completions: Sequence[Completion]
    ) -> list[Completion]:
        """Among the candidates of each as the app chooses."""
        task, weight = TASKS[self.test_set.task], self.generation.reverse_weight
        found = []
        for prompt, row, completion in zip(prompts, rows, completions, strict=True):
            read = self._read(row)
            asked_back = reversible(task, read.text, read.options, "plain", prompt)
            found.append((asked_back, read.text, read.options, completion))
        weighed = [(asked, completion) for asked, _, _, completion in found if asked is not None]
        if weight and len(weighed) == len(found):
            return [completion for completion, _ in choose(self.engine, weighed, self.generation)]
        return [preferred(task, text, options, completion) for _, text, options, completion in found]

    def _label(self, texts: Sequence[str], labels: Sequence[str]) -> list[Answer]:
        prompts = [Prompt(text, "base") for text in texts for _ in labels]
        scores = self.engine.score(prompts, [f" {label}" for label in labels] * len(texts))
        answers = []
        for start in range(0, len(scores), len(labels)):
            weights = [math.exp(score.total) for score in scores[start : start + len(labels)]]
            shares = {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}
            best = max(labels, key=shares.__getitem__)
            answers.append(Answer(best, {"probabilities": shares, "confidence": shares[best]}))
        return answers

    def _read(self, row: Row) -> Request:
        return read_of(row, self.test_set.task, self.generation)

    def _fitting(self, item: Item) -> str | None:
        room = self.engine.info.context - min(self.generation.max_new_tokens, self.engine.info.context // 2)
        prompt = self.prompt(item)
        over = self.engine.count_tokens(prompt) - room
        if over <= 0:
            return prompt
        if self.test_set.kind != "summarization":
            return None
        document = item.row["document"]
        limit = self.engine.count_tokens(document) - over - SEAM_TOKENS
        if limit < 1:
            return None
        return plain_prompt(
            item.row | {"document": pack(document, count=self.engine.count_tokens, limit=limit)[0]},
            "summarization",
            self.generation,
        )


@dataclass(frozen=True)
class TextSystem(System):
    """Prose as it is: bits, characters and tokens of each text."""

    variant: Variant = "finetuned"

    def prompt(self, item: Item) -> str:
        """The text itself."""
        return str(item.row["text"])

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Each output is `bits characters tokens`."""
        texts = [self.prompt(item) for item in items]
        found = text_bits(self.engine, texts, variant=self.variant, adapter_strength=self.generation.adapter_strength)
        return [Answer(f"{each.bits!r} {len(text)} {each.tokens}") for each, text in zip(found, texts, strict=True)]


@dataclass(frozen=True)
class ContinuationSystem(System):
    """Prose as it goes on: bits, characters and tokens of what follows the first sentence, given that sentence."""

    variant: Variant = "finetuned"
    system: PromptStyle = "plain"

    def prompt(self, item: Item) -> str:
        """The first sentence as a text that begins, which is what the app asks for; or the instruction with it."""
        return self._prompt(item, self.system)

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Each output is `bits characters tokens`. A template is followed by a space, whatever stood before the rest.

        A rest that is too long is cut at a sentence end, in every form at the same; what else does not fit has no answer.
        """
        rests = {at: rest for at, item in enumerate(items) if (rest := self._fitting(item))}
        outputs = [f" {rest.strip()}" if self.system == "template" else rest for rest in rests.values()]
        prompts = [Prompt(self.prompt(items[at]), self.variant) for at in rests]
        scores = self.engine.score(prompts, outputs, adapter_strength=self.generation.adapter_strength)
        found = {
            at: Answer(f"{-score.total / math.log(2)!r} {len(rest.strip())} {len(score.token_ids)}")
            for (at, rest), score in zip(rests.items(), scores, strict=True)
        }
        return [found.get(at, Answer("0.0 0 0", {"unanswered": TOO_LONG})) for at in range(len(items))]

    def _prompt(self, item: Item, system: PromptStyle) -> str:
        return TASKS["generation"].prompt(item.row["opening"], GenerationTaskOptions("continue"), system)

    def _fitting(self, item: Item) -> str | None:
        """The rest, or as many of its sentences as fit after the longest of all forms' prompts."""
        rest, count = str(item.row["rest"]), self.engine.count_tokens
        prompts = [self._prompt(item, system) for system in get_args(PromptStyle)]
        room = self.engine.info.context - 1 - max(map(count, prompts))  # some tokenizers begin each text with a token
        if count(rest) <= room:
            return rest
        if room <= SEAM_TOKENS:
            return None
        return rest[: -len(rest.lstrip())] + pack(rest, count=count, limit=room - SEAM_TOKENS)[0]


def confidences_in(details: Mapping[SystemName, Sequence[Mapping[str, Any]]]) -> list[float | None] | None:
    """How sure the finetuned model was of each answer, or the base where it alone was asked; None without answers."""
    asked = next((system for system in SYSTEMS if system in details), None)
    return None if asked is None else [each.get("confidence") for each in details[asked]]


def make_system(name: SystemName, engine: Engine, test_set: TestSet, *, seed: int) -> System | None:
    """The form of a name; None where the measure has none of it (prose has no template)."""
    generation = generation_of(test_set, engine)
    variant: Variant = "finetuned" if name == "finetuned" else "base"
    if test_set.kind == "prose":
        return None if name == "base_template" else TextSystem(engine, test_set, generation, seed, variant)
    if test_set.kind == "continuation":
        system: PromptStyle = "template" if name == "base_template" else "plain"
        return ContinuationSystem(engine, test_set, generation, seed, variant, system)
    if name == "base_plain":
        return PlainSystem(engine, test_set, generation, seed)
    return TemplateSystem(engine, test_set, generation, seed, variant)


def generation_of(test_set: TestSet, engine: Engine) -> GenerationOptions:
    """The decoding that the app starts with, with room for 1.5 times the longest reference and 16 tokens more, for all.

    A base does not know where an answer to a template ends: without the bound it runs on to the task's own limit.
    """
    task = "generation" if test_set.kind in SCORED else test_set.task
    shipped = read_adapter_tasks(engine.info.adapter_folder).generation(task)
    if test_set.kind in SCORED:
        return GenerationOptions(adapter_strength=shipped.adapter_strength)
    longest = max(engine.count_tokens(f" {text}") for item in test_set.items for text in item.references)
    bound = min(shipped.max_new_tokens, math.ceil(1.5 * longest) + 16)
    return replace(shipped, max_new_tokens=bound, time_limit_s=TIME_LIMIT_S)


def asked_of(row: Row, task: str) -> tuple[str, TaskOptions]:
    """The person's text and the task's options that ask for what a row holds."""
    asked: dict[str, Callable[[], tuple[str, TaskOptions]]] = {
        "translation": lambda: (row["source"], TranslationOptions(row["source_lang"], row["target_lang"])),
        "summarization": lambda: (row["document"], SummaryOptions("sentence")),
        "question_answering": lambda: (row["context"], QuestionOptions(row["question"])),
        "sentiment": lambda: (row["text"], SentimentOptions()),
    }
    return asked[task]()


def request_of(row: Row, task: str, generation: GenerationOptions) -> Request:
    """What asks for what a row holds."""
    text, options = asked_of(row, task)
    return Request(task, text, options, generation)


def read_of(row: Row, task: str, generation: GenerationOptions) -> Request:
    """The same as the model reads it."""
    return TASKS[task].read(request_of(row, task, generation))


def plain_prompt(row: Row, task: str, generation: GenerationOptions) -> str:
    """The plain form's text of a row, up to where its answer begins."""
    read = read_of(row, task, generation)
    return TASKS[task].prompt(read.text, read.options, "plain")


def _answer(result: Result) -> Answer:
    details: dict[str, Any] = {"new_tokens": result.receipt.new_tokens, "stop_reason": result.receipt.stop_reason}
    if result.probabilities:
        details = {"probabilities": result.probabilities}
    return Answer(result.text, details | {"confidence": result.mean_probability})
