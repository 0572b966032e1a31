"""The training loop that pretraining and finetuning share; knows nothing about where batches come from.

Batches and dropout depend on the seed and the step alone, and the optimizer's state is saved completely: a run that
was killed and resumed has the loss curve of an unbroken one.
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
from phi2demo.training.loss import CrossEntropy, Validate, add_gradients, cross_entropy, run_validation
from phi2demo.training.record import Log
from phi2demo.training.settings import LoopSettings

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

PREFETCHED = 4
"""Most batches that each worker process prepares in advance."""


def train(
    model: "torch.nn.Module",
    batches: Batches,
    settings: LoopSettings,
    folder: Path,
    accelerator: "Accelerator",
    *,
    validate: Validate | None = None,
    identity: dict[str, Any] | None = None,
    label: str = "train",
) -> TrainingState:
    """Train the parameters of `model` that require gradients, in place; resumes from the last checkpoint in `folder`.

    Writes `folder/log.jsonl`, one object per `log_every` steps, and checkpoints every `checkpoint_minutes`. Validates
    every `validate_every` steps; with `patience`, training ends early once the loss "all" stops falling, and the model
    gets the weights with the lowest one. A validation that was interrupted is repeated when the run is resumed.

    Raises SettingsError if `identity` or the settings are not those of the checkpoint, or if training diverges;
    StoppedError on Ctrl-C or SIGTERM, once a checkpoint is saved.
    """
    import torch

    from phi2demo.training.optimizers import make_optimizer

    torch.manual_seed(settings.seed)
    wrapped = accelerator.prepare(model)  # moves the parameters to their device before the optimizer refers to them
    bare_optimizer = make_optimizer(
        model, settings.optimizer, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    optimizer = accelerator.prepare(bare_optimizer)
    checkpoints = Checkpoints(folder / "checkpoints", model, bare_optimizer, accelerator)
    state = checkpoints.resume(asdict(settings) | (identity or {}))
    state.unmeasured = state.unmeasured and validate is not None
    gradients = _gradient_function(wrapped, settings, accelerator)
    set_dropout(model, settings.dropout)
    wrapped.train()
    prefetched = prefetch(batches, state.step, settings.steps, workers=settings.workers)
    log = Log(folder / "log.jsonl", state, settings, is_main=accelerator.is_main_process, label=label)
    with Interruption() as interruption, closing(log):
        run = _Run(
            wrapped, optimizer, gradients, validate, settings, accelerator, checkpoints, state, log, interruption
        )
        while not run.ended:
            if not state.unmeasured:
                run.step(next(prefetched))
            if state.unmeasured:
                run.validate_now()
            if run.save_if_due() and not run.ended:
                raise StoppedError(
                    f"Stopped after step {state.step} of {settings.steps}, which is saved in {folder / 'checkpoints'}. "
                    "Repeat the same command to continue."
                )
    if settings.patience is not None and state.lowest_step:
        checkpoints.load_lowest()
    return state


@dataclass(eq=False)
class _Run:
    """The steps, validations and checkpoints of one run."""

    model: "torch.nn.Module"
    """The model as the accelerator wraps it."""
    optimizer: Any
    gradients: Callable[[Batch], "torch.Tensor"]
    validate: Validate | None
    settings: LoopSettings
    accelerator: "Accelerator"
    checkpoints: Checkpoints
    state: TrainingState
    log: Log
    interruption: "Interruption"

    def __post_init__(self) -> None:
        self._lap_started = self._saved_at = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the last step is done or patience is exhausted, and no validation is due."""
        return not self.state.unmeasured and (self.state.step == self.settings.steps or self._patience_exhausted)

    @property
    def _patience_exhausted(self) -> bool:
        """Whether the validation loss has not fallen for as long as the settings allow."""
        if self.settings.patience is None or not self.state.lowest_step:
            return False
        return self.state.step - self.state.lowest_step >= self.settings.patience * self.settings.validate_every

    def step(self, batch: Batch) -> None:
        """Do one optimizer step with the batch of all processes."""
        settings, state = self.settings, self.state
        if settings.dropout:
            seed_step(settings.seed, state.step, self.accelerator.process_index)
        loss = self._update_weights(batch)
        state.step += 1
        state.tokens += batch.tokens
        self.log.add(loss, tokens=batch.tokens, seconds=self._lap())
        due = state.step % settings.validate_every == 0 or state.step == settings.steps
        state.unmeasured = due and self.validate is not None

    def _update_weights(self, batch: Batch) -> float:
        """Change the weights; returns the mean loss of the batch before that."""
        share_of_loss = self.gradients(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.state.step)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        norm = self.accelerator.clip_grad_norm_(trained, self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # Checked after the step so that a GPU does not wait for it; fp16's loss scaling skips such a step by itself.
        if self.accelerator.scaler is None and not math.isfinite(norm):
            raise SettingsError(
                f"The gradient of step {self.state.step + 1} is {float(norm)}: training has diverged. "
                "Give a lower --learning-rate or --precision fp32, and another --output folder."
            )
        return float(self.accelerator.reduce(share_of_loss, reduction="sum"))

    def validate_now(self) -> None:
        """Log the validation losses and, with patience, keep the weights if the loss "all" is the lowest so far.

        If the run is to stop meanwhile, the validation remains due.
        """
        assert self.validate is not None
        losses = run_validation(
            self.model,
            self.validate,
            show_progress=self.log.show_validation,
            should_stop=lambda: self._on_any_process(self.interruption.requested)[0],
            eager=self.settings.compile,
        )
        if losses is None:
            return
        self.log.add_validation(losses)
        self.state.unmeasured = False
        lowest = self.state.lowest_loss
        if self.settings.patience is not None and (lowest is None or losses["all"] < lowest):
            self.state.lowest_loss, self.state.lowest_step = losses["all"], self.state.step
            self.checkpoints.save_lowest()

    def save_if_due(self) -> bool:
        """Save a checkpoint at intervals, at the end and if the run is to stop; returns whether it is to stop."""
        due = (time.monotonic() - self._saved_at) / 60 >= self.settings.checkpoint_minutes
        due, stop = self._on_any_process(due, self.interruption.requested)
        self._lap()
        if due or stop or self.ended:
            self.checkpoints.save(self.state)
            self._saved_at = time.monotonic()
            self._lap()
        return stop

    def _lap(self) -> float:
        """Add the time since the last call to that of the run; returns it, in seconds."""
        now = time.monotonic()
        seconds, self._lap_started = now - self._lap_started, now
        self.state.elapsed_s += seconds
        return seconds

    def _on_any_process(self, *flags: bool) -> tuple[bool, ...]:
        """Return whether each flag is set on any process: clocks differ, and a signal may reach one process first."""
        if self.accelerator.num_processes == 1:
            return flags
        import torch

        counts = torch.tensor(flags, dtype=torch.int32, device=self.accelerator.device)
        return tuple(count > 0 for count in self.accelerator.reduce(counts, reduction="sum").tolist())


class Interruption:
    """Notes the first SIGINT or SIGTERM within its `with` block; the second one has its usual effect.

    Does nothing outside the main thread, where Python cannot handle signals.
    """

    def __init__(self) -> None:
        self.requested = False
        self._usual: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._usual = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._usual = {}


def prefetch(batches: Batches, start: int, stop: int, *, workers: int) -> Iterator[Batch]:
    """Yield the batches of the steps from `start` to before `stop`; with 0 workers each is made when it is needed."""
    if not workers:
        yield from (batches.batch(step) for step in range(start, stop))
        return
    from torch.utils.data import DataLoader

    steps: Any = _BatchDataset(batches, stop)
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
class _BatchDataset:
    """Batches as the data set of a DataLoader."""

    batches: Batches
    stop: int

    def __len__(self) -> int:
        return self.stop

    def __getitem__(self, step: int) -> Batch:
        return self.batches.batch(step)


def set_dropout(model: "torch.nn.Module", share: float) -> None:
    """Let `model` drop `share` of the activations in training wherever it has a dropout layer; 0 drops none.

    In a Phi that is after the embeddings and after each layer (Srivastava et al., 2014); never in the attention, whose
    fast kernels it slows down. Raises SettingsError for a share above 0 if the model has no such layers.
    """
    import torch
    from transformers import PreTrainedModel

    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, torch.nn.Dropout)}
    outside_attention = {path for path in layers if not path.rpartition(".")[2].startswith("att")}
    if share and not outside_attention:
        raise SettingsError(
            f"--dropout {share}: this model has no dropout layers, as most models newer than Phi. Leave --dropout out."
        )
    for path, layer in layers.items():
        layer.p = share if path in outside_attention else 0.0
    configs = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    for owner in (*model.modules(), *configs):  # where a share is no layer, but an attribute
        for name in [name for name, value in vars(owner).items() if "drop" in name and isinstance(value, float)]:
            setattr(owner, name, 0.0)


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed torch for one step of one process, so that a resumed run draws the same numbers."""
    import torch

    (state,) = np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)
    torch.manual_seed(int(state))


def _gradient_function(
    model: "torch.nn.Module", settings: LoopSettings, accelerator: "Accelerator"
) -> Callable[[Batch], "torch.Tensor"]:
    """Return `add_gradients` of the model, which is compiled if the settings say so."""
    import torch

    entropy: CrossEntropy = cross_entropy
    if settings.compile:
        model.compile(dynamic=False)
        entropy = torch.compile(cross_entropy, dynamic=False)
    return partial(add_gradients, model, accelerator=accelerator, part_tokens=settings.part_tokens, entropy=entropy)
