"""How a model is optimized: the settings of the training loop, checked, and the learning rate of each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from phi2demo.emissions.footprint import WORLD, check_region
from phi2demo.engine.devices import choose_device, has_bfloat16
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_MODEL
from phi2demo.training.mixture import task_weights

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PhiConfig


@dataclass(frozen=True)
class Phase:
    """A stretch of pretraining at one sequence length."""

    share: float
    """Of all tokens."""
    length: int
    """Tokens in a row."""
    rows: int
    """Rows in a step."""


@dataclass(frozen=True)
class Preset:
    """A Phi shape with the budget it is trained on."""

    layers: int
    hidden: int
    heads: int
    vocab_size: int
    context: int
    """Tokens the model reads at most."""
    tokens: int
    """Tokens seen in pretraining."""
    learning_rate: float
    phases: tuple[Phase, ...]

    def config(self, *, vocab_size: int, end_id: int, pad_id: int) -> "PhiConfig":
        """The `transformers` config: Phi's architecture with tied embeddings."""
        from transformers import PhiConfig

        return PhiConfig(
            vocab_size=vocab_size,
            hidden_size=self.hidden,
            intermediate_size=4 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.context,
            partial_rotary_factor=0.5,
            tie_word_embeddings=True,
            bos_token_id=end_id,
            eos_token_id=end_id,
            pad_token_id=pad_id,
        )


PRESETS = {
    "tiny": Preset(
        layers=2,
        hidden=64,
        heads=2,
        vocab_size=512,
        context=256,
        tokens=40_000,
        learning_rate=3e-3,
        phases=(Phase(0.8, 64, 8), Phase(0.2, 256, 2)),
    ),
    "nano": Preset(
        layers=6,
        hidden=256,
        heads=4,
        vocab_size=8192,
        context=1024,
        tokens=24_000_000,
        learning_rate=3e-3,
        phases=(Phase(0.75, 256, 12), Phase(0.25, 1024, 3)),
    ),
    "mini": Preset(
        layers=12,
        hidden=384,
        heads=6,
        vocab_size=16384,
        context=1024,
        tokens=380_000_000,
        learning_rate=2.5e-3,
        phases=(Phase(1.0, 1024, 96),),
    ),
}

Precision = Literal["auto", "bf16", "fp16", "fp32"]


def make_accelerator(precision: Precision, *, device: str | None = None) -> "Accelerator":
    """An Accelerator that computes under autocast in `precision`, on weights in float32; `device` "cpu" forces the CPU.

    "auto" is bf16 where the device computes in it, else fp32; never fp16, in which the attention of Phi-2 can overflow.
    """
    import torch
    from accelerate import Accelerator

    if precision not in get_args(Precision):
        raise SettingsError(f"--precision {precision}: give one of {', '.join(get_args(Precision))}.")
    if device not in (None, "cpu", "cuda", "mps"):
        raise SettingsError(f"--device {device}: give cpu, cuda or mps.")
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if device == "cuda" and not on_gpu:
        raise SettingsError("--device cuda: no CUDA device is found here. Use --device cpu.")
    if precision == "fp16" and not on_gpu:
        raise SettingsError("--precision fp16 needs a CUDA device. Use --precision bf16 or fp32 here.")
    if precision == "auto":
        precision = "bf16" if has_bfloat16(device or choose_device("auto")) else "fp32"
    names = {"bf16": "bf16", "fp16": "fp16", "fp32": "no"}
    return Accelerator(mixed_precision=names[precision], cpu=device == "cpu")


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


@dataclass(frozen=True)
class FinetuneSettings:
    """What the `finetune` command is told."""

    data: Path
    """Folder of JSON-lines files (.jsonl, .jsonl.gz, .jsonl.xz), searched whole."""
    output: Path
    """Folder for the adapter, its log and its checkpoints."""
    model: str = str(EMBEDDED_MODEL)
    """Folder or hub id of the base."""
    revision: str | None = None
    """Of the base, on the hub."""
    base_name: str | None = None
    """What the adapter names as its base; what --model says where not given."""
    steps: int | None = None
    """Batches to learn from."""
    epochs: float | None = None
    """Instead of --steps: as many examples as there are training rows, so many times."""
    batch_size: int = 32
    """Examples in a step, over all processes."""
    part_tokens: int = 4096
    """Tokens computed at once, which bounds the memory; a step does all its examples whatever this is."""
    max_length: int | None = None
    """Tokens of prompt and output; where not given 1,024, or the base's context if that is less."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Weight of a task, over the built-in ones; 0 leaves it out."""
    rank: int = 16
    """Of the adapter's matrices: how much it can learn, and how large it is."""
    alpha: int = 32
    """The adapter's changes are scaled by alpha / rank."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")
    """Names of the layers that are adapted; Phi's linear layers."""
    learning_rate: float | None = None
    """At its highest; where not given 1e-3 for a base of at most 100 million parameters, 2e-4 for a larger one."""
    schedule: Schedule = "cosine"
    """How the learning rate falls."""
    precision: Precision = "auto"
    """Of the autocast; auto: bf16 where the device computes in it, else fp32."""
    dropout: float = 0.0
    """Share of the activations that a step leaves out."""
    workers: int = 0
    """Processes that make batches ahead: a GPU would wait for a single one."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of holding them: less memory, a third more time."""
    seed: int = 0
    """Of the first weights and of the order of the examples."""
    checkpoint_minutes: float = 10.0
    """Between checkpoints; the newest two are kept."""
    validate_every: int = 500
    """Steps between measurements on held-out examples."""
    patience: int = 3
    """Measurements in a row without a lower loss after which training ends; the adapter is the one of the lowest."""
    device: str | None = None
    """cpu, cuda or mps; the best there is where not given."""
    region: str = WORLD
    """Whose electricity is used, for the estimate of emissions: a country in English, or the world average."""

    def __post_init__(self) -> None:
        check_region(self.region)
        if self.steps is None and self.epochs is None:
            raise SettingsError("Say how long to train: --steps, or --epochs.")
        if self.steps is not None and self.epochs is not None:
            raise SettingsError(f"Both --steps {self.steps} and --epochs {self.epochs} are given; give one.")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise SettingsError(f"--epochs {self.epochs}: give a number above 0.")
        for name in ("batch_size", "part_tokens", "rank", "alpha"):
            if getattr(self, name) < 1:
                raise SettingsError(f"--{name.replace('_', '-')} {getattr(self, name)}: give a whole number from 1.")
        if not self.targets:
            raise SettingsError("--targets is empty; name the layers to adapt, such as q_proj,v_proj,fc1,fc2.")
        if (self.output / "config.json").exists():
            raise SettingsError(f"--output {self.output} holds a base model; give the adapter a folder of its own.")
        task_weights(self.mix)
        self.loop(steps=1 if self.steps is None else self.steps, learning_rate=1e-3)

    def loop(self, steps: int, learning_rate: float) -> LoopSettings:
        """For the training loop, at `learning_rate` where none is set; SettingsError where an option is out of range."""
        return LoopSettings(
            steps=steps,
            learning_rate=learning_rate if self.learning_rate is None else self.learning_rate,
            schedule=self.schedule,
            weight_decay=0.0,
            precision=self.precision,
            dropout=self.dropout,
            workers=self.workers,
            part_tokens=self.part_tokens,
            seed=self.seed,
            checkpoint_minutes=self.checkpoint_minutes,
            validate_every=self.validate_every,
            patience=self.patience,
        )
