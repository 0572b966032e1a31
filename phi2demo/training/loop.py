"""The training loop that pretraining and finetuning share. Knows nothing of where batches come from.

A batch and what dropout leaves out follow from the step alone, and the optimizer's state is saved whole: a run that was
killed and resumed has the loss curve of one that was not.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from phi2demo.errors import SettingsError, StoppedError
from phi2demo.settings import turn_off_tokenizer_threads
from phi2demo.training.batch import Batch, Batches
from phi2demo.training.checkpoints import Checkpoints, TrainingState
from phi2demo.training.held_out import TestSet, measure
from phi2demo.training.log import Log
from phi2demo.training.loss import Entropy, add_gradients, cross_entropy
from phi2demo.training.settings import LoopSettings

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

PREFETCHED = 4
"""Batches that each worker is ahead at most."""


def batches_from(batches: Batches, start: int, stop: int, *, workers: int) -> Iterator[Batch]:
    """The batches of the steps from `start` to before `stop`, in order; 0 workers make each when it is asked for."""
    if not workers:
        yield from (batches.at(step) for step in range(start, stop))
        return
    from torch.utils.data import DataLoader

    steps: Any = _Steps(batches, stop)
    loader: DataLoader[Batch] = DataLoader(
        steps,
        sampler=range(start, stop),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=PREFETCHED,
        worker_init_fn=turn_off_tokenizer_threads,
    )
    yield from loader


@dataclass(frozen=True)
class _Steps:
    """Batches as the data set that a DataLoader reads."""

    batches: Batches
    stop: int

    def __len__(self) -> int:
        return self.stop

    def __getitem__(self, step: int) -> Batch:
        return self.batches.at(step)


class Interruption:
    """Notes the first SIGINT or SIGTERM while it is entered; the second has its usual effect, at once.

    Does nothing outside the main thread, where Python does not let signals be handled.
    """

    def __init__(self) -> None:
        self.asked = False
        self._usual: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._usual = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._usual = {}


def set_dropout(model: "torch.nn.Module", share: float) -> None:
    """In training, leave out `share` of the activations where `model` has a layer for it; 0 for none.

    Of a Phi that is after the embeddings and after each layer (Srivastava et al., 2014); never of the attention, whose
    fast kernels it slows down.
    """
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        if "attention_dropout" in vars(module):
            vars(module)["attention_dropout"] = 0.0


def seed_step(seed: int, step: int, process: int) -> None:
    """What a process draws in a step follows from these alone."""
    import torch

    (state,) = np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)
    torch.manual_seed(int(state))


def train(
    model: "torch.nn.Module",
    batches: Batches,
    settings: LoopSettings,
    folder: Path,
    accelerator: "Accelerator",
    *,
    validate: TestSet | None = None,
    identity: dict[str, Any] | None = None,
    label: str = "train",
) -> TrainingState:
    """Train the parameters of `model` that require gradients, in place; resumes from the last checkpoint in `folder`.

    Writes `folder/log.jsonl`, one object per `log_every` steps, and checkpoints every `checkpoint_minutes`.
    `identity` is what must not change between a run and its resumption; SettingsError where it did. `validate` gives
    held-out losses every `validate_every` steps; with `patience`, training ends early once the one named "all" falls no
    more, and the model is left with the weights for which it was lowest; a run that is stopped while it is measured is
    measured when it goes on. Raises StoppedError on Ctrl-C or SIGTERM, once a checkpoint is saved.
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
    state.unmeasured = state.unmeasured and validate is not None
    compute = _gradients(wrapped, settings, accelerator)
    set_dropout(model, settings.dropout)
    wrapped.train()
    coming = batches_from(batches, state.step, settings.steps, workers=settings.workers)
    with Interruption() as interruption, closing(_open_log(folder, state, settings, accelerator, label)) as log:
        run = _Run(wrapped, optimizer, compute, validate, settings, accelerator, checkpoints, state, log, interruption)
        while not run.ended:
            if not state.unmeasured:
                run.step(next(coming))
            if state.unmeasured:
                run.measure()
            if run.save_where_due() and not run.ended:
                raise StoppedError(
                    f"Stopped after step {state.step} of {settings.steps}, which is saved in {folder / 'checkpoints'}. "
                    "Repeat the same command to go on."
                )
    if settings.patience is not None and state.lowest_step:
        checkpoints.load_lowest()
    return state


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


