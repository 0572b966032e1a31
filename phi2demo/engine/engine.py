"""What an engine takes and gives: the protocol and its values. Knows nothing of torch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Event
from typing import Literal, Protocol

from phi2demo.errors import SettingsError

Variant = Literal["finetuned", "base", "second"]
"""Which weights answer: base with adapter, base alone, or base with the second adapter."""

VARIANTS: dict[str, tuple[Variant, ...]] = {
    "finetuned": ("finetuned",),
    "base": ("base",),
    "second": ("second",),
    "both": ("finetuned", "base"),
    "all": ("finetuned", "base", "second"),
}
"""What can be asked for in one word, as the uses of a request."""

StopReason = Literal["end", "stop string", "loop", "length", "context", "time", "stopped"]
"""Why a row ended: end token, a stop string, the same words over and over, max_new_tokens, a full context, the time limit,
or the person."""

Output = str | tuple[int, ...]
"""What is scored: a text, or the token ids as they were generated."""

END_OF_TEXT = "<|endoftext|>"
"""The token that ends a text in Phi's vocabulary. Where a prompt begins with it, a model of another vocabulary is given
the token that begins or ends its own texts. Anywhere else in a prompt, this and other special tokens are characters."""

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class GenerationOptions:
    """How tokens are chosen and when to stop. Checked on creation; SettingsError names the option and its range."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 is greedy; above, the softmax is flattened by it."""
    top_p: float = 1.0
    """Sample from the smallest set of tokens that holds this probability."""
    top_k: int = 0
    """Sample from this many likeliest tokens; 0 is all."""
    repetition_penalty: float = 1.0
    """Above 1, tokens already generated are made less likely (Keskar et al., 2019); those of the prompt are not."""
    no_repeat_ngram_size: int = 0
    """No run of so many tokens stands twice in the output (Paulus et al., 2018); 0 allows all."""
    num_beams: int = 1
    """Above 1, beam search: no sampling, no text while it runs."""
    copy_bias: float = 0.0
    """Nats by which what stands in the prompt is preferred; see `engine.copying`."""
    reverse_weight: float = 0.0
    """Above 0, a task that can be asked the other way round also weighs how likely the person's text is given an output
    when it chooses among what the beams end with; see `tasks.reranking`. An engine alone gives the likeliest."""
    min_support: float = 0.0
    """Above 0, a question whose answer the text supports less than this is answered with "not in the text" by an adapter;
    see `tasks.support`. An engine alone gives the answer."""
    adapter_strength: float = 1.0
    """How much of an adapter is added to its base: 0 is the base, 1 as it was finetuned; see `engine.strength`."""
    sentence_case: bool = False
    """Whether a text in capitals, or one without any, is read as sentences are written; see `tasks.casing`. An engine
    alone reads what it is given."""
    stop: tuple[str, ...] = ()
    """Strings that end the output; they are not part of it."""
    time_limit_s: float = 120.0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise SettingsError(f"{name} is {value!r}; give a number from {low} to {high}.")
            if isinstance(low, int) and not isinstance(value, int):
                raise SettingsError(f"{name} is {value!r}; give a whole number from {low} to {high}.")
            if not low <= value <= high:
                raise SettingsError(f"{name} is {value}; give a value from {low} to {high}.")
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} is {getattr(self, name)!r}; give true or false.")
        if not isinstance(self.stop, tuple) or not all(isinstance(text, str) and text for text in self.stop):
            raise SettingsError(f"stop is {self.stop!r}; give a tuple of non-empty strings.")
        if self.num_beams > 1 and self.temperature > 0:
            raise SettingsError("Beam search does not sample: set temperature to 0 or num_beams to 1.")

    def within(self, seconds: float) -> "GenerationOptions":
        """With a time limit of at most so many."""
        return replace(self, time_limit_s=min(self.time_limit_s, seconds))


RANGES: dict[str, tuple[int, int] | tuple[float, float]] = {
    "max_new_tokens": (1, 2048),
    "temperature": (0.0, 2.0),
    "top_p": (0.01, 1.0),
    "top_k": (0, 1000),
    "repetition_penalty": (1.0, 2.0),
    "no_repeat_ngram_size": (0, 10),
    "num_beams": (1, 8),
    "copy_bias": (0.0, 10.0),
    "reverse_weight": (0.0, 2.0),
    "min_support": (0.0, 10.0),
    "adapter_strength": (0.0, 2.0),
    "time_limit_s": (1.0, 3600.0),
}
"""The least and the greatest value of each option; int bounds mean whole numbers."""

SWITCHES = ("sentence_case",)
"""Options that are on or off."""

assert RANGES.keys() | {"stop", *SWITCHES} == {field.name for field in fields(GenerationOptions)}


@dataclass(frozen=True)
class Prompt:
    """One row of a batch."""

    text: str
    variant: Variant = "finetuned"
    seed: int = 0
    """Of this row's own random generator: a row samples the same text alone and in any batch."""
    stop: tuple[str, ...] = ()
    """Strings that end this row, beside those of the options."""


