"""The choice of the next token from the logits, by guidance, biases, penalties and sampling.

Each row has its own random generator, so that it does not depend on the other rows of its batch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from phi2demo.engine.engine import GenerationOptions
from phi2demo.engine.watch import PartialWatch, Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Guidance(LogitsProcessor):
    """Classifier-free guidance (Sanchez et al., 2023): prefer tokens that the user's text makes more likely.

    Each row has a guide, the same prompt without the user's text, and both choose the same token.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return guided log-probabilities, of shape (2 x rows, vocabulary) like the scores."""
        with_text, without_text = scores.float().log_softmax(-1).chunk(2)
        guided = (without_text + self._scale * (with_text - without_text)).log_softmax(-1)
        return torch.cat([guided, guided])  # type: ignore[return-value]


class WatchWithoutGuides(StoppingCriteria):
    """Passes only the rows, not their guides, to a watch; a guide is done when its row is."""

    def __init__(self, watch: Watch | PartialWatch, rows: int) -> None:
        """`rows` is the number of rows without guides."""
        self._watch, self._rows = watch, rows

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object) -> torch.BoolTensor:
        """Return which rows and guides are done, of shape (2 x rows x beams,)."""
        half: torch.LongTensor = input_ids[: len(input_ids) // 2]  # type: ignore[assignment]
        done = self._watch(half, scores)
        return torch.cat([done, done])  # type: ignore[return-value]

    def mark_ended(self, rows: Iterable[int]) -> None:
        """See `Watch.mark_ended`."""
        self._watch.mark_ended(row for row in rows if row < self._rows)


FUNCTION_WORDS = """
a an the this that these those it its it's he his him she her they their them we our us I my me you your and or but nor so
yet if because as while when where who whom whose which what how why than then to of in on at by for with from into onto over
under after before during between about against through up down out off is are was were be been being am has have had having
do does did will would shall should can could may might must not no more most some any all each every many few much other
another such also only just very there here one two
"""
"""English function words, separated by white space; a copy bias that left them out would distort the grammar."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a vocabulary that a copy bias treats apart."""

    common: torch.Tensor
    """Ids of tokens that every text needs, of shape (tokens,)."""
    pad_id: int

    @classmethod
    def from_tokenizer(cls, tokenizer: "PreTrainedTokenizerBase", end_ids: Iterable[int], pad_id: int) -> "Vocabulary":
        """Collect function words of one token, punctuation, white space and end tokens. Takes a moment."""
        function_words = {f" {form}" for word in FUNCTION_WORDS.split() for form in (word, word.capitalize())}
        texts = [tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in range(len(tokenizer))]
        common = {token for token, text in enumerate(texts) if text in function_words or _is_punctuation(text)}
        return cls(torch.tensor(sorted(common | set(end_ids)), dtype=torch.long), pad_id)


class CopyBias(LogitsProcessor):
    """Adds `nats` to the logits of tokens that occur in a row's prompt. A guide gets the biases of its row."""

    def __init__(self, nats: float, prompt_length: int, vocabulary: Vocabulary, *, guided: bool) -> None:
        """`prompt_length` is the padded length of the prompts in tokens."""
        self._nats, self._prompt_length, self._vocabulary, self._guided = nats, prompt_length, vocabulary, guided

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return log-probabilities, of shape (rows, vocabulary) like the scores; guides are the second half of the rows."""
        prompts = input_ids[: len(input_ids) // (1 + self._guided), : self._prompt_length]
        bias = torch.zeros(len(prompts), scores.shape[1], device=scores.device).scatter_(1, prompts, self._nats)
        bias[:, self._vocabulary.pad_id] = 0.0  # padding of the shorter prompts is not part of them
        common = self._vocabulary.common.to(scores.device)
        bias[:, common[common < scores.shape[1]]] = self._nats
        return (scores.float() + bias.repeat(1 + self._guided, 1)).log_softmax(-1)  # type: ignore[return-value]


def _is_punctuation(text: str) -> bool:
    """Return whether a token is punctuation or white space; a part of a character, decoded as U+FFFD, is neither."""
    return not any(character.isalnum() or character == "\ufffd" for character in text)


def make_logits_processors(
    options: GenerationOptions, seeds: Sequence[int], *, prompt_length: int, vocabulary: Callable[[], Vocabulary]
) -> LogitsProcessorList:
    """Return processors after which the highest score marks the chosen token, sampled or greedy.

    `prompt_length` is the padded length of the prompts, whose tokens may be repeated. `vocabulary` is called only where
    the options have a copy bias. `seeds` has one seed per row, and after those the same seeds for the guides, if any.
    """
    processors = LogitsProcessorList()
    if options.guidance_scale > 1:
        processors.append(Guidance(options.guidance_scale))
    if options.copy_bias > 0:
        processors.append(CopyBias(options.copy_bias, prompt_length, vocabulary(), guided=options.guidance_scale > 1))
    if options.repetition_penalty > 1:
        penalty = RepetitionPenaltyLogitsProcessor(options.repetition_penalty)
        processors.append(OutputOnly(penalty, prompt_length))
    if options.no_repeat_ngram_size > 0:
        processors.append(OutputOnly(NoRepeatNGramLogitsProcessor(options.no_repeat_ngram_size), prompt_length))
    if options.temperature > 0:
        processors.append(TemperatureLogitsWarper(options.temperature))
        if options.top_k:
            processors.append(TopKLogitsWarper(options.top_k))
        if options.top_p < 1:
            processors.append(TopPLogitsWarper(options.top_p))
        processors.append(RowSampler(seeds))
    return processors


class OutputOnly(LogitsProcessor):
    """Applies a processor against repetition to the output alone, since names of the prompt may be repeated."""

    def __init__(self, processor: LogitsProcessor, prompt_length: int) -> None:
        self._processor = processor
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the processed scores, of shape (rows, vocabulary)."""
        output: torch.LongTensor = input_ids[:, self._prompt_length :]  # type: ignore[assignment]
        return self._processor(output, scores) if output.shape[1] else scores


class RowSampler(LogitsProcessor):
    """Samples by the Gumbel-max trick: the argmax of log-probability plus Gumbel noise is a draw from the softmax.

    Each row's noise comes from a CPU generator with the row's seed, so that a row draws the same tokens alone, in any
    batch, and on every device.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return scores with noise in float32, of shape (rows, vocabulary)."""
        rows = [
            torch.rand(scores.shape[-1], generator=generator, dtype=torch.float64) for generator in self._generators
        ]
        uniform = torch.stack(rows).clamp_min(1e-300)
        noise = -torch.log(-torch.log(uniform))
        return scores.float() + noise.to(device=scores.device, dtype=torch.float32)  # type: ignore[return-value]
