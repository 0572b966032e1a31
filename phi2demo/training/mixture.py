"""Batches of examples drawn from many data sets by task: every batch follows from (seed, step) alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from phi2demo.data.corpus import Source, Split
from phi2demo.data.languages import LANGUAGES
from phi2demo.data.rows import Row
from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.engine.text_encoder import TextEncoder
from phi2demo.errors import DataError, SettingsError
from phi2demo.tasks.task import PromptLimit
from phi2demo.training.batch import Batch
from phi2demo.training.instructions import FORMS, REPLAY, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASK_WEIGHTS = {
    "translation": 0.70,
    "generation": 0.07,
    "summarization": 0.05,
    "sentiment": 0.07,
    "question_answering": 0.04,
    REPLAY: 0.07,
}
"""Share of the examples of each task; shares of tasks without data go to the others."""

EMPHASIS = {"generation": 2.0, "summarization": 1.5, "question_answering": 1.5, REPLAY: 2.0}
"""How much more than others an example weighs in the loss: of long ones few are drawn, as each takes more time."""

SOURCE_WEIGHTS = {
    "tinystories": 3.0,
    "wikipedia2015_leads": 3.0,
    "gutenberg_children": 2.0,
    "african_storybook.en-fr": 0.1,  # a thousand pairs, freely translated
    "english_novels": 0.5,
}
"""Weight of a data set within its task, by the start of its name; 1 where it is not named here."""

_MAX_DRAWS = 1000
_TRIES = 4
"""With a row of which each row counts: what is drawn from a text may lie too near its end."""


@dataclass(frozen=True)
class Tokens:
    """An example as token ids."""

    task: str
    ids: list[int]
    """Prompt, output and end token."""
    prompt_length: int


@dataclass(frozen=True)
class Mixture:
    """Examples of one split of the data sets, by the weights of their tasks."""

    sources: Sequence[Source]
    """Each with rows in the split."""
    weights: Mapping[str, float]
    """By task; those of `task_weights`."""
    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    batch_size: int
    seed: int
    split: Split = "train"

    def at(self, step: int) -> Batch:
        """The batch of a step; see `collate` for its loss."""
        random = np.random.default_rng([self.seed, step])
        return collate([self._draw(random) for _ in range(self.batch_size)], self._pad_id)

    def sample(self, task: str, size: int) -> Batch | None:
        """The same examples of one task every time, each of another row, `size` at most; None where no row gives one."""
        found = list(islice(self._of_each_row(task), size))
        return collate(found, self._pad_id) if found else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those with rows and a weight, in the order of their weights' dict."""
        return tuple(task for task, weight in self.weights.items() if weight > 0 and self._sources_of[task])

    @property
    def barren(self) -> tuple[str, ...]:
        """Of these tasks, those that no row gives an example of."""
        return tuple(task for task in self.tasks if self.sample(task, 1) is None)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the examples drawn from each data set, by name."""
        found: dict[str, float] = {}
        for task in self.tasks:
            parts = {source.name: source_weight(source.name) for source in self._sources_of[task]}
            for name, part in parts.items():
                found[name] = found.get(name, 0.0) + self.weights[task] * part / sum(parts.values())
        return {name: share / sum(found.values()) for name, share in found.items()}

    @property
    def languages(self) -> tuple[str, ...]:
        """Of all translations, as codes."""
        found: set[str] = set()
        for source in self._sources_of["translation"]:
            found.update(row[end] for row in source.rows[self.split] for end in ("source_lang", "target_lang"))
        return tuple(code for code in LANGUAGES if code in found)

    def _draw(self, random: np.random.Generator) -> Tokens:
        """One example; a row that gives none that fits is passed over."""
        for _ in range(_MAX_DRAWS):
            shares = np.array([self.weights[name] for name in self.tasks])
            task = self.tasks[random.choice(len(shares), p=shares / shares.sum())]
            source = _choose(self._sources_of[task], random)
            rows = source.rows[self.split]
            tokens = self._example(task, rows[int(random.integers(len(rows)))], random)
            if tokens:
                return tokens
        raise DataError(
            f"{_MAX_DRAWS} rows in a row gave no example of at most {self.max_length} tokens. "
            "Give shorter texts or, where the base reads more, a larger --max-length."
        )

    def _of_each_row(self, task: str) -> Iterator[Tokens]:
        """An example of each row in a drawn order, until there are no more or `_MAX_DRAWS` rows in a row gave none."""
        random = np.random.default_rng([self.seed, 0])
        left = {
            source.name: list(random.permutation(len(source.rows[self.split]))) for source in self._sources_of[task]
        }
        fruitless = 0
        while fruitless < _MAX_DRAWS and (sources := [s for s in self._sources_of[task] if left[s.name]]):
            source = _choose(sources, random)
            row = source.rows[self.split][left[source.name].pop()]
            tokens = next(filter(None, (self._example(task, row, random) for _ in range(_TRIES))), None)
            fruitless = 0 if tokens else fruitless + 1
            if tokens:
                yield tokens

    def _example(self, task: str, row: Row, random: np.random.Generator) -> Tokens | None:
        example = FORMS[task][1](row, random, self._budget)
        return self._tokenize(task, example) if example else None

    def _tokenize(self, task: str, example: Example) -> Tokens | None:
        asked = example.prompt.removeprefix(END_OF_TEXT)
        begins = asked != example.prompt or not asked  # a text begins where another one ends
        prompt = [*([self._end_id] if begins else []), *(self._ids(asked) if asked else [])]
        output = self._ids(f"{example.between if asked else ''}{example.output}")
        ids = [*prompt, *output, *([self._end_id] if example.ended else [])]
        return Tokens(task, ids, len(prompt)) if len(ids) <= self.max_length else None

    def _ids(self, text: str) -> list[int]:
        return list(self._encoder.encode(text).ids)

    @cached_property
    def _encoder(self) -> TextEncoder:
        """A special token that stands in a row is characters, as it is in what a person asks."""
        return TextEncoder(self.tokenizer)

    @cached_property
    def _sources_of(self) -> dict[str, list[Source]]:
        return {task: [s for s in self.sources if s.kind == FORMS[task][0]] for task in TASK_WEIGHTS}

    @cached_property
    def _budget(self) -> PromptLimit:
        """Room for prompt and output, less the end token."""
        return PromptLimit(lambda text: len(self._ids(text)), self.max_length - 1)

    @property
    def _end_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def _pad_id(self) -> int:
        """Phi-2's tokenizer has no padding token: the end token stands there, masked."""
        pad = self.tokenizer.pad_token_id
        return self._end_id if pad is None else int(pad)