def _gradients(
    model: "torch.nn.Module", settings: LoopSettings, accelerator: "Accelerator"
) -> Callable[[Batch], "torch.Tensor"]:
    """Those of the model itself, which is compiled where the settings say so."""
    import torch

    entropy: Entropy = cross_entropy
    if settings.compile:
        model.compile(dynamic=False)
        entropy = torch.compile(cross_entropy, dynamic=False)
    return partial(add_gradients, model, accelerator=accelerator, part_tokens=settings.part_tokens, entropy=entropy)


def _open_log(
    folder: Path, state: TrainingState, settings: LoopSettings, accelerator: "Accelerator", label: str
) -> Log:
    return Log(
        folder / "log.jsonl",
        state,
        steps=settings.steps,
        every=settings.log_every,
        learning_rate_at=settings.learning_rate_at,
        main=accelerator.is_main_process,
        label=label,
    )


@dataclass(eq=False)
class _Run:
    """What happens between the start of a run and its end: steps, measurements, checkpoints."""

    model: "torch.nn.Module"
    """As the accelerator wraps it."""
    optimizer: Any
    gradients: Callable[[Batch], "torch.Tensor"]
    validate: TestSet | None
    settings: LoopSettings
    accelerator: "Accelerator"
    checkpoints: Checkpoints
    state: TrainingState
    log: Log
    interruption: Interruption

    def __post_init__(self) -> None:
        self._clock, self._saved_at = _Clock(self.state), time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the last step is done, or patience is at its end, and nothing is left to measure."""
        return not self.state.unmeasured and (self.state.step == self.settings.steps or self._exhausted)

    @property
    def _exhausted(self) -> bool:
        """Whether the loss on held-out examples has not fallen for as long as the settings have patience."""
        if self.settings.patience is None or not self.state.lowest_step:
            return False
        return self.state.step - self.state.lowest_step >= self.settings.patience * self.settings.validate_every

    def step(self, batch: Batch) -> None:
        """One optimizer step over the batch of all processes."""
        settings, state = self.settings, self.state
        if settings.dropout:
            seed_step(settings.seed, state.step, self.accelerator.process_index)
        loss = self._descend(batch)
        state.step += 1
        state.tokens += batch.tokens
        self.log.add(loss, tokens=batch.tokens, seconds=self._clock.lap())
        due = state.step % settings.validate_every == 0 or state.step == settings.steps
        state.unmeasured = due and self.validate is not None

    def _descend(self, batch: Batch) -> float:
        """Change the weights; returns the mean loss that the batch had before."""
        total = self.gradients(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.state.step)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        norm = self.accelerator.clip_grad_norm_(trained, self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # Asked after the step, lest a GPU wait for it; a scaler passes over such a step by itself.
        if self.accelerator.scaler is None and not math.isfinite(norm):
            raise SettingsError(
                f"The gradient of step {self.state.step + 1} is {float(norm)}: training has diverged. "
                "Give a lower --learning-rate or --precision fp32, and another --output folder."
            )
        return float(self.accelerator.reduce(total, reduction="sum"))

    def measure(self) -> None:
        """Log the losses on held-out examples; with patience, keep the weights where the one of all is lowest so far.

        Where the run is told to stop meanwhile, the measurement stays due.
        """
        assert self.validate is not None
        losses = measure(
            self.model, self.validate, show=self.log.measuring, stopped=self._stopped, eager=self.settings.compile
        )
        if losses is None:
            return
        self.log.validation(losses)
        self.state.unmeasured = False
        lowest = self.state.lowest_loss
        if self.settings.patience is not None and (lowest is None or losses["all"] < lowest):
            self.state.lowest_loss, self.state.lowest_step = losses["all"], self.state.step
            self.checkpoints.save_lowest()

    def save_where_due(self) -> bool:
        """Save a checkpoint from time to time, at the end, and where the run is told to stop; returns whether it is."""
        due = (time.monotonic() - self._saved_at) / 60 >= self.settings.checkpoint_minutes
        due, stop = self._any(due, self.interruption.asked)
        self._clock.lap()
        if due or stop or self.ended:
            self.checkpoints.save(self.state)
            self._saved_at = time.monotonic()
            self._clock.lap()
        return stop

    def _stopped(self) -> bool:
        """Whether any process was told to stop."""
        return self._any(self.interruption.asked)[0]

    def _any(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, where any process raised it: clocks differ, and a signal may reach one process first."""
        if self.accelerator.num_processes == 1:
            return flags
        import torch

        raised = torch.tensor(flags, dtype=torch.int32, device=self.accelerator.device)
        return tuple(count > 0 for count in self.accelerator.reduce(raised, reduction="sum").tolist())


class _Clock:
    """Adds the time since the lap before to a run's time."""

    def __init__(self, state: TrainingState) -> None:
        self._state, self._since = state, time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self._state.elapsed_s += seconds
        return seconds