@dataclass(frozen=True)
class Candidate:
    """One of the outputs that the beams of a row ended with; fields as those of `Completion`."""

    text: str
    token_ids: tuple[int, ...]
    stop_reason: StopReason


@dataclass(frozen=True)
class Completion:
    """What one row became."""

    text: str
    """As decoded, without special tokens, stop string, and a character at its end that is not complete."""
    token_ids: tuple[int, ...]
    """As generated, with the end token where there was one."""
    prompt_tokens: int
    stop_reason: StopReason
    seconds: float | None = None
    """From the start of its batch to its own end; None where only the end of the batch is known."""
    candidates: tuple[Candidate, ...] = ()
    """Under beam search as many as there are beams, the likeliest a token first: what this one was chosen from."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a batch at one moment of its generation."""

    texts: tuple[str, ...]
    """All text so far, by row; empty strings under beam search until it ends."""
    new_tokens: int
    """Generated so far, over all rows."""
    seconds: float
    """Since the batch started computing."""
    first_token_s: float | None = None
    completions: tuple[Completion, ...] | None = None
    """Only in the last snapshot."""


@dataclass(frozen=True)
class Score:
    """Log-probability of a given output under a prompt, in nats."""

    token_ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]

    @property
    def total(self) -> float:
        """Log-probability of the whole output."""
        return sum(self.log_probabilities)

    @property
    def log_odds(self) -> tuple[float, ...]:
        """Of every token against all others, log(p / (1 - p)); exact also where p is next to 1."""
        return tuple(value - math.log(-math.expm1(value)) if value else math.inf for value in self.log_probabilities)


@dataclass(frozen=True)
class Tokens:
    """A text as the model reads it."""

    text: str
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """Characters of `text` that each token is of: without gaps, and overlapping where a character is cut into tokens."""


@dataclass(frozen=True)
class AdapterInfo:
    """One adapter, as loaded."""

    name: str
    """Hub id or folder name."""
    revision: str
    """As `ModelInfo.adapter_revision`."""
    rank: int
    folder: Path | None = None
    """Where its files are, its declaration among them."""


@dataclass(frozen=True)
class ModelInfo:
    """Which model answers, as loaded: never what a card claims."""

    base: str
    """Hub id or folder name."""
    base_revision: str
    """Commit of a hub repository, or the first 12 hex digits of the weights' SHA-256."""
    adapter: str | None
    adapter_revision: str | None
    """The same of the adapter; of a folder followed by a hyphen and 8 digits of its settings."""
    adapter_folder: Path | None
    """Where the adapter's files are, its declaration among them."""
    parameters: int
    layers: int
    hidden_size: int
    context: int
    """Tokens that prompt and output may have together."""
    device: str
    dtype: str
    lora_rank: int | None = None
    second: AdapterInfo | None = None
    """On the same base, to compare with."""
    base_folder: Path | None = None
    """Where the base's files are, as far as they are in one."""
    warnings: tuple[str, ...] = ()
    """What a person should know of these weights before they ask, each a sentence."""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What can answer: with a bare base there is nothing to compare."""
        if self.adapter is None:
            return ("base",)
        return VARIANTS["all"] if self.second else VARIANTS["both"]

    def check_variant(self, variant: Variant) -> None:
        """SettingsError where these weights are not loaded."""
        if variant in self.variants:
            return
        if variant == "second":
            raise SettingsError(
                "There is no second adapter here. Choose another model, or start with --second-adapter."
            )
        raise SettingsError(
            f"There is no {variant} model here: no adapter is loaded. Choose base, or start with --adapter."
        )

    def adapter_of(self, variant: Variant) -> tuple[str | None, str | None]:
        """Name and revision of the adapter that a receipt names: that of "base" is the one it is compared with."""
        if variant == "second" and self.second:
            return self.second.name, self.second.revision
        return self.adapter, self.adapter_revision


class Engine(Protocol):
    """A loaded model."""

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, without special tokens."""
        ...

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """The tokens of a text, without special tokens; for token ids, those ids with the text they stand for."""
        ...

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """Generate all rows in one batch; the last snapshot holds the completions.

        Setting `cancel` or closing the iterator stops the computing within a second. Raises InputError where a
        prompt leaves no room in
        the context, SettingsError where a row wants an adapter that is not loaded.
        """
        ...

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """Log-probability of every output under its prompt, in the order given.

        `adapter_strength` is as in `GenerationOptions`. Setting `cancel` ends it within a second with StoppedError; nothing
        of the batch is returned. Raises InputError where a prompt or an output is empty, or both together do not fit the
        context, SettingsError where a row wants an adapter that is not loaded.
        """
        ...

    def forget(self) -> None:
        """Drop what is kept between calls to be faster: the last digits of later scores then depend on it no more."""
        ...
