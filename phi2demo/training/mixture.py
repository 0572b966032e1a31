"""Finetuning examples drawn from many data sets by task, as batches of token ids; knows no model.

Each batch depends on the seed and the step alone, so that a resumed run sees the batches of an unbroken one.
"""

from collections import Counter
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
from phi2demo.errors import DataError
from phi2demo.tasks.task import PromptLimit
from phi2demo.tasks.templates import PHI, Template
from phi2demo.training.batch import Batch
from phi2demo.training.instructions import EMPHASIS, Example, maker_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


SOURCE_WEIGHTS = {
    "tinystories": 3.0,
    "wikipedia2015_leads": 3.0,
    "gutenberg_children": 2.0,
    "african_storybook.en-fr": 0.1,  # a thousand pairs, freely translated
    "english_novels": 0.5,
}
"""Weight of a data set within its task, by the start of its name; 1 for other data sets."""

_MAX_FAILED_ROWS = 1000
"""After this many rows in a row without an example, drawing ends."""
_TRIES_PER_ROW = 4
"""How often an example of the same row is tried: a random start may lie too near the end of its text."""


@dataclass(frozen=True)
class TokenizedExample:
    """An example as token ids."""

    task: str
    ids: list[int]
    """Prompt, output and end token."""
    prompt_length: int


@dataclass(frozen=True)
class Mixture:
    """Examples of one split of the data sets, drawn by the weights of their tasks."""

    sources: Sequence[Source]
    """Each has rows in the split."""
    weights: Mapping[str, float]
    """Weight of each task; see `task_weights`."""
    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    batch_size: int
    seed: int
    split: Split = "train"
    template: Template = PHI
    """Around the instruction of each example."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, with targets and weights as `collate` sets them; DataError if no row fits."""
        random = np.random.default_rng([self.seed, step])
        return collate([self._draw(random) for _ in range(self.batch_size)], self._pad_id)

    def sample(self, task: str, size: int) -> Batch | None:
        """Return at most `size` examples of a task, the same in every call and each of another row; None without any."""
        examples = list(islice(self._examples_of_rows(task), size))
        return collate(examples, self._pad_id) if examples else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that have rows and a weight above 0, in the order of `weights`."""
        return tuple(task for task, weight in self.weights.items() if weight > 0 and self._sources_of[task])

    @property
    def tasks_without_examples(self) -> tuple[str, ...]:
        """Those of `tasks` for which no row gives an example."""
        return tuple(task for task in self.tasks if self.sample(task, 1) is None)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the examples that is drawn from each data set, by its name."""
        shares: dict[str, float] = {}
        for task in self.tasks:
            weights = {source.name: source_weight(source.name) for source in self._sources_of[task]}
            for name, weight in weights.items():
                shares[name] = shares.get(name, 0.0) + self.weights[task] * weight / sum(weights.values())
        return {name: share / sum(shares.values()) for name, share in shares.items()}

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of all languages that are translated from or into."""
        codes: set[str] = set()
        for source in self._sources_of.get("translation", ()):
            codes.update(row[field] for row in source.rows[self.split] for field in ("source_lang", "target_lang"))
        return tuple(code for code in LANGUAGES if code in codes)

    def _draw(self, random: np.random.Generator) -> TokenizedExample:
        """Draw one example; a row without an example that fits is skipped."""
        for _ in range(_MAX_FAILED_ROWS):
            shares = np.array([self.weights[name] for name in self.tasks])
            task = self.tasks[random.choice(len(shares), p=shares / shares.sum())]
            rows = _choose(self._sources_of[task], random).rows[self.split]
            example = self._example(task, rows[int(random.integers(len(rows)))], random)
            if example:
                return example
        raise DataError(
            f"{_MAX_FAILED_ROWS} rows in a row gave no example of at most {self.max_length} tokens. "
            "Give shorter texts or, where the base reads more, a larger --max-length."
        )

    def _examples_of_rows(self, task: str) -> Iterator[TokenizedExample]:
        """Yield one example of each row in random order, until `_MAX_FAILED_ROWS` rows in a row give none."""
        random = np.random.default_rng([self.seed, 0])
        remaining = {
            source.name: list(random.permutation(len(source.rows[self.split]))) for source in self._sources_of[task]
        }
        failed = 0
        while failed < _MAX_FAILED_ROWS and (sources := [s for s in self._sources_of[task] if remaining[s.name]]):
            source = _choose(sources, random)
            row = source.rows[self.split][remaining[source.name].pop()]
            tries = (self._example(task, row, random) for _ in range(_TRIES_PER_ROW))
            if example := next(filter(None, tries), None):
                failed = 0
                yield example
            else:
                failed += 1

    def _example(self, task: str, row: Row, random: np.random.Generator) -> TokenizedExample | None:
        """Make an example of a row; None if it gives none of at most `max_length` tokens."""
        example = maker_of(task).make(row, random, self._prompt_limit)
        tokenized = self._tokenize(task, example) if example else None
        return tokenized if tokenized and len(tokenized.ids) <= self.max_length else None

    def _tokenize(self, task: str, example: Example) -> TokenizedExample:
        prompt = example.prompt or END_OF_TEXT  # the end token of one text starts the next
        (prompt_ids,) = self._encoder.encode_prompts([prompt])
        output_ids = self._ids(f"{example.separator if prompt != END_OF_TEXT else ''}{example.output}")
        ids = [*prompt_ids, *output_ids, *([self._end_id] if example.ended else [])]
        return TokenizedExample(task, ids, len(prompt_ids))

    def _ids(self, text: str) -> list[int]:
        return list(self._encoder.encode(text).ids)

    @cached_property
    def _encoder(self) -> TextEncoder:
        """Reads a special token in a row as characters, as the app does in what a person types."""
        return TextEncoder(self.tokenizer)

    @cached_property
    def _sources_of(self) -> dict[str, list[Source]]:
        return {
            task: [source for source in self.sources if source.kind == maker_of(task).row_kind] for task in self.weights
        }

    @cached_property
    def _prompt_limit(self) -> PromptLimit:
        """Tokens for prompt and output, without the end token and those that the tokenizer sets before a text."""
        (beginning,) = self._encoder.encode_prompts([""])
        return PromptLimit(self._encoder.count, self.max_length - 1 - len(beginning), template=self.template)

    @property
    def _end_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def _pad_id(self) -> int:
        """Padding token; Phi-2's tokenizer has none, so the end token is used and masked."""
        pad = self.tokenizer.pad_token_id
        return self._end_id if pad is None else int(pad)


