"""The systems that an evaluation compares: the finetuned model asked by template, its base asked by template, and its base
asked in the plain prompt style that it was pretrained on, up to where the answer begins.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from phi2demo.data.documents import pack
from phi2demo.data.rows import Row
from phi2demo.data.test_sets import Item, TestSet
from phi2demo.engine.engine import END_OF_TEXT, Completion, Engine, GenerationOptions, Prompt, Variant
from phi2demo.errors import DataError, InputError
from phi2demo.evaluation.outputs import SCORED, SYSTEMS, Answer, SystemName
from phi2demo.tasks import TASKS
from phi2demo.tasks.candidates import Answered, choose_both_ways, preferred
from phi2demo.tasks.confidence import mean_probabilities
from phi2demo.tasks.declared import read_variant_tasks, templates_of
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.templates import PLAIN, Template

_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of a text under a model."""

    bits: float
    """Negative log2-probability."""
    tokens: int
    """The number of tokens of the text."""


def text_bits(
    engine: Engine, texts: Sequence[str], *, variant: Variant, adapter_strength: float = 1.0
) -> list[Likelihood]:
    """Compute the likelihood of each whole text; its first token follows the end of another text.

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
    return list(map(Likelihood, bits, tokens))


def cut(text: str, *, count: Callable[[str], int], limit: int, part: int) -> list[str]:
    """Cut `text` into parts of at most `part` tokens where it has more than `limit`; joined, they are `text`."""
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


TIME_LIMIT_S = 3600.0
"""So long that the clock cuts no answer: else figures would differ from run to run."""
TOO_LONG = "does not fit the context"
"""Why there is no answer."""
SEAM_TOKENS = 4
"""Text and prompt may have this many tokens more together than apart."""


@dataclass(frozen=True)
class System(ABC):
    """One model, asked the items of one test set in one way."""

    name: ClassVar[str] = ""
    engine: Engine
    test_set: TestSet
    generation: GenerationOptions
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The decoding, as JSON values for a report."""
        if self.test_set.kind in SCORED:
            return {"adapter_strength": self.generation.adapter_strength}
        return asdict(self.generation) | {"stop": list(self.generation.stop)}

    @abstractmethod
    def prompt(self, item: Item) -> str:
        """Make the prompt, before a long text is cut."""

    @abstractmethod
    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Answer items that are computed together."""


@dataclass(frozen=True)
class TemplateSystem(System):
    """A model asked as in the app: template, cutting of long texts, decoding and clean-up."""

    variant: Variant = "finetuned"

    def prompt(self, item: Item) -> str:
        """Fill the template of the task."""
        read = read_of(item.row, self.test_set.task, self.generation)
        template = templates_of(self.engine.info).of(self.variant)
        return TASKS[self.test_set.task].prompt(read.text, read.options, template)

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Answer as the app does; an item that does not fit the context has no answer."""
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
    """The base in the plain prompt style: the answer is the first line that follows, or the more probable label."""

    def prompt(self, item: Item) -> str:
        """Make the pretraining text, up to the answer."""
        return plain_prompt(item.row, self.test_set.task, self.generation)

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Answer each item; a long document is cut at a sentence end, another item that does not fit has no answer."""
        prompts = {index: prompt for index, item in enumerate(items) if (prompt := self._fitting(item)) is not None}
        answers = self._ask(list(prompts.values()), [items[index].row for index in prompts])
        by_index = dict(zip(prompts, answers, strict=True))
        return [by_index.get(index, Answer("", {"unanswered": TOO_LONG})) for index in range(len(items))]

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
        confidences = mean_probabilities(self.engine, prompts, chosen)
        return [
            Answer(
                task.kept(completion.text.strip().partition("\n")[0], self._read(row).options).strip(),
                {"new_tokens": len(completion.token_ids), "confidence": confidence},
            )
            for completion, row, confidence in zip(chosen, rows, confidences, strict=True)
        ]

    def _prompt(self, text: str, row: Row) -> Prompt:
        guided = self.generation.guidance_scale > 1
        without = TASKS[self.test_set.task].without(self._read(row).options, PLAIN) if guided else ""
        return Prompt(text, "base", self.seed, without=without)

    def _chosen(
        self, prompts: Sequence[Prompt], rows: Sequence[Row], completions: Sequence[Completion]
    ) -> list[Completion]:
        """Choose among the candidates of each completion as the app does."""
        task, requests = TASKS[self.test_set.task], map(self._read, rows)
        answered = [
            Answered(request.text, request.options, PLAIN, prompt, completion)
            for request, prompt, completion in zip(requests, prompts, completions, strict=True)
        ]
        if self.generation.reverse_weight:
            return [choice.completion for choice in choose_both_ways(self.engine, task, answered, self.generation)]
        return [preferred(task, row) for row in answered]

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
    """Prose, scored: bits, characters and tokens of each text."""

    variant: Variant = "finetuned"

    def prompt(self, item: Item) -> str:
        """Give the text itself."""
        return str(item.row["text"])

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Score each text; an output is `bits characters tokens`."""
        texts = [self.prompt(item) for item in items]
        scores = text_bits(self.engine, texts, variant=self.variant, adapter_strength=self.generation.adapter_strength)
        return [Answer(f"{s.bits!r} {len(text)} {s.tokens}") for s, text in zip(scores, texts, strict=True)]


