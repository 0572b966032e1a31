"""The interface of an engine: the protocol, and the values that it takes and returns. Knows nothing of torch."""

import math
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Literal, Protocol

from phi2demo.errors import SettingsError, quoted

Variant = str
"""The weights that answer: "base", "finetuned" (the base with its first adapter), or the name of a further adapter."""

CHOICES = ("finetuned", "base", "both", "all")
"""Words for the variants that a request asks for, besides the names of further adapters."""


def variants_named(choice: str, others: Sequence[Variant] = ()) -> tuple[Variant, ...]:
    """Return the variants of one word: a variant, "both" (finetuned and base), "all", or "NAME+base" for two.

    `others` are the names of further adapters. Raises SettingsError for any other word.
    """
    known: dict[str, tuple[Variant, ...]] = {
        "finetuned": ("finetuned",),
        "base": ("base",),
        "both": ("finetuned", "base"),
        "all": ("finetuned", "base", *others),
        **{name: (name,) for name in others},
        **{f"{name}+base": (name, "base") for name in others},
    }
    if not isinstance(choice, str) or choice not in known:
        raise SettingsError(f"There is no model {quoted(choice)} here; choose one of {', '.join(known)}.")
    return known[choice]


def adapter_variants(names: Sequence[str]) -> tuple[Variant, ...]:
    """Return the variant of each further adapter: the last part of its hub id or folder, with a number where it is taken."""
    variants: list[Variant] = []
    for name in names:
        last = name.rstrip("/").rpartition("/")[2] or name
        taken = {*CHOICES, "difference", "reference", "nothing", *variants}
        number = next(number for number in count(1) if (last if number == 1 else f"{last}-{number}") not in taken)
        variants.append(last if number == 1 else f"{last}-{number}")
    return tuple(variants)


StopReason = Literal["end", "stop string", "loop", "length", "context", "time", "stopped"]
"""Why a row ended: the end token, a stop string, an endless repetition, max_new_tokens, a full context, the time limit, or
the user."""

Output = str | tuple[int, ...]
"""An output to be scored: a text, or token ids as they were generated."""

END_OF_TEXT = "<|endoftext|>"
"""Phi's token for the end of a text. At the beginning of a prompt it is replaced by the token with which a model's own
texts begin. Anywhere else in a prompt, this and all other special tokens are read as ordinary characters, unless
`special` marks them."""

MARK = f"\x00{secrets.token_hex(8)}:"
"""What comes before a marked special token; a new one in every process, so that no text of a person can contain it."""
_MARKED = re.compile(f"{MARK}(.*?)\x01", re.DOTALL)


def special(token: str) -> str:
    """Mark a special token in a prompt, such as `<|im_start|>` in a template, so that the model reads it as that token.

    Where a tokenizer has no such token, its characters are read instead. The empty token at the beginning of a prompt
    says that the prompt begins as it stands: no token is added before it.
    """
    return f"{MARK}{token}\x01"


AS_IT_STANDS = special("")


def visible(prompt: str, replace_token: Callable[[str], str] = str) -> str:
    """Return a prompt with its marked special tokens as plain characters, or as `replace_token` writes them."""
    return _MARKED.sub(lambda match: replace_token(match[1]), prompt)


MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class GenerationOptions:
    """How tokens are chosen and when generation stops. Raises SettingsError, which names the option and its range."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 always takes the most likely token; a value above 0 samples from the softmax of the logits divided by it."""
    top_p: float = 1.0
    """Sample only from the smallest set of tokens whose probabilities add up to this."""
    top_k: int = 0
    """Sample only from this many of the most likely tokens; 0 samples from all."""
    repetition_penalty: float = 1.0
    """Above 1, tokens of the output so far become less likely (Keskar et al., 2019); those of the prompt do not."""
    no_repeat_ngram_size: int = 0
    """The output contains no sequence of this many tokens twice (Paulus et al., 2018); 0 allows all."""
    num_beams: int = 1
    """Above 1, beam search, which neither samples nor shows text before it ends."""
    guidance_scale: float = 1.0
    """Above 1, tokens that the user's text makes more likely are preferred; see `engine.sampling.Guidance`. Doubles the work."""
    copy_bias: float = 0.0
    """Nats that are added to tokens of the prompt; see `engine.sampling.CopyBias`."""
    reverse_weight: float = 0.0
    """Above 0, a task that can also be run backwards chooses among its beams by the probability of the user's text given
    each output as well; see `tasks.candidates`. An engine alone takes the most likely output."""
    min_support: float = 0.0
    """Above 0, an adapter answers "not in the text" to a question whose answer has less support in the text than this;
    see `tasks.confidence`. An engine alone returns the answer."""
    adapter_strength: float = 1.0
    """Share of the adapter that is added to its base: 0 is the base, 1 is as finetuned; see `engine.strength`."""
    sentence_case: bool = False
    """Whether a text in capitals, or without any, is changed to sentence case first; see `tasks.casing`. An engine alone
    reads the text as it is."""
    stop: tuple[str, ...] = ()
    """Strings that end the output and are not part of it."""
    time_limit_s: float = 120.0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise SettingsError(f"{name} is {quoted(value)}; give a number from {low} to {high}.")
            if isinstance(low, int) and not isinstance(value, int):
                raise SettingsError(f"{name} is {quoted(value)}; give a whole number from {low} to {high}.")
            if not low <= value <= high:
                raise SettingsError(f"{name} is {value}; give a value from {low} to {high}.")
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} is {quoted(getattr(self, name))}; give true or false.")
        if not isinstance(self.stop, tuple) or not all(isinstance(text, str) and text for text in self.stop):
            raise SettingsError(f"stop is {quoted(self.stop)}; give a tuple of non-empty strings.")
        if self.num_beams > 1 and self.temperature > 0:
            raise SettingsError("Beam search does not sample: set temperature to 0 or num_beams to 1.")

    def within(self, seconds: float) -> "GenerationOptions":
        """Return these options with a time limit of at most `seconds`."""
        return replace(self, time_limit_s=min(self.time_limit_s, seconds))


RANGES: dict[str, tuple[int, int] | tuple[float, float]] = {
    "max_new_tokens": (1, 2048),
    "temperature": (0.0, 2.0),
    "top_p": (0.01, 1.0),
    "top_k": (0, 1000),
    "repetition_penalty": (1.0, 2.0),
    "no_repeat_ngram_size": (0, 10),
    "num_beams": (1, 8),
    "guidance_scale": (1.0, 5.0),
    "copy_bias": (0.0, 10.0),
    "reverse_weight": (0.0, 2.0),
    "min_support": (0.0, 10.0),
    "adapter_strength": (0.0, 2.0),
    "time_limit_s": (1.0, 3600.0),
}
"""Lowest and highest value of each option; int bounds mean whole numbers."""

SWITCHES = ("sentence_case",)
"""Options that are true or false."""

assert RANGES.keys() | {"stop", *SWITCHES} == {field.name for field in fields(GenerationOptions)}


@dataclass(frozen=True)
class Prompt:
    """One row of a batch: a prompt, and which weights answer it."""

    text: str
    variant: Variant = "finetuned"
    seed: int = 0
    """Seed of this row's own random generator, so that it samples the same text alone and in any batch."""
    stop: tuple[str, ...] = ()
    """Strings that end this row, besides those of the options."""
    without: str = ""
    """The same prompt without the user's text, for guidance; an empty one leaves the row unguided."""


@dataclass(frozen=True)
class Candidate:
    """One of the finished beams of a row; the fields are as in `Completion`."""

    text: str
    token_ids: tuple[int, ...]
    stop_reason: StopReason


@dataclass(frozen=True)
class Completion:
    """The output of one row."""

    text: str
    """Decoded text without special tokens, stop string, or an incomplete character at its end."""
    token_ids: tuple[int, ...]
    """Generated ids, with the end token where there is one."""
    prompt_tokens: int
    stop_reason: StopReason
    seconds: float | None = None
    """From the start of the batch to the end of this row; None where only the end of the batch is known."""
    candidates: tuple[Candidate, ...] = ()
    """With beam search all finished beams, one per beam, ordered by mean log-probability per token."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a batch during generation."""

    texts: tuple[str, ...]
    """Text so far, by row; empty under beam search until it ends."""
    new_tokens: int
    """Number of tokens generated so far, over all rows."""
    seconds: float
    """Seconds since the batch started."""
    first_token_s: float | None = None
    completions: tuple[Completion, ...] | None = None
    """Set only in the last snapshot."""


@dataclass(frozen=True)
class Score:
    """Log-probabilities of the tokens of a given output under a prompt, in nats."""

    token_ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]

    @property
    def total(self) -> float:
        """Return the log-probability of the whole output."""
        return sum(self.log_probabilities)

    @property
    def log_odds(self) -> tuple[float, ...]:
        """Return log(p / (1 - p)) of each token; accurate also where p is close to 1."""
        return tuple(value - math.log(-math.expm1(value)) if value else math.inf for value in self.log_probabilities)


@dataclass(frozen=True)
class Tokens:
    """A text as the tokens that the model reads."""

    text: str
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """Start and end in `text` of each token: without gaps, overlapping where several tokens share a character."""


