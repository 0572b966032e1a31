"""How the next token is chosen: one random generator per row, so that a row does not depend on its neighbours."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from phi2demo.engine.engine import GenerationOptions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


FUNCTION_WORDS = """
a an the this that these those it its it's he his him she her they their them we our us I my me you your and or but nor so
yet if because as while when where who whom whose which what how why than then to of in on at by for with from into onto over
under after before during between about against through up down out off is are was were be been being am has have had having
do does did will would shall should can could may might must not no more most some any all each every many few much other
another such also only just very there here one two
"""
"""Of English, with spaces between: without them a bias would bend its grammar."""


@dataclass(frozen=True)
class Vocabulary:
    """What the bias has to know of one."""

    common: torch.Tensor
    """Ids of what every text needs, (tokens,)."""
    pad_id: int

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase", end_ids: Iterable[int], pad_id: int) -> "Vocabulary":
        """Common are function words that are one token, punctuation and white space, and the end of a text."""
        known = {f" {word}" for each in FUNCTION_WORDS.split() for word in (each, each.capitalize())}
        texts = [tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in range(len(tokenizer))]
        found = {token for token, text in enumerate(texts) if text in known or _punctuates(text)}
        return cls(torch.tensor(sorted(found | set(end_ids)), dtype=torch.long), pad_id)


class CopyBias(LogitsProcessor):
    """Log-probabilities after what stands in a row's prompt was made likelier."""

    def __init__(self, nats: float, prompt_length: int, vocabulary: Vocabulary) -> None:
        """`prompt_length` is the padded length of the prompts."""
        self._nats, self._prompt_length, self._vocabulary = nats, prompt_length, vocabulary

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Of shape (rows, vocabulary), as are the scores."""
        prompts = input_ids[:, : self._prompt_length]
        bias = torch.zeros(len(prompts), scores.shape[1], device=scores.device).scatter_(1, prompts, self._nats)
        bias[:, self._vocabulary.pad_id] = 0.0  # it stands where a prompt is shorter than others
        common = self._vocabulary.common.to(scores.device)
        bias[:, common[common < scores.shape[1]]] = self._nats
        return (scores.float() + bias).log_softmax(-1)  # type: ignore[return-value]


def _punctuates(text: str) -> bool:
    """Also white space; not a part of a character, which decodes to U+FFFD."""
    return not any(character.isalnum() or character == "\ufffd" for character in text)


def logits_processors(
    options: GenerationOptions, seeds: Sequence[int], *, prompt_length: int, vocabulary: Callable[[], Vocabulary]
) -> LogitsProcessorList:
    """Processors after which the greatest score is the chosen token, sampled or greedy.

    `prompt_length` is the padded length of the batch's prompts: what stands there is not held against a repetition.
    `vocabulary` is asked for only where the options have a bias: finding it takes a moment.
    """
    processors = LogitsProcessorList()
    if options.copy_bias > 0:
        processors.append(CopyBias(options.copy_bias, prompt_length, vocabulary()))
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
    """A processor that holds repetitions down, looking at the output alone.

    Names and numbers of the person's text may be repeated freely, and padding cannot count.
    """

    def __init__(self, processor: LogitsProcessor, prompt_length: int) -> None:
        self._processor = processor
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores as the processor leaves them, of shape (rows, vocabulary)."""
        output: torch.LongTensor = input_ids[:, self._prompt_length :]  # type: ignore[assignment]
        return self._processor(output, scores) if output.shape[1] else scores


class RowSampler(LogitsProcessor):
    """Sampling by the Gumbel-max trick: the argmax of log-probability plus Gumbel noise is a draw from the softmax.

    The noise of each row comes from a CPU generator of its own seed, so that a row draws the same token alone, beside
    another row, and on every device.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores with noise, of shape (rows, vocabulary): float32."""
        rows = [
            torch.rand(scores.shape[-1], generator=generator, dtype=torch.float64) for generator in self._generators
        ]
        uniform = torch.stack(rows).clamp_min(1e-300)
        noise = -torch.log(-torch.log(uniform))
        return scores.float() + noise.to(device=scores.device, dtype=torch.float32)  # type: ignore[return-value]
