"""Generation of one batch: by the decoder of this package for a small Phi on a CPU, else by `transformers`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, LogitsProcessorList, StoppingCriteriaList

from phi2demo.engine.decoder import MixedDecoder, PhiDecoder
from phi2demo.engine.engine import GenerationOptions, ModelInfo, Snapshot
from phi2demo.engine.loading import ADAPTER
from phi2demo.engine.phi_weights import PhiWeights, WeightCopies, base_of, rotary_table, supports
from phi2demo.engine.sampling import Vocabulary, WatchWithoutGuides, make_logits_processors
from phi2demo.engine.search import Ends, beam_search, greedy
from phi2demo.engine.strength import scaled_adapters
from phi2demo.engine.watch import Watch

if TYPE_CHECKING:
    from transformers import BatchEncoding

PREFILL_FLOP = 3e10
"""Floating-point operations between two checks for a stop while a CPU reads a prompt; well under a second on two cores."""
LARGEST = 300_000_000
"""Most parameters of a model for which a second copy of the weights pays; a larger one is limited by memory speed."""
HARMLESS = {
    "_from_model_config", "transformers_version", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id",
    "max_length", "max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "output_attentions",
    "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate",
}  # fmt: skip
"""Entries of a generation config that do not change the chosen tokens; a model with any other is left to `transformers`."""


@dataclass(frozen=True)
class Job:
    """One batch to generate."""

    batch: "BatchEncoding"
    """Left-padded, on the device; with guides, they stand behind the rows."""
    adapters: list[str]
    """Of each row and guide."""
    options: GenerationOptions
    seeds: list[int]
    """Of each row and guide."""
    max_new_tokens: int
    """The requested number, or the tokens that still fit into the context."""
    end_ids: frozenset[int]
    watch: Watch
    """Of the rows alone."""

    @property
    def rows(self) -> int:
        """Without guides."""
        return len(self.adapters) // 2 if self.options.guidance_scale > 1 else len(self.adapters)

    @property
    def follower(self) -> Watch | WatchWithoutGuides:
        """What sees every row and guide."""
        return self.watch if self.rows == len(self.adapters) else WatchWithoutGuides(self.watch, self.rows)


class Generator:
    """Generates with one loaded model; only one thread may use it at a time."""

    def __init__(
        self,
        model: torch.nn.Module,
        info: ModelInfo,
        copies: WeightCopies,
        *,
        pad_id: int,
        vocabulary: Callable[[], Vocabulary],
    ) -> None:
        """`vocabulary` is called for batches with a copy bias."""
        self._model: Any = model
        self._info, self._copies, self._pad_id, self._vocabulary = info, copies, pad_id, vocabulary
        parameter = next(model.parameters())
        self._device = parameter.device
        self._decodable = (
            self._device.type == "cpu"
            and parameter.dtype == torch.float32
            and info.parameters <= LARGEST
            and supports(model)
            and set(base_of(model).generation_config.to_diff_dict()) <= HARMLESS
        )

    def generate(self, job: Job) -> Snapshot:
        """Generate all rows until `job.watch` ends them, and return its last snapshot."""
        length = job.batch["input_ids"].shape[1]
        process = make_logits_processors(job.options, job.seeds, prompt_length=length, vocabulary=self._vocabulary)
        weights = self._weights(job)
        if weights is not None:
            return job.watch.finish(self._decode(job, weights, process))
        with scaled_adapters(self._model, job.options.adapter_strength):
            return self._by_transformers(job, process)

    def _by_transformers(self, job: Job, process: LogitsProcessorList) -> Snapshot:
        length = job.batch["input_ids"].shape[1]
        cache = self._prefill(job) if job.options.num_beams == 1 else None
        if job.watch.halt_reason():
            return job.watch.finish(None)
        output = self._model.generate(
            **job.batch,
            **mixing(self._info, job.adapters),
            **(self._keeping(cache) if cache is not None else {}),
            logits_processor=process,
            stopping_criteria=StoppingCriteriaList([job.follower]),
            max_new_tokens=job.max_new_tokens,
            num_beams=job.options.num_beams,
            num_return_sequences=job.options.num_beams,
            do_sample=False,
            early_stopping=job.options.num_beams > 1,
            pad_token_id=self._pad_id,
            eos_token_id=sorted(job.end_ids),
            use_cache=True,
        )
        return job.watch.finish(output[:, length:].unflatten(0, (-1, job.options.num_beams))[: job.rows].tolist())

    def _weights(self, job: Job) -> dict[str, PhiWeights] | None:
        """By adapter; None where the decoder cannot write this batch."""
        if not self._decodable:
            return None
        strength = job.options.adapter_strength
        copies = {
            adapter: self._copies.get(adapter, torch.float32, strength=strength)
            for adapter in dict.fromkeys(job.adapters)
        }
        weights = {adapter: copy for adapter, copy in copies.items() if copy is not None}
        return weights if len(weights) == len(copies) else None

    def _decode(
        self, job: Job, weights: dict[str, PhiWeights], process: LogitsProcessorList
    ) -> list[list[list[int]]] | None:
        """Return the outputs of a beam search by row; None after greedy search, and where `watch` ended the batch."""
        read = self._read(job, weights)
        if read is None:
            return None
        decoder, logits = read
        ids, ends = job.batch["input_ids"], Ends(job.end_ids, self._pad_id, job.max_new_tokens)
        if job.options.num_beams > 1:
            outputs = beam_search(decoder, logits, ids, process, job.follower, ends, beams=job.options.num_beams)
            return outputs[: job.rows]
        greedy(decoder, logits, ids, process, job.follower, ends)
        return None

    def _read(self, job: Job, weights: dict[str, PhiWeights]) -> tuple[MixedDecoder, torch.Tensor] | None:
        """Read the prompts and return the logits after them; None where `watch` ends the batch. Guides are read apart."""
        ids, padding = job.batch["input_ids"], (1 - job.batch["attention_mask"]).sum(1)
        config, rotary = base_of(self._model).config, rotary_table(self._model)
        kinds = [(adapter, row >= job.rows) for row, adapter in enumerate(job.adapters)]
        parts, results = [], []
        for kind in dict.fromkeys(kinds):
            rows = torch.tensor([row for row, row_kind in enumerate(kinds) if row_kind == kind])
            start = int(padding[rows].min())
            decoder = PhiDecoder(weights[kind[0]], config, rotary, padding[rows] - start)
            for chunk in torch.split(ids[rows, start:], self._chunk(len(rows), ids.shape[1] - start), dim=1):
                if job.watch.halt_reason():
                    return None
                logits = decoder.read(chunk)
            parts.append((decoder, rows))
            results.append(logits)
        order = torch.cat([rows for _, rows in parts]).argsort()
        return MixedDecoder(parts), torch.cat(results)[order]

    def _chunk(self, rows: int, length: int) -> int:
        """Return how many tokens of each prompt are read before the next check for a stop."""
        if self._device.type != "cpu":
            return length
        return max(16, int(PREFILL_FLOP / (2 * self._info.parameters * rows)))

    def _keeping(self, cache: DynamicCache) -> dict[str, DynamicCache]:
        """`cache` by the name that the model's forward has for it: transformers 5.24 gave it another."""
        names = inspect.signature(base_of(self._model).forward).parameters
        return {"cache" if "cache" in names else "past_key_values": cache}

    def _prefill(self, job: Job) -> DynamicCache | None:
        """Read the prompts without their last token, in chunks between which the batch can be stopped."""
        input_ids, mask = job.batch["input_ids"], job.batch["attention_mask"]
        rows, length = input_ids.shape
        chunk = self._chunk(rows, length)
        if length <= chunk:
            return None
        cache = DynamicCache()
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        for start in range(0, length - 1, chunk):
            if job.watch.halt_reason():
                break
            end = min(start + chunk, length - 1)
            self._model(
                input_ids=input_ids[:, start:end],
                attention_mask=mask[:, :end],
                position_ids=positions[:, start:end],
                use_cache=True,
                logits_to_keep=1,
                **self._keeping(cache),
                **mixing(self._info, job.adapters),
            )
        return cache


def mixing(info: ModelInfo, adapters: list[str]) -> dict[str, Any]:
    """Return PEFT's argument for a mixed batch; none where no row or every row uses the adapter."""
    return {} if info.adapter is None or set(adapters) == {ADAPTER} else {"adapter_names": adapters}


def remove_mixing_hooks(model: torch.nn.Module) -> None:
    """Remove the pre-forward hooks that PEFT leaves behind where a mixed batch ended in an exception.

    PEFT 0.21 removes them after the `yield` of a context manager without `finally`; the next plain batch would fail.
    """
    for module in model.modules():
        for key, hook in list(module._forward_pre_hooks.items()):
            if getattr(getattr(hook, "func", None), "__name__", "") == "_adapter_names_pre_forward_hook":
                del module._forward_pre_hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)
