"""How the next token is chosen: one random generator per row, so that a row does not depend on its neighbours."""

from collections.abc import Callable, Sequence

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

from phi2demo.engine.copying import CopyBias, Vocabulary
from phi2demo.engine.engine import GenerationOptions
from phi2demo.engine.guidance import Guidance


def logits_processors(
    options: GenerationOptions, seeds: Sequence[int], *, prompt_length: int, vocabulary: Callable[[], Vocabulary]
) -> LogitsProcessorList:
    """Processors after which the greatest score is the chosen token, sampled or greedy.

    `prompt_length` is the padded length of the batch's prompts: what stands there is not held against a repetition.
    `vocabulary` is asked for only where the options have a bias: finding it takes a moment.
    Guides, where the options want them, are rows too, each with the seed of its row.
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
