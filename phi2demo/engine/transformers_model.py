"""A model of transformers with its adapters: it generates and scores one batch at a time."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from threading import Event

import torch
from transformers import DynamicCache, LogitsProcessorList, StoppingCriteriaList

from phi2demo.engine.adapted_model import BASE, AdaptedModel
from phi2demo.engine.batch import Job
from phi2demo.engine.decoder import MixedDecoder, PhiDecoder
from phi2demo.engine.engine import GenerationOptions, Score, Snapshot
from phi2demo.engine.loading import LoadedModel
from phi2demo.engine.phi_weights import PhiWeights, WeightCopies, rotary_table, supports
from phi2demo.engine.sampling import Vocabulary, make_logits_processors
from phi2demo.engine.scoring import Scorer, ScoringRow, free_bytes
from phi2demo.engine.search import Ends, beam_search, greedy

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


class TransformersModel:
    """See `batch.LocalModel`."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.adapted = AdaptedModel(loaded.model, loaded.adapters)
        self.info, self.tokenizer, self.vocabulary_size = loaded.info, loaded.tokenizer, loaded.vocabulary_size
        self.end_token_ids, self.pad_token_id = loaded.end_token_ids, loaded.pad_token_id
        parameter = next(loaded.model.parameters())
        self.device = parameter.device
        self._copies = WeightCopies(loaded.model, base=BASE, free=lambda: free_bytes(self.device))
        self._scorer = Scorer(self.adapted, self._copies)
        self._vocabulary = cache(
            partial(Vocabulary.from_tokenizer, self.tokenizer, self.end_token_ids, self.pad_token_id)
        )
        self._decodable = (
            self.device.type == "cpu"
            and parameter.dtype == torch.float32
            and self.info.parameters <= LARGEST
            and self.adapted.mixes
            and supports(loaded.model)
            and set(self.adapted.base.generation_config.to_diff_dict()) <= HARMLESS
        )

    def check(self, adapters: Sequence[str], options: GenerationOptions) -> None:
        """See `LocalModel.check`."""
        self.adapted.check_strength(adapters, options.adapter_strength)

    def score(self, rows: Sequence[ScoringRow], *, strength: float, cancel: Event | None) -> list[Score]:
        """See `LocalModel.score`."""
        self.adapted.check_strength([row.adapter for row in rows], strength)
        return self._scorer.score(rows, strength=strength, cancel=cancel)

    def forget(self) -> None:
        """See `LocalModel.forget`."""
        self._scorer.forget()

    def generate(self, job: Job) -> Snapshot:
        """See `LocalModel.generate`."""
        try:
            return self._generate(job)
        finally:
            self.adapted.remove_mixing_hooks()

    def _generate(self, job: Job) -> Snapshot:
        weights = self._weights(job)
        if weights is not None:
            return job.watch.finish(self._decode(job, weights))
        outputs: list[list[list[int]]] = [[] for _ in range(job.rows)]
        for rows in self.adapted.passes(job.adapters[: job.rows]):
            part = job.part(rows)
            with self.adapted.using(part.adapters[0], job.options.adapter_strength):
                for row, beams in zip(rows, self._by_transformers(part), strict=False):
                    outputs[row] = beams
        return job.watch.finish(outputs)

    def _by_transformers(self, job: Job) -> list[list[list[int]]]:
        """Return the outputs of one pass by row and beam; none where `watch` ends the batch before."""
        beams = job.options.num_beams
        inputs = self.adapted.with_virtual_tokens(
            job.input_ids, job.attention_mask, job.adapters[0], pad_id=self.pad_token_id, beams=beams
        )
        if beams == 1 and inputs.cache is None and inputs.embeddings is None:
            inputs = replace(inputs, cache=self._prefill(job))
        if job.watch.halt_reason():
            return []
        length = inputs.ids.shape[1]
        settings = {
            "logits_processor": self._processors(job, length),
            "stopping_criteria": StoppingCriteriaList([job.follower]),
            "max_new_tokens": job.max_new_tokens,
            "num_beams": beams,
            "num_return_sequences": beams,
            "do_sample": False,
            "early_stopping": beams > 1,
            "pad_token_id": self.pad_token_id,
            "eos_token_id": sorted(job.end_ids),
            "use_cache": True,
        }
        output = self.adapted.generate(inputs, job.adapters, settings)
        generated: list[list[list[int]]] = output[:, length:].view(-1, beams, output.shape[1] - length).tolist()
        return generated[: job.rows]

    def _processors(self, job: Job, prompt_length: int) -> LogitsProcessorList:
        return make_logits_processors(job.options, job.seeds, prompt_length=prompt_length, vocabulary=self._vocabulary)

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

    def _decode(self, job: Job, weights: dict[str, PhiWeights]) -> list[list[list[int]]] | None:
        """Return the outputs of a beam search by row; None after greedy search, and where `watch` ended the batch."""
        read = self._read(job, weights)
        if read is None:
            return None
        decoder, logits = read
        ids, ends = job.input_ids, Ends(job.end_ids, self.pad_token_id, job.max_new_tokens)
        process = self._processors(job, ids.shape[1])
        if job.options.num_beams > 1:
            outputs = beam_search(decoder, logits, ids, process, job.follower, ends, beams=job.options.num_beams)
            return outputs[: job.rows]
        greedy(decoder, logits, ids, process, job.follower, ends)
        return None

    def _read(self, job: Job, weights: dict[str, PhiWeights]) -> tuple[MixedDecoder, torch.Tensor] | None:
        """Read the prompts and return the logits after them; None where `watch` ends the batch. Guides are read apart."""
        ids, padding = job.input_ids, (1 - job.attention_mask).sum(1)
        config, rotary = self.adapted.base.config, rotary_table(self.adapted.model)
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
        if self.device.type != "cpu":
            return length
        return max(16, int(PREFILL_FLOP / (2 * self.info.parameters * rows)))

    def _prefill(self, job: Job) -> DynamicCache | None:
        """Read the prompts without their last token, in chunks between which the batch can be stopped."""
        rows, length = job.input_ids.shape
        chunk = self._chunk(rows, length)
        if length <= chunk or not self.adapted.can_continue:
            return None
        cache = self.adapted.new_cache()
        positions = (job.attention_mask.cumsum(1) - 1).clamp_min(0)
        for start in range(0, length - 1, chunk):
            if job.watch.halt_reason():
                break
            new = slice(start, min(start + chunk, length - 1))
            mask = job.attention_mask[:, : new.stop]
            self.adapted.read(job.input_ids[:, new], mask, positions[:, new], cache, job.adapters)
        return cache
