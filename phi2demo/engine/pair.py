"""Two whole models behind the interface of one engine: a model that was finetuned in full, or merged, and its base."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from threading import Event

from phi2demo.engine.engine import (
    Completion,
    Engine,
    GenerationOptions,
    ModelInfo,
    Output,
    Prompt,
    Score,
    Snapshot,
)
from phi2demo.engine.forwarding import ForwardingEngine
from phi2demo.engine.planning import ModelPlan
from phi2demo.errors import ModelError, SettingsError

_SAMPLE = "Instruct: 12 cafés, naïve – 你好!\n\tOutput: <|im_end|></s>"
"""A text by which two tokenizers are compared."""


class PairEngine(ForwardingEngine):
    """A finetuned model and its base, each an engine of its own; both are in memory.

    Raises ModelError where their tokenizers differ, since outputs of one could not be scored by the other.
    """

    def __init__(self, tuned: Engine, base: Engine) -> None:
        super().__init__(tuned)
        self._base = base
        own, other = tuned.info, base.info
        if tuned.tokens(_SAMPLE).ids != base.tokens(_SAMPLE).ids or own.special_tokens != other.special_tokens:
            raise ModelError(
                f"{own.base} and {other.base} have different tokenizers, so they cannot be compared token by token. "
                "Give the base that the model was finetuned from."
            )
        self._info = replace(
            own,
            base=other.base,
            base_revision=other.base_revision,
            base_folder=other.base_folder,
            adapter=own.base,
            adapter_revision=own.base_revision,
            adapter_folder=own.base_folder,
            context=min(own.context, other.context),
            warnings=(*own.warnings, *other.warnings),
        )

    @property
    def info(self) -> ModelInfo:
        """See `Engine.info`; the finetuned model stands in the place of the adapter."""
        return self._info

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """See `Engine.stream`; the rows of each model are a batch of their own, and both run at the same time."""
        _check_strength(options.adapter_strength)
        parts = self._parts(prompts)
        newest: list[Snapshot | None] = [None] * len(parts)
        with ExitStack() as stack:
            streams = []
            for engine, rows in parts:
                stream = engine.stream(_alone(prompts, rows), options, cancel=cancel)
                if isinstance(stream, Generator):
                    stack.callback(stream.close)
                streams.append(stream)
            while any(snapshot is None or snapshot.completions is None for snapshot in newest):
                for number, stream in enumerate(streams):
                    before = newest[number]
                    if before is None or before.completions is None:
                        newest[number] = next(stream)
                yield _merged(len(prompts), [rows for _, rows in parts], [part for part in newest if part is not None])

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """See `Engine.score`."""
        _check_strength(adapter_strength)
        scores: dict[int, Score] = {}
        for engine, rows in self._parts(prompts):
            values = engine.score(_alone(prompts, rows), [outputs[row] for row in rows], cancel=cancel)
            scores |= dict(zip(rows, values, strict=True))
        return [scores[row] for row in range(len(prompts))]

    def forget(self) -> None:
        """See `Engine.forget`."""
        super().forget()
        self._base.forget()

    def _parts(self, prompts: Sequence[Prompt]) -> list[tuple[Engine, list[int]]]:
        """Return each engine that has rows, with the numbers of its rows."""
        for prompt in prompts:
            self._info.check_variant(prompt.variant)
        parts = [
            (engine, [row for row, prompt in enumerate(prompts) if (prompt.variant == "base") == is_base])
            for engine, is_base in ((self._engine, False), (self._base, True))
        ]
        return [(engine, rows) for engine, rows in parts if rows] or [(self._engine, [])]


def load_here(plan: ModelPlan) -> Engine:
    """Load the model of a plan, with its adapters; or a wholly finetuned model and its base. Raises ModelError."""
    if plan.tuned_source is None:
        return _load_one(plan)
    return PairEngine(_load_one(plan.tuned_alone()), _load_one(replace(plan, tuned_source=None)))


def _load_one(plan: ModelPlan) -> Engine:
    from phi2demo.engine.local import LocalEngine  # imports torch, which takes seconds

    if plan.engine != "onnx":
        return LocalEngine.load(plan)
    from phi2demo.engine.onnx_model import OnnxModel

    return LocalEngine(OnnxModel(plan))


def _alone(prompts: Sequence[Prompt], rows: Sequence[int]) -> list[Prompt]:
    """Return some prompts for an engine whose only variant is its base."""
    return [replace(prompts[row], variant="base") for row in rows]


def _check_strength(strength: float) -> None:
    if strength != 1.0:
        raise SettingsError(
            f"adapter_strength is {strength}, but this model was finetuned as a whole and has no adapter. Leave it at 1."
        )


def _merged(count: int, rows: Sequence[Sequence[int]], parts: Sequence[Snapshot]) -> Snapshot:
    """Put the snapshots of several batches together, in the order of all rows."""
    texts = [""] * count
    completions: dict[int, Completion] = {}
    for numbers, part in zip(rows, parts, strict=True):
        for number, text in zip(numbers, part.texts, strict=False):
            texts[number] = text
        completions |= dict(zip(numbers, part.completions or (), strict=False))
    firsts = [part.first_token_s for part in parts if part.first_token_s is not None]
    is_done = len(completions) == count
    return Snapshot(
        tuple(texts),
        sum(part.new_tokens for part in parts),
        max(part.seconds for part in parts),
        min(firsts, default=None),
        tuple(completions[number] for number in range(count)) if is_done else None,
    )
