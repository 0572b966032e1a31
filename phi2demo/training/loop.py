"""The training loop that pretraining and finetuning share. Knows nothing of where batches come from.

A batch follows from the step alone, the model has no dropout, and the optimizer's state is saved whole: a run that was
killed and resumed has the loss curve of one that was not.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from phi2demo.errors import SettingsError
from phi2demo.training.checkpoints import Checkpoints, TrainingState

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]


@dataclass(frozen=True)
class LoopSettings:
    """How a model is optimized."""

    steps: int
    learning_rate: float
    schedule: Schedule = "linear"
    warmup_share: float = 0.02
    """Of all steps, over which the learning rate rises from 0."""
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    precision: Precision = "auto"
    """Of the autocast; auto is bf16 where the device computes in it, else fp32."""
    part_tokens: int | None = None
    """Tokens, padding included, that a process computes at once; a larger batch is computed in parts, to save memory."""
    seed: int = 0
    checkpoint_minutes: float = 10.0
    log_every: int = 20
    validate_every: int = 500
    compile: bool = False
    """torch.compile the model: faster on fixed shapes; needs a C++ compiler."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"{self.steps} training steps: at least 1 is needed. Give more tokens, epochs or data.")
        if self.checkpoint_minutes <= 0:
            raise SettingsError(f"--checkpoint-minutes {self.checkpoint_minutes}: give a number above 0.")
        if self.part_tokens is not None and self.part_tokens < 1:
            raise SettingsError(f"--part-tokens {self.part_tokens}: give a whole number from 1.")

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warmup = max(1, round(self.steps * self.warmup_share))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        match self.schedule:
            case "linear":
                return self.learning_rate * (1 - progress)
            case "cosine":
                return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2
            case "constant":
                return self.learning_rate


@dataclass(frozen=True)
class Batch:
    """Token ids and, for each, the token to be predicted there (-100: none); all of shape (rows, length)."""

    input_ids: "torch.Tensor"
    labels: "torch.Tensor"
    attention_mask: "torch.Tensor | None" = None
    """1 for tokens, 0 for padding on the right; None where there is none."""
    weights: "torch.Tensor | None" = None
    """Of each target in the loss; all the same where None."""

    @property
    def total_weight(self) -> float:
        """Of all targets: what their summed loss is divided by."""
        return float((self.labels != -100).sum() if self.weights is None else self.weights.sum())

    def share(self, index: int, shares: int) -> "Batch":
        """Every `shares`-th row from `index`, rows ordered by length: what one process computes."""
        return self._rows(self._by_length()[index::shares])

    def parts(self, tokens: int | None) -> list["Batch"]:
        """Rows of like lengths together, each part of at most `tokens` tokens (or one row), cut to its longest row."""
        if tokens is None:
            return [self]
        parts: list[list[int]] = [[]]
        for row in self._by_length():
            if parts[-1] and (len(parts[-1]) + 1) * self._lengths[row] > tokens:
                parts.append([])
            parts[-1].append(row)
        return [self._rows(rows) for rows in parts]

    @cached_property
    def _lengths(self) -> list[int]:
        rows, length = self.input_ids.shape
        return [length] * rows if self.attention_mask is None else self.attention_mask.sum(1).tolist()

    def _by_length(self) -> list[int]:
        return sorted(range(len(self._lengths)), key=lambda row: self._lengths[row])

    def _rows(self, rows: list[int]) -> "Batch":
        length = max(self._lengths[row] for row in rows)
        tensors = (self.input_ids, self.labels, self.attention_mask, self.weights)
        return Batch(*(None if t is None else t[rows, :length] for t in tensors))  # type: ignore[arg-type]


class Batches(Protocol):
    """Where the loop gets its batches: the same step always gives the same batch."""

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        ...


