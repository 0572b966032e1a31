"""A batch to be generated, and what an engine in this process needs of a model that can generate and score it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Protocol

import torch

from phi2demo.engine.engine import GenerationOptions, ModelInfo, Score, Snapshot
from phi2demo.engine.sampling import WatchWithoutGuides
from phi2demo.engine.scoring import ScoringRow
from phi2demo.engine.watch import PartialWatch, Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Job:
    """One batch to generate."""

    input_ids: torch.Tensor
    """(rows, tokens), padded on the left, on the device; with guides, they stand behind the rows."""
    attention_mask: torch.Tensor
    adapters: list[str]
    """Of each row and guide."""
    options: GenerationOptions
    seeds: list[int]
    """Of each row and guide."""
    max_new_tokens: int
    """The requested number, or the tokens that still fit into the context."""
    end_ids: frozenset[int]
    watch: Watch
    """Of all rows of the batch, without guides."""
    numbers: tuple[int, ...] | None = None
    """Numbers of these rows in the batch, where they are a part of it."""

    @property
    def rows(self) -> int:
        """Without guides."""
        return len(self.adapters) // 2 if self.options.guidance_scale > 1 else len(self.adapters)

    @property
    def follower(self) -> Watch | PartialWatch | WatchWithoutGuides:
        """What sees every row and guide."""
        watch = self.watch if self.numbers is None else PartialWatch(self.watch, self.numbers)
        return watch if self.rows == len(self.adapters) else WatchWithoutGuides(watch, self.rows)

    def part(self, rows: list[int]) -> "Job":
        """Return the job for some of the rows, with their guides."""
        if len(rows) == self.rows:
            return self
        chosen = rows if self.rows == len(self.adapters) else [*rows, *(row + self.rows for row in rows)]
        return replace(
            self,
            input_ids=self.input_ids[chosen],
            attention_mask=self.attention_mask[chosen],
            adapters=[self.adapters[row] for row in chosen],
            seeds=[self.seeds[row] for row in chosen],
            numbers=tuple(rows),
        )


class LocalModel(Protocol):
    """A loaded model that computes batches of token ids. Only one thread may use it at a time."""

    @property
    def info(self) -> ModelInfo:
        """Describe the model."""
        ...

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Return its tokenizer."""
        ...

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """Return the tokens that end a text or an answer."""
        ...

    @property
    def pad_token_id(self) -> int:
        """Return the token that fills shorter rows."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens for which the model has an embedding."""
        ...

    @property
    def device(self) -> torch.device:
        """Return the device on which batches are expected."""
        ...

    def check(self, adapters: Sequence[str], options: GenerationOptions) -> None:
        """Raise SettingsError where rows of these adapters cannot be generated with these options."""
        ...

    def generate(self, job: Job) -> Snapshot:
        """Generate all rows until `job.watch` ends them, and return its last snapshot."""
        ...

    def score(self, rows: Sequence[ScoringRow], *, strength: float, cancel: Event | None) -> list[Score]:
        """Compute the log-probability of every output token, in the order of `rows`. Raises StoppedError, SettingsError."""
        ...

    def forget(self) -> None:
        """See `Engine.forget`."""
        ...
