"""The engine that runs a model in this process. Knows no task and no page."""

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from phi2demo.engine.adapted_model import ADAPTER, BASE, adapter_name
from phi2demo.engine.batch import Job, LocalModel
from phi2demo.engine.cancellation import locked
from phi2demo.engine.engine import GenerationOptions, ModelInfo, Output, Prompt, Score, Snapshot, Tokens
from phi2demo.engine.loading import load
from phi2demo.engine.planning import ModelPlan
from phi2demo.engine.scoring import ScoringRow
from phi2demo.engine.text_encoder import TextEncoder, decode_with_spans, fill_gaps
from phi2demo.engine.transformers_model import TransformersModel
from phi2demo.engine.watch import Watch, any_set
from phi2demo.errors import InputError, ModelError, SettingsError

logger = logging.getLogger(__name__)

HEARTBEAT_S = 0.2
"""Seconds after which a stream without news yields a snapshot, so that its reader can close it."""


class LocalEngine:
    """A loaded model that computes one batch at a time, while others wait.

    Each row of a batch names its weights. Whatever has to be switched for them is switched by the thread that holds the
    lock, and switched back before another gets it, so that concurrent requests cannot affect each other.
    """

    def __init__(self, model: LocalModel) -> None:
        self._model, self._info, self._tokenizer = model, model.info, model.tokenizer
        self._encoder = TextEncoder(self._tokenizer, end_ids=model.end_token_ids)
        self._end_ids = frozenset(model.end_token_ids)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, plan: ModelPlan) -> "LocalEngine":
        """Load the model of `plan` by transformers. Raises ModelError."""
        return cls(TransformersModel(load(plan)))

    @property
    def info(self) -> ModelInfo:
        """See `Engine.info`."""
        return self._info

    def count_tokens(self, text: str) -> int:
        """See `Engine.count_tokens`."""
        return self._encoder.count(text)

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """See `Engine.tokens`."""
        if isinstance(text, str):
            encoded = self._encoder.encode(text)
            return Tokens(text, encoded.ids, fill_gaps(encoded.spans, len(text)))
        decoded, spans = decode_with_spans(text, self._decode)
        return Tokens(decoded, tuple(text), spans)

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: threading.Event | None = None
    ) -> Iterator[Snapshot]:
        """See `Engine.stream`."""
        rows = list(prompts)
        if options.guidance_scale > 1:
            rows += [replace(prompt, text=prompt.without or prompt.text) for prompt in prompts]
        input_ids, mask, adapters, room = self._encode(rows)
        self._model.check(adapters, options)
        max_new_tokens = min(options.max_new_tokens, room)
        closed = threading.Event()
        reports: queue.SimpleQueue[Snapshot | BaseException] = queue.SimpleQueue()
        watch = Watch(
            self._tokenizer,
            options,
            prompt_tokens=mask.sum(1).tolist()[: len(prompts)],
            stops=[prompt.stop for prompt in prompts],
            max_new_tokens=max_new_tokens,
            end_ids=self._end_ids,
            halted=any_set(closed, *([cancel] if cancel else [])),
            report=reports.put,
        )
        while not self._lock.acquire(timeout=HEARTBEAT_S):
            if watch.halt_reason():
                yield watch.finish(None)
                return
            yield watch.snapshot()
        job = Job(input_ids, mask, adapters, options, [row.seed for row in rows], max_new_tokens, self._end_ids, watch)
        thread = threading.Thread(target=self._generate, args=(job, reports), name="generate", daemon=True)
        try:
            thread.start()
        except BaseException:
            self._lock.release()
            raise
        try:
            yield from _read(reports, watch)
        finally:
            closed.set()
            thread.join()

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: threading.Event | None = None,
    ) -> list[Score]:
        """See `Engine.score`."""
        rows = self._scoring_rows(prompts, outputs)
        longest = max((row.length for row in rows), default=0)
        if longest > self._info.context:
            raise InputError(
                f"Text and output together have {longest} tokens; this model reads at most {self._info.context}. "
                "Shorten the text."
            )
        with locked(self._lock, cancel), torch.inference_mode():
            return self._model.score(rows, strength=adapter_strength, cancel=cancel)

    def forget(self) -> None:
        """Drop the keys and values of prompts that scoring caches between calls."""
        with self._lock:
            self._model.forget()

    def _scoring_rows(self, prompts: Sequence[Prompt], outputs: Sequence[Output]) -> list[ScoringRow]:
        texts = list({prompt.text: None for prompt in prompts})
        ids = dict(zip(texts, map(tuple, self._encoder.encode_prompts(texts)), strict=True))
        if not all(ids.values()):
            raise InputError("The text is empty. Type or paste some words first.")
        output_ids = {output: self._output_ids(output) for output in dict.fromkeys(outputs)}
        return [
            ScoringRow(ids[prompt.text], output_ids[output], self._adapter(prompt))
            for prompt, output in zip(prompts, outputs, strict=True)
        ]

    def _output_ids(self, output: Output) -> tuple[int, ...]:
        ids = self._encoder.encode(output).ids if isinstance(output, str) else output
        if not ids:
            raise InputError("The output is empty, so it has no probability. Give at least one word.")
        if unknown := [token for token in ids if not 0 <= token < self._model.vocabulary_size]:
            raise InputError(
                f"The output has token id {unknown[0]}; give ids from 0 to {self._model.vocabulary_size - 1}."
            )
        return tuple(ids)

    def _encode(self, prompts: Sequence[Prompt]) -> tuple[torch.Tensor, torch.Tensor, list[str], int]:
        """Return left-padded ids and mask on the device, each row's adapter, and the tokens that fit after the longest row."""
        if not prompts:
            raise SettingsError("There is nothing to generate: give at least one prompt.")
        adapters = [self._adapter(prompt) for prompt in prompts]
        ids = self._encoder.encode_prompts([prompt.text for prompt in prompts])
        longest = max(map(len, ids))
        room = self._info.context - longest
        if room < 1:
            raise InputError(
                f"The text has {longest} tokens with its instruction; this model reads at most "
                f"{self._info.context - 1}. Shorten it or split it."
            )
        if min(map(len, ids)) < 1:
            raise InputError("The text is empty. Type or paste some words first.")
        padded = torch.tensor(
            [[self._model.pad_token_id] * (longest - len(row)) + row for row in ids], device=self._model.device
        )
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=self._model.device)
        return padded, mask, adapters, room

    def _adapter(self, prompt: Prompt) -> str:
        self._info.check_variant(prompt.variant)
        further = {other.variant: adapter_name(number) for number, other in enumerate(self._info.others, 1)}
        return ({"finetuned": ADAPTER, "base": BASE} | further)[prompt.variant]

    def _generate(self, job: Job, reports: "queue.SimpleQueue[Snapshot | BaseException]") -> None:
        """Generate in a thread of its own that holds the lock; the reader gets the last snapshot or the error."""
        try:
            with torch.inference_mode():
                last = self._model.generate(job)
        except Exception as error:  # the reader raises it
            logger.exception("generation failed")
            reports.put(_as_model_error(error))
        else:
            reports.put(last)
        finally:
            self._lock.release()


def _read(reports: "queue.SimpleQueue[Snapshot | BaseException]", watch: Watch) -> Iterator[Snapshot]:
    """Yield the snapshots of the generating thread up to the last one; raise the error where it failed."""
    newest = Snapshot(texts=(), new_tokens=0, seconds=0.0)
    while newest.completions is None:
        try:
            report = reports.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            report = replace(newest, seconds=watch.seconds) if newest.texts else watch.snapshot()
        if isinstance(report, BaseException):
            raise report
        newest = report
        yield newest


def _as_model_error(error: Exception) -> Exception:
    if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
        return ModelError("The device ran out of memory for this text. Shorten it, or ask for fewer new tokens.")
    return ModelError(f"The model failed while generating ({type(error).__name__}: {error}). See the log for details.")