def collate(examples: Sequence[TokenizedExample], pad_id: int) -> Batch:
    """Make a batch of rows padded on the right, with targets on the outputs only.

    A task's share of the loss is its share of the rows times its `EMPHASIS`, whatever the length of its outputs: each
    target weighs emphasis * (rows of its task in the batch) / (targets of its task in the batch).
    """
    import torch

    shape = (len(examples), max(len(example.ids) for example in examples) - 1)
    inputs, labels = np.full(shape, pad_id, dtype=np.int64), np.full(shape, -100, dtype=np.int64)
    mask, weights = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    rows = Counter(example.task for example in examples)
    targets: Counter[str] = Counter()
    for example in examples:
        targets[example.task] += len(example.ids) - example.prompt_length
    for row, example in enumerate(examples):
        length, first_target = len(example.ids) - 1, example.prompt_length - 1
        inputs[row, :length], mask[row, :length] = example.ids[:-1], 1
        labels[row, first_target:length] = example.ids[example.prompt_length :]
        weights[row, first_target:length] = EMPHASIS.get(example.task, 1.0) * rows[example.task] / targets[example.task]
    return Batch(*map(torch.from_numpy, (inputs, labels, mask, weights)))


def source_weight(name: str) -> float:
    """Return the weight of a data set within its task."""
    return next((weight for prefix, weight in SOURCE_WEIGHTS.items() if name.startswith(prefix)), 1.0)


def _choose(sources: Sequence[Source], random: np.random.Generator) -> Source:
    weights = np.array([source_weight(source.name) for source in sources])
    return sources[random.choice(len(weights), p=weights / weights.sum())]
