"""How a model is optimized: the settings of the training loop, checked, and the learning rate of each step."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from phi2demo.errors import SettingsError
from phi2demo.training.precision import Precision

SEEDS = 2**32
"""What every generator of random numbers here takes."""

Schedule = Literal["linear", "cosine", "constant"]
OptimizerName = Literal["adamw", "muon"]


@dataclass(frozen=True)
class LoopSettings:
    """How a model is optimized."""

    steps: int
    learning_rate: float
    optimizer: OptimizerName = "adamw"
    """See `make_optimizer`."""
    schedule: Schedule = "linear"
    warmup_share: float = 0.02
    """Of all steps, over which the learning rate rises from 0."""
    weight_decay: float = 0.1
    dropout: float = 0.0
    """Share of the activations that a step leaves out."""
    clip_norm: float = 1.0
    precision: Precision = "auto"
    """Of the autocast; see `make_accelerator`."""
    part_tokens: int | None = None
    """Tokens, padding included, that a process computes at once; a larger batch is computed in parts, to save memory."""
    seed: int = 0
    checkpoint_minutes: float = 10.0
    log_every: int = 20
    validate_every: int = 500
    patience: int | None = None
    """Validations in a row without a lower loss after which training ends early; None goes on to the last step."""
    compile: bool = False
    """torch.compile the model: faster on fixed shapes; needs a C++ compiler."""
    workers: int = 0
    """Processes that make batches ahead of the steps; 0 makes each in the training process."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"{self.steps} training steps: at least 1 is needed. Give more tokens, epochs or data.")
        if not 0 < self.learning_rate < 1:
            raise SettingsError(f"--learning-rate {self.learning_rate}: give a number between 0 and 1.")
        if self.schedule not in get_args(Schedule):
            raise SettingsError(f"--schedule {self.schedule}: give one of {', '.join(get_args(Schedule))}.")
        if self.optimizer not in get_args(OptimizerName):
            raise SettingsError(f"--optimizer {self.optimizer}: give one of {', '.join(get_args(OptimizerName))}.")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"--dropout {self.dropout}: give a share from 0 to below 1.")
        if self.workers < 0:
            raise SettingsError(f"--workers {self.workers}: give a whole number from 0.")
        if not self.checkpoint_minutes > 0:  # nan is not
            raise SettingsError(f"--checkpoint-minutes {self.checkpoint_minutes}: give a number above 0.")
        if not 0 <= self.seed < SEEDS:
            raise SettingsError(f"--seed {self.seed}: give a whole number from 0 to {SEEDS - 1}.")
        for name in ("patience", "part_tokens", "validate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"--{name.replace('_', '-')} {value}: give a whole number from 1.")

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