@dataclass(frozen=True)
class AdapterInfo:
    """A further adapter that is loaded beside the first."""

    variant: Variant
    """What requests call it."""
    name: str
    """Hub id or folder name."""
    revision: str
    """Commit or hash, as in `ModelInfo.adapter_revision`."""
    rank: int
    folder: Path | None = None
    """Folder with its files, among them its `tasks.json`."""
    kind: str = "LoRA"
    """Name of the method, such as LoRA, DoRA or prefix tuning."""


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template around one question, rendered by the tokenizer, with its special tokens marked."""

    text: str
    """With `{prompt}` in the place of the question; ends where the answer begins."""
    text_with_system: str = ""
    """With `{system}` too; empty where the template takes no system text."""


@dataclass(frozen=True)
class ModelInfo:
    """The loaded model, described by its files and never by its card."""

    base: str
    """Hub id or folder name."""
    base_revision: str
    """Commit on the hub, or the first 12 hex digits of the SHA-256 of the weights."""
    adapter: str | None
    adapter_revision: str | None
    """Commit on the hub; for a folder the hash of its weights, a hyphen, and 8 hex digits for its settings."""
    adapter_folder: Path | None
    """Folder with the adapter's files, among them its `tasks.json`."""
    parameters: int
    layers: int
    hidden_size: int
    context: int
    """Most tokens that a prompt and its output may have together."""
    device: str
    dtype: str
    """Number format of the weights: that of torch, or int8 or int4."""
    lora_rank: int | None = None
    """Rank of the adapter; 0 where its kind has none."""
    adapter_kind: str | None = None
    """Name of the adapter's method, such as LoRA, DoRA or prefix tuning."""
    others: tuple[AdapterInfo, ...] = ()
    """Further adapters on the same base."""
    base_folder: Path | None = None
    """Folder with the base's files; None where there is no such folder."""
    warnings: tuple[str, ...] = ()
    """Sentences that the user should read before using these weights."""
    engine: str = "transformers"
    """The library that generates, with its version where another one may write another text."""
    architecture: str = "phi"
    """The `model_type` of the base's config.json."""
    special_tokens: frozenset[str] = frozenset({END_OF_TEXT})
    """The special tokens of the tokenizer."""
    chat: ChatTemplate | None = None
    """The chat template of the tokenizer; None where it has none."""
    template: str | None = None
    """The prompt template that the person named when they started; None leaves it to the adapter and the tokenizer."""
    system: str | None = None
    """The system text that the person gave."""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return the variants that can answer; a base without an adapter has nothing to be compared with."""
        if self.adapter is None:
            return ("base",)
        return ("finetuned", "base", *(other.variant for other in self.others))

    @property
    def is_wholly_finetuned(self) -> bool:
        """Return whether "finetuned" is a model of its own, beside its base, and no adapter."""
        return self.adapter is not None and self.lora_rank is None

    def check_variant(self, variant: Variant) -> None:
        """Raise SettingsError where the weights of `variant` are not loaded."""
        if variant in self.variants:
            return
        if variant == "finetuned":
            raise SettingsError(
                "There is no finetuned model here: no adapter is loaded. Choose base, or start with --adapter."
            )
        raise SettingsError(
            f"There is no adapter {quoted(variant)} here. Choose one of {', '.join(self.variants)}, or start with another "
            "--adapter."
        )

    def adapter_of(self, variant: Variant) -> tuple[str | None, str | None]:
        """Return name and revision of the adapter for a receipt; "base" gets the adapter that it is compared with."""
        others = {other.variant: (other.name, other.revision) for other in self.others}
        return others.get(variant, (self.adapter, self.adapter_revision))


class Engine(Protocol):
    """A loaded model that generates and scores."""

    @property
    def info(self) -> ModelInfo:
        """Describe the loaded model."""
        ...

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text`, without special tokens."""
        ...

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """Split a text into tokens, without special tokens; or decode token ids into a text with their spans."""
        ...

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """Generate all rows in one batch; the last snapshot holds the completions.

        Setting `cancel` or closing the iterator stops the computation within a second. Raises InputError where a prompt
        is empty or leaves no room in the context, SettingsError where an adapter is not loaded.
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
        """Compute the log-probability of each output under its prompt, in the given order.

        `adapter_strength` is as in `GenerationOptions`. Setting `cancel` raises StoppedError within a second. Raises
        InputError where a prompt or an output is empty or both together exceed the context, SettingsError where an
        adapter is not loaded.
        """
        ...

    def forget(self) -> None:
        """Drop what is cached between calls; afterwards scores do not depend on earlier calls, not even in the last digit."""
        ...