def collate(examples: Sequence[Tokens], pad_id: int) -> Batch:
    """Rows padded on the right, with targets on the outputs only.

    A task's share of the loss is its share of the rows times its `EMPHASIS`, whatever the length of its outputs: each
    target weighs emphasis * (rows of its task in the batch) / (targets of its task in the batch).
    """
    import torch

    shape = (len(examples), max(len(example.ids) for example in examples) - 1)
    inputs, labels = np.full(shape, pad_id, dtype=np.int64), np.full(shape, -100, dtype=np.int64)
    mask, weights = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    rows: dict[str, int] = {}
    targets: dict[str, int] = {}
    for example in examples:
        rows[example.task] = rows.get(example.task, 0) + 1
        targets[example.task] = targets.get(example.task, 0) + len(example.ids) - example.prompt_length
    for row, example in enumerate(examples):
        read = len(example.ids) - 1
        inputs[row, :read], mask[row, :read] = example.ids[:-1], 1
        labels[row, example.prompt_length - 1 : read] = example.ids[example.prompt_length :]
        weights[row, example.prompt_length - 1 : read] = (
            EMPHASIS.get(example.task, 1.0) * rows[example.task] / targets[example.task]
        )
    return Batch(*map(torch.from_numpy, (inputs, labels, mask, weights)))


def task_weights(overrides: Mapping[str, float]) -> dict[str, float]:
    """`TASK_WEIGHTS` with some of them replaced; SettingsError for an unknown task or a weight below 0."""
    for task, weight in overrides.items():
        if task not in TASK_WEIGHTS:
            raise SettingsError(f"--mix {task}={weight}: {task!r} is no task; give one of {', '.join(TASK_WEIGHTS)}.")
        if not 0 <= weight < math.inf:
            raise SettingsError(f"--mix {task}={weight}: give a weight from 0.")
    return TASK_WEIGHTS | dict(overrides)


def _choose(sources: Sequence[Source], random: np.random.Generator) -> Source:
    parts = np.array([source_weight(source.name) for source in sources])
    return sources[random.choice(len(parts), p=parts / parts.sum())]


def source_weight(name: str) -> float:
    """The weight of a data set within its task."""
    return next((weight for prefix, weight in SOURCE_WEIGHTS.items() if name.startswith(prefix)), 1.0)