def make_accelerator(precision: Precision, *, device: str | None = None) -> "Accelerator":
    """An Accelerator with autocast in `precision`; Phi-2 overflows in pure fp16, never under autocast with fp32 weights."""
    import torch
    from accelerate import Accelerator

    if precision == "auto":
        on_gpu = torch.cuda.is_available() and device != "cpu"
        fast = torch.cuda.is_bf16_supported() if on_gpu else cpu_has_bfloat16()
        precision = "bf16" if fast else "fp32"
    names = {"bf16": "bf16", "fp16": "fp16", "fp32": "no"}
    return Accelerator(mixed_precision=names[precision], cpu=device == "cpu")


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 (AVX512-BF16 or AMX); without it bfloat16 is slower than float32."""
    import torch

    flags = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in flags and bool(torch.cpu._is_avx512_bf16_supported())


def train(
    model: "torch.nn.Module",
    batches: Batches,
    settings: LoopSettings,
    folder: Path,
    accelerator: "Accelerator",
    *,
    validate: Callable[[int], dict[str, float]] | None = None,
    identity: dict[str, Any] | None = None,
    label: str = "train",
) -> TrainingState:
    """Train the parameters of `model` that require gradients, in place; resumes from the last checkpoint in `folder`.

    Writes `folder/log.jsonl`, one object per `log_every` steps, and checkpoints every `checkpoint_minutes`.
    `identity` is what must not change between a run and its resumption; SettingsError where it did.
    """
    import torch

    torch.manual_seed(settings.seed)
    optimizer = _make_optimizer(model, settings)
    checkpoints = Checkpoints(folder / "checkpoints", model, optimizer, accelerator)
    state = checkpoints.resume(asdict(settings) | (identity or {}))
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    if settings.compile:
        wrapped.compile(dynamic=False)
    log = _Log(folder / "log.jsonl", state, settings, accelerator, label)
    wrapped.train()
    saved_at = time.monotonic()
    try:
        while state.step < settings.steps:
            loss, tokens = _step(wrapped, optimizer, batches.at(state.step), settings, state.step, accelerator)
            state.advance(tokens)
            log.add(loss, tokens)
            due = (time.monotonic() - saved_at) / 60 >= settings.checkpoint_minutes
            if validate and (state.step % settings.validate_every == 0 or state.step == settings.steps):
                wrapped.eval()
                log.validation(validate(state.step))
                wrapped.train()
            if _agree(due, accelerator) and state.step < settings.steps:
                checkpoints.save(state)
                saved_at = time.monotonic()
        checkpoints.save(state)
    finally:
        log.close()
    return state


def _make_optimizer(model: "torch.nn.Module", settings: LoopSettings) -> "torch.optim.Optimizer":
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=settings.learning_rate, betas=(0.9, 0.95), fused=True
    )


def _step(
    model: "torch.nn.Module",
    optimizer: Any,
    batch: Batch,
    settings: LoopSettings,
    step: int,
    accelerator: "Accelerator",
) -> tuple[float, int]:
    """One optimizer step over a global batch; returns the mean loss per target token and the tokens read by all processes.

    Each process takes its rows of the batch, and each loss is divided by the weight of the WHOLE batch, so that the
    gradient does not depend on how many processes or parts it was cut into.
    """
    import torch

    world, rows = accelerator.num_processes, batch.input_ids.shape[0]
    if rows < world:
        raise SettingsError(
            f"A batch of {rows} rows cannot be cut for {world} processes. Use a larger --batch-size or fewer processes."
        )
    parts = batch.share(accelerator.process_index, world).parts(settings.part_tokens)
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts, 1):
        with accelerator.autocast(), _sync(accelerator, model, last=number == len(parts)):
            loss = target_loss(model, part, accelerator.device) / batch.total_weight
            accelerator.backward(loss * world)
        total += loss.detach()
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate_at(step)
    accelerator.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], settings.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    total = accelerator.reduce(total, reduction="sum")
    return float(total), sum(batch._lengths)


def target_loss(model: "torch.nn.Module", batch: Batch, device: "torch.device") -> "torch.Tensor":
    """Weighted sum of the cross-entropy of a batch's targets (`labels` are already shifted).

    Logits are computed where there are targets and nowhere else.
    """
    import torch

    mask = None if batch.attention_mask is None else batch.attention_mask.to(device)
    wanted, labels = batch.labels != -100, batch.labels.to(device)
    keep = {} if wanted.all() else {"logits_to_keep": wanted.to(device)}
    logits = model(input_ids=batch.input_ids.to(device), attention_mask=mask, use_cache=False, **keep).logits
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2).float(),
        labels[wanted.to(device)],
        reduction="none" if batch.weights is not None else "sum",
    )
    return losses if batch.weights is None else (losses * batch.weights[wanted].to(device)).sum()


def _sync(accelerator: "Accelerator", model: "torch.nn.Module", last: bool) -> Any:
    from contextlib import nullcontext

    return nullcontext() if last else accelerator.no_sync(model)


def _agree(due: bool, accelerator: "Accelerator") -> bool:
    """The first process decides for all: their clocks differ."""
    if accelerator.num_processes == 1:
        return due
    import torch

    flag = torch.tensor(float(due and accelerator.is_main_process), device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum") > 0)


class _Log:
    """log.jsonl and the progress bar; only the first process writes."""

    def __init__(
        self, path: Path, state: TrainingState, settings: LoopSettings, accelerator: "Accelerator", label: str
    ) -> None:
        from tqdm import tqdm

        self._path, self._state, self._settings = path, state, settings
        self._main = accelerator.is_main_process
        self._losses: list[float] = []
        self._tokens = 0
        self._since = time.monotonic()
        if self._main:
            path.parent.mkdir(parents=True, exist_ok=True)
            _truncate(path, state.step)
        self._bar = tqdm(
            total=settings.steps, initial=state.step, desc=label, unit="step", disable=not self._main, mininterval=2
        )

    def add(self, loss: float, tokens: int) -> None:
        self._losses.append(loss)
        self._tokens += tokens
        self._bar.update()
        if self._state.step % self._settings.log_every and self._state.step != self._settings.steps:
            return
        seconds = time.monotonic() - self._since
        row = {
            "step": self._state.step,
            "tokens": self._state.tokens,
            "loss": sum(self._losses) / len(self._losses),
            "learning_rate": self._settings.learning_rate_at(self._state.step - 1),
            "tokens_per_s": self._tokens / max(seconds, 1e-9),
            "elapsed_s": self._state.elapsed_s,
        }
        self._write(row)
        self._bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['tokens_per_s']:,.0f} tokens/s")
        self._losses, self._tokens, self._since = [], 0, time.monotonic()

    def validation(self, losses: dict[str, float]) -> None:
        self._write({"step": self._state.step, "validation": losses})
        self._since = time.monotonic()

    def close(self) -> None:
        self._bar.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._main:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _truncate(path: Path, step: int) -> None:
    """Drop what was logged after the checkpoint that a run resumes from."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept: Sequence[str] = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
