"""A model that ONNX Runtime GenAI decodes on a CPU; which token comes next is decided as for any other engine.

Outputs of a float32 model are scored by transformers with the same weights, which computes a shared beginning once; they are
loaded when that is asked for first. A quantized graph scores outputs itself.
"""

from collections.abc import Iterator, Sequence
from functools import cache, cached_property, partial
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phi2demo.engine.adapted_model import adapter_name
from phi2demo.engine.batch import Job
from phi2demo.engine.cancellation import check_cancelled
from phi2demo.engine.engine import GenerationOptions, Score, Snapshot
from phi2demo.engine.loading import describe, download, load, load_tokenizer
from phi2demo.engine.onnx_conversion import builder_version
from phi2demo.engine.onnx_graphs import OnnxGraphs
from phi2demo.engine.planning import ModelPlan, check_weights
from phi2demo.engine.sampling import Vocabulary, make_logits_processors
from phi2demo.engine.scoring import ScoringRow, score_rows
from phi2demo.engine.transformers_model import TransformersModel
from phi2demo.engine.weights import count
from phi2demo.errors import ModelError, SettingsError

if TYPE_CHECKING:
    import onnxruntime_genai as og
    from transformers import PreTrainedTokenizerBase

READ_TOKENS = 64
"""Tokens of a single prompt that are read between two checks for a stop."""
MAX_ROWS = 32
"""Most rows, with their guides, that the library takes in one batch."""
NOT_CHOSEN = -1e9
"""Logit of every token but the one that is chosen here."""


