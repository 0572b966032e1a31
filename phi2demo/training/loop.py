"""The training loop that pretraining and finetuning share. Knows nothing of where batches come from.

A batch and what dropout leaves out follow from the step alone, and the optimizer's state is saved whole: a run that was
killed and resumed has the loss curve of one that was not.
"""

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi2demo.errors import SettingsError
from phi2demo.training.ahead import batches_from
from phi2demo.training.batch import Batch, Batches
from phi2demo.training.checkpoints import Checkpoints, TrainingState
from phi2demo.training.dropout import seed_step, set_dropout
from phi2demo.training.gradients import Entropy, add_gradients, cross_entropy
from phi2demo.training.interruption import Interruption, StoppedError
from phi2demo.training.log import Log
from phi2demo.training.loop_settings import LoopSettings
from phi2demo.training.measuring import Measure, measure

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


def train(
    model: "torch.nn.Module",
    batches: Batches,
    settings: LoopSettings,
    folder: Path,
    accelerator: "Accelerator",
    *,
    validate: Measure | None = None,
    gradients: Callable[[Batch], "torch.Tensor"] | None = None,
    identity: dict[str, Any] | None = None,
    label: str = "train",
) -> TrainingState:
    """Train the parameters of `model` that require gradients, in place; resumes from the last checkpoint in `folder`.

    Writes `folder/log.jsonl`, one object per `log_every` steps, and checkpoints every `checkpoint_minutes`.
    `identity` is what must not change between a run and its resumption; SettingsError where it did. `validate` gives
    held-out losses every `validate_every` steps; with `patience`, training ends early once the one named "all" falls no
    more, and the model is left with the weights for which it was lowest; a run that is stopped while it is measured is
    measured when it goes on. `gradients`, for a single process, adds those
    of a batch's mean loss to the parameters in place of the model's own and returns that loss. Raises StoppedError on
    Ctrl-C or SIGTERM, once a checkpoint is saved.
    """
    import torch

    from phi2demo.training.optimizers import make_optimizer

    torch.manual_seed(settings.seed)
    wrapped = accelerator.prepare(model)  # on its device before the optimizer takes hold of its parameters
    bare = make_optimizer(
        model, settings.optimizer, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    optimizer = accelerator.prepare(bare)
    checkpoints = Checkpoints(folder / "checkpoints", model, bare, accelerator)
    state = checkpoints.resume(asdict(settings) | (identity or {}))
    entropy: Entropy = cross_entropy
    if settings.compile:
        wrapped.compile(dynamic=False)
        entropy = torch.compile(cross_entropy, dynamic=False)
    state.unmeasured = state.unmeasured and validate is not None
    log = Log(
        folder / "log.jsonl",
        state,
        steps=settings.steps,
        every=settings.log_every,
        learning_rate_at=settings.learning_rate_at,
        main=accelerator.is_main_process,
        label=label,
    )
    compute = gradients or partial(
        add_gradients, wrapped, accelerator=accelerator, part_tokens=settings.part_tokens, entropy=entropy
    )
    set_dropout(model, settings.dropout)
    wrapped.train()
    coming = batches_from(batches, state.step, settings.steps, workers=settings.workers)
    clock = _Clock(state)
    saved_at = time.monotonic()
    with Interruption() as interruption, closing(log):
        stopped = partial(_asked, interruption, accelerator)
        while not _ended(state, settings):
            if not state.unmeasured:
                batch = next(coming)
                if settings.dropout:
                    seed_step(settings.seed, state.step, accelerator.process_index)
                loss = _step(wrapped, optimizer, batch, settings, state.step, accelerator, compute)
                state.step += 1
                state.tokens += batch.tokens
                log.add(loss, tokens=batch.tokens, seconds=clock.lap())
                due = state.step % settings.validate_every == 0 or state.step == settings.steps
                state.unmeasured = due and validate is not None
            if validate and state.unmeasured:
                losses = measure(wrapped, validate, show=log.measuring, stopped=stopped, eager=settings.compile)
                if losses is not None:
                    _note(losses, log, state, settings, checkpoints)
            last = _ended(state, settings)
            due = (time.monotonic() - saved_at) / 60 >= settings.checkpoint_minutes
            due, stop = _any(accelerator, due, interruption.asked)
            clock.lap()
            if due or stop or last:
                checkpoints.save(state)
                saved_at = time.monotonic()
                clock.lap()
            if stop and not last:
                raise StoppedError(
                    f"Stopped after step {state.step} of {settings.steps}, which is saved in {folder / 'checkpoints'}. "
                    "Repeat the same command to go on."
                )
    if settings.patience is not None and state.lowest_step:
        checkpoints.load_lowest()
    return state


def _note(
    losses: dict[str, float], log: Log, state: TrainingState, settings: LoopSettings, checkpoints: Checkpoints
) -> None:
    """Log the losses on held-out examples; with patience, keep the weights where the one of all is the lowest so far."""
    log.validation(losses)
    state.unmeasured = False
    lowest = state.lowest_loss
    if settings.patience is not None and (lowest is None or losses["all"] < lowest):
        state.lowest_loss, state.lowest_step = losses["all"], state.step
        checkpoints.save_lowest()


def _ended(state: TrainingState, settings: LoopSettings) -> bool:
    return not state.unmeasured and (state.step == settings.steps or _exhausted(state, settings))


def _exhausted(state: TrainingState, settings: LoopSettings) -> bool:
    """Whether the loss on held-out examples has not fallen for as long as the settings have patience."""
    if settings.patience is None or not state.lowest_step:
        return False
    return state.step - state.lowest_step >= settings.patience * settings.validate_every


def describe(state: TrainingState, accelerator: "Accelerator") -> dict[str, Any]:
    """What a run has cost, and on what, as JSON values."""
    return {
        "steps": state.step,
        "tokens": state.tokens,
        "hours": state.elapsed_s / 3600,
        "processes": accelerator.num_processes,
        "device": accelerator.device.type,
        "precision": accelerator.mixed_precision,
    }


class _Clock:
    """Adds the time since the lap before to a run's time."""

    def __init__(self, state: TrainingState) -> None:
        self._state, self._since = state, time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self._state.elapsed_s += seconds
        return seconds


def _step(
    model: "torch.nn.Module",
    optimizer: Any,
    batch: Batch,
    settings: LoopSettings,
    step: int,
    accelerator: "Accelerator",
    gradients: Callable[[Batch], "torch.Tensor"],
) -> float:
    """One optimizer step over the batch of all processes; returns its mean loss."""
    total = gradients(batch)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate_at(step)
    norm = accelerator.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], settings.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    # Asked after the step, lest a GPU wait for it; a scaler passes over such a step by itself.
    if accelerator.scaler is None and not math.isfinite(norm):
        raise SettingsError(
            f"The gradient of step {step + 1} is {float(norm)}: training has diverged. "
            "Give a lower --learning-rate or --precision fp32, and another --output folder."
        )
    total = accelerator.reduce(total, reduction="sum")
    return float(total)


def _asked(interruption: Interruption, accelerator: "Accelerator") -> bool:
    """Whether any process was told to stop."""
    return _any(accelerator, interruption.asked)[0]


def _any(accelerator: "Accelerator", *flags: bool) -> tuple[bool, ...]:
    """Each flag, where any process raised it: clocks differ, and a signal may reach one process first."""
    if accelerator.num_processes == 1:
        return flags
    import torch

    raised = torch.tensor(flags, dtype=torch.int32, device=accelerator.device)
    return tuple(count > 0 for count in accelerator.reduce(raised, reduction="sum").tolist())