@dataclass(frozen=True)
class ContinuationSystem(System):
    """Continued prose, scored: bits, characters and tokens of what follows the first sentence, given that sentence."""

    variant: Variant = "finetuned"
    is_plain: bool = True
    """Whether the opening is continued as it stands; else within the template."""

    def prompt(self, item: Item) -> str:
        """Give the first sentence alone, as the app does, or within the template."""
        return self._prompt(item, PLAIN if self.is_plain else self._template)

    @property
    def _template(self) -> Template:
        return templates_of(self.engine.info).of(self.variant)

    def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Score each rest of a text; an output is `bits characters tokens`. After a template the rest begins with a space.

        A rest that is too long is cut at a sentence end, at the same one for every system; an item that still does not
        fit has no answer.
        """
        rests = {index: rest for index, item in enumerate(items) if (rest := self._fitting(item))}
        separator = self._template.separator
        outputs = [rest if self.is_plain else f"{separator}{rest.strip()}" for rest in rests.values()]
        prompts = [Prompt(self.prompt(items[index]), self.variant) for index in rests]
        scores = self.engine.score(prompts, outputs, adapter_strength=self.generation.adapter_strength)
        answers = {
            index: Answer(f"{-score.total / math.log(2)!r} {len(rest.strip())} {len(score.token_ids)}")
            for (index, rest), score in zip(rests.items(), scores, strict=True)
        }
        return [answers.get(index, Answer("0.0 0 0", {"unanswered": TOO_LONG})) for index in range(len(items))]

    def _prompt(self, item: Item, template: Template) -> str:
        return TASKS["generation"].prompt(item.row["opening"], GenerationTaskOptions("continue"), template)

    def _fitting(self, item: Item) -> str | None:
        """Give the rest, or as many of its sentences as fit after the longest prompt of all styles."""
        rest, count = str(item.row["rest"]), self.engine.count_tokens
        prompts = [self._prompt(item, template) for template in (PLAIN, self._template)]
        room = self.engine.info.context - 1 - max(map(count, prompts))  # some tokenizers begin each text with a token
        if count(rest) <= room:
            return rest
        if room <= SEAM_TOKENS:
            return None
        return rest[: -len(rest.lstrip())] + pack(rest, count=count, limit=room - SEAM_TOKENS)[0]


def confidences_in(details: Mapping[SystemName, Sequence[Mapping[str, Any]]]) -> list[float | None] | None:
    """Collect the finetuned model's confidence in each answer, or the base's where it alone was asked; None without answers."""
    system = next((system for system in SYSTEMS if system in details), None)
    return None if system is None else [answer.get("confidence") for answer in details[system]]


def make_system(name: SystemName, engine: Engine, test_set: TestSet, *, seed: int) -> System | None:
    """Make a system by name; None where the test set has no such system (prose has no template)."""
    generation = generation_of(test_set, engine)
    variant: Variant = "finetuned" if name == "finetuned" else "base"
    if test_set.kind == "prose":
        return None if name == "base_template" else TextSystem(engine, test_set, generation, seed, variant)
    if test_set.kind == "continuation":
        return ContinuationSystem(engine, test_set, generation, seed, variant, name != "base_template")
    if name == "base_plain":
        return PlainSystem(engine, test_set, generation, seed)
    return TemplateSystem(engine, test_set, generation, seed, variant)


def generation_of(test_set: TestSet, engine: Engine) -> GenerationOptions:
    """Give the app's default decoding, limited for all systems to 1.5 times the longest reference plus 16 tokens.

    A base does not know where an answer to a template ends: without this bound it runs on to the limit of the task.
    """
    task = "generation" if test_set.kind in SCORED else test_set.task
    shipped = read_variant_tasks(engine.info).first.generation(task)
    if test_set.kind in SCORED:
        return GenerationOptions(adapter_strength=shipped.adapter_strength)
    longest = max(engine.count_tokens(f" {text}") for item in test_set.items for text in item.references)
    bound = min(shipped.max_new_tokens, math.ceil(1.5 * longest) + 16)
    return replace(shipped, max_new_tokens=bound, time_limit_s=TIME_LIMIT_S)


def check_rows(test_set: TestSet) -> None:
    """Raise DataError for a row with `task`, `text` and `output` that its task does not accept."""
    for item in test_set.items:
        if "task" in item.row and (problem := TASKS[test_set.task].problem_of_row(item.row)):
            raise DataError(f"{test_set.file.name}: row {item.index + 1} of {test_set.task}: {problem}")


def asked_of(row: Row, task: str) -> tuple[str, TaskOptions]:
    """Give the text and the task's options of a row."""
    return TASKS[task].from_row(row)


def request_of(row: Row, task: str, generation: GenerationOptions) -> Request:
    """Make the request of a row."""
    text, options = asked_of(row, task)
    return Request(task, text, options, generation)


def read_of(row: Row, task: str, generation: GenerationOptions) -> Request:
    """Make the request of a row, with the text as the model reads it."""
    return TASKS[task].read(request_of(row, task, generation))


def plain_prompt(row: Row, task: str, generation: GenerationOptions) -> str:
    """Write a row in the plain prompt style, up to where its answer begins."""
    read = read_of(row, task, generation)
    return TASKS[task].prompt(read.text, read.options, PLAIN)


def _answer(result: Result) -> Answer:
    details: dict[str, Any] = {"new_tokens": result.receipt.new_tokens, "stop_reason": result.receipt.stop_reason}
    if result.probabilities:
        details = {"probabilities": result.probabilities}
    return Answer(result.text, details | {"confidence": result.mean_probability})