class OnnxModel:
    """See `batch.LocalModel`."""

    def __init__(self, plan: ModelPlan) -> None:
        """Convert what was not converted before, in seconds or minutes. Raises ModelError."""
        self._plan = plan
        for source, pairing in plan.adapters:
            if pairing.config.virtual_tokens:
                raise ModelError(
                    f"{source.name} is made with {pairing.config.kind}, whose virtual tokens cannot be merged into a graph. "
                    "Start with --engine transformers."
                )
        download(plan)
        parameters = plan.parameters or count(check_weights(plan))
        text = load_tokenizer(plan)
        self._graphs = OnnxGraphs(plan, parameters=parameters)
        warnings = self._graphs.prepare()
        self.tokenizer, self.end_token_ids = text.tokenizer, text.end_token_ids
        self.vocabulary_size = self._graphs.vocabulary_size
        self.pad_token_id = _unused_token(self.tokenizer, self.end_token_ids, self.vocabulary_size)
        engine = f"ONNX Runtime GenAI {builder_version()}"
        self.info = describe(
            plan,
            text,
            device="cpu",
            dtype=self._graphs.precision,
            parameters=parameters,
            engine=engine,
            warnings=warnings,
        )
        self.device = torch.device("cpu")
        self._vocabulary = cache(
            partial(Vocabulary.from_tokenizer, self.tokenizer, self.end_token_ids, self.pad_token_id)
        )

    def check(self, adapters: Sequence[str], options: GenerationOptions) -> None:
        """See `LocalModel.check`."""
        self._check_strength(adapters, options.adapter_strength)
        if _needs_beams(options) and self._graphs.precision != "float32":
            raise SettingsError(
                "repetition_penalty and no_repeat_ngram_size cannot be combined with beams by a quantized model. Set "
                "num_beams to 1, or start with --quantize none."
            )

    def generate(self, job: Job) -> Snapshot:
        """See `LocalModel.generate`. The rows of each adapter are a batch of its own; the batches take turns.

        The library does not show the beams of its search, so that transformers searches where penalties need them.
        """
        if _needs_beams(job.options):
            return self._float_model.generate(job)
        outputs: list[list[list[int]]] = [[] for _ in range(job.rows)]
        batches = [self._steps(job.part(rows), rows, outputs) for rows in self._batches(job)]
        while batches and not job.watch.halt_reason():
            batches = [steps for steps in batches if next(steps, None) is not None]
        return job.watch.finish(outputs)

    def score(self, rows: Sequence[ScoringRow], *, strength: float, cancel: Event | None) -> list[Score]:
        """See `LocalModel.score`."""
        self._check_strength([row.adapter for row in rows], strength)
        if self._graphs.precision == "float32":
            return self._float_model.score(rows, strength=strength, cancel=cancel)
        scores: dict[ScoringRow, Score] = {}
        for adapter in dict.fromkeys(row.adapter for row in rows):
            part = list({row: None for row in rows if row.adapter == adapter})
            graph = self._graph(adapter, strength)
            scores.update(zip(part, score_rows(partial(_logits, graph, cancel), part, device=self.device), strict=True))
        return [scores[row] for row in rows]

    def forget(self) -> None:
        """See `LocalModel.forget`."""
        if "_float_model" in vars(self):
            self._float_model.forget()

    @cached_property
    def _float_model(self) -> TransformersModel:
        """The same weights in torch, which are loaded when they are needed first."""
        return TransformersModel(load(self._plan))

    def _check_strength(self, adapters: Sequence[str], strength: float) -> None:
        for number, (_, pairing) in enumerate(self._plan.adapters):
            if strength != 1 and adapter_name(number) in adapters and (reason := pairing.config.fixed_strength):
                raise SettingsError(f"adapter_strength is {strength:g}, but {reason}. Leave it at 1.")

    def _graph(self, adapter: str, strength: float) -> "og.Model":
        return self._graphs.get(adapter, strength, end_ids=self.end_token_ids, pad_id=self.pad_token_id)

    def _batches(self, job: Job) -> list[list[int]]:
        """Return the rows that are decoded together: those of one adapter, where the library can pad their texts."""
        batches: list[list[int]] = []
        for adapter in dict.fromkeys(job.adapters[: job.rows]):
            rows = [row for row in range(job.rows) if job.adapters[row] == adapter]
            holds_padding = any(self.pad_token_id in text for text in _texts(job.part(rows)))
            most = 1 if holds_padding else MAX_ROWS * job.rows // len(job.adapters)
            batches += [rows[start : start + most] for start in range(0, len(rows), most)]
        return batches

    def _steps(self, job: Job, rows: list[int], outputs: list[list[list[int]]]) -> Iterator[bool]:
        """Generate one batch, token by token; put what a beam search has found into `outputs`, at the numbers `rows`."""
        graph = self._graph(job.adapters[0], job.options.adapter_strength)
        generator = self._start(graph, job)
        if generator is None:
            return
        if job.options.num_beams == 1:
            yield from self._sample(generator, job)
            return
        yield from self._search(generator, job)
        beams, length = job.options.num_beams, max(map(len, _texts(job)))
        for number, row in enumerate(rows):
            found = [generator.get_sequence(number * beams + beam)[length:].tolist() for beam in range(beams)]
            outputs[row] = [self._with_end(ids, job.max_new_tokens) for ids in found]

    def _start(self, graph: "og.Model", job: Job) -> "og.Generator | None":
        """Read the prompts; None where the batch is stopped meanwhile."""
        import onnxruntime_genai as og

        texts, beams = _texts(job), job.options.num_beams
        length = max(map(len, texts))
        parameters = og.GeneratorParams(graph)
        parameters.set_search_options(
            batch_size=len(texts),
            max_length=length + job.max_new_tokens,
            do_sample=False,
            num_beams=beams,
            num_return_sequences=beams,
            early_stopping=beams > 1,
        )
        generator = og.Generator(graph, parameters)
        if len(texts) > 1 or beams > 1:  # the library reads these at once or not at all
            padded = [[*text, *[self.pad_token_id] * (length - len(text))] for text in texts]
            _append(generator, padded)
            return generator
        for start in range(0, length, READ_TOKENS):
            if job.watch.halt_reason():
                return None
            _append(generator, texts[0][start : start + READ_TOKENS])
        return generator

    def _sample(self, generator: "og.Generator", job: Job) -> Iterator[bool]:
        """Choose every token here, until all rows have ended."""
        tokens, process = job.input_ids, self._processors(job)
        follow: Any = job.follower
        while True:
            scores = process(tokens, _next_logits(generator, self.vocabulary_size))
            chosen = scores.argmax(-1)
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
            if bool(follow(tokens, scores).all()):
                return
            logits = np.full((len(chosen), 1, scores.shape[-1]), NOT_CHOSEN, dtype=np.float32)
            logits[np.arange(len(chosen)), 0, chosen.numpy()] = 0.0
            generator.set_logits(logits)
            generator.generate_next_token()
            yield True

    def _search(self, generator: "og.Generator", job: Job) -> Iterator[bool]:
        """Run the library's beam search, whose logits are processed here."""
        process = self._processors(job)
        follow: Any = job.follower
        prompts: Any = job.input_ids.repeat_interleave(job.options.num_beams, dim=0)
        while not generator.is_done():
            if process:
                scores = process(prompts, _next_logits(generator, self.vocabulary_size))
                generator.set_logits(scores[:, None].numpy())
            generator.generate_next_token()
            if bool(follow(prompts, prompts)[0]):
                return
            yield True

    def _processors(self, job: Job) -> Any:
        length = job.input_ids.shape[1]
        return make_logits_processors(job.options, job.seeds, prompt_length=length, vocabulary=self._vocabulary)

    def _with_end(self, ids: list[int], max_new_tokens: int) -> list[int]:
        """Return a beam with its end token, which the library leaves out."""
        ids = ids[: ids.index(self.pad_token_id)] if self.pad_token_id in ids else ids
        return [*ids, self.end_token_ids[0]] if len(ids) < max_new_tokens and self.end_token_ids else ids


def _needs_beams(options: GenerationOptions) -> bool:
    """Return whether the next token depends on what each beam has generated."""
    return options.num_beams > 1 and (options.repetition_penalty > 1 or options.no_repeat_ngram_size > 0)


def _texts(job: Job) -> list[list[int]]:
    """Return the token ids of each row and guide without padding."""
    pairs = zip(job.input_ids.tolist(), job.attention_mask.tolist(), strict=True)
    return [ids[mask.index(1) :] for ids, mask in pairs]


def _append(generator: "og.Generator", ids: Any) -> None:
    """Read token ids, (rows, tokens) or those of one row."""
    generator.append_tokens(np.array(ids, dtype=np.int32))


def _next_logits(generator: "og.Generator", vocabulary_size: int) -> torch.Tensor:
    """Return the logits of the next token, (rows x beams, vocabulary)."""
    return torch.from_numpy(generator.get_logits()[:, -1, :vocabulary_size])


def _logits(
    graph: "og.Model",
    cancel: Event | None,
    *,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    logits_to_keep: torch.Tensor,
    adapters: list[str],
) -> torch.Tensor:
    """Compute the logits (rows, kept positions, vocabulary) of texts that are padded on the right."""
    import onnxruntime_genai as og

    logits = []
    for rows in torch.split(input_ids, MAX_ROWS):
        check_cancelled(cancel)
        parameters = og.GeneratorParams(graph)
        parameters.set_search_options(batch_size=len(rows), max_length=rows.shape[1] + 1)
        generator = og.Generator(graph, parameters)
        generator.append_tokens(rows.numpy().astype(np.int32))
        logits.append(torch.from_numpy(generator.get_output("logits"))[:, logits_to_keep])
    return torch.cat(logits)


def _unused_token(tokenizer: "PreTrainedTokenizerBase", end_ids: Sequence[int], vocabulary_size: int) -> int:
    """Return a token that no prompt holds, for padding: the library takes it for padding wherever it stands."""
    if vocabulary_size > len(tokenizer):
        return vocabulary_size - 1
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    special = [
        token_id
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special and token_id not in end_ids and token.content not in template
    ]
    return max(special, default=vocabulary_size - 1)
