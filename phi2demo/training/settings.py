"""Settings of pretraining and finetuning, each checked once, and the sizes of model that can be pretrained.

The fields of `PretrainSettings` and `FinetuneSettings` are the options of the two commands, their docstrings the help.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from phi2demo.emissions.footprint import WORLD, check_region
from phi2demo.engine.devices import choose_device, has_bfloat16
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_MODEL
from phi2demo.training.instructions import task_weights

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PhiConfig

Precision = Literal["auto", "bf16", "fp16", "fp32"]
Schedule = Literal["linear", "cosine", "constant"]
OptimizerName = Literal["adamw", "muon"]

ALL_LINEAR = "all-linear"
"""PEFT's name, as a target, for all linear layers of a model except its output layer."""

SEED_LIMIT = 2**32
"""Seeds are below this, so that every random number generator used here accepts them."""


@dataclass(frozen=True)
class LoopSettings:
    """How the training loop optimizes a model."""

    steps: int
    learning_rate: float
    """Highest learning rate of the schedule."""
    optimizer: OptimizerName = "adamw"
    """See `make_optimizer`."""
    schedule: Schedule = "linear"
    warmup_share: float = 0.02
    """Share of the steps during which the learning rate rises from 0."""
    weight_decay: float = 0.1
    dropout: float = 0.0
    """Share of the activations that each step drops."""
    clip_norm: float = 1.0
    """The norm of the gradient is clipped to this."""
    precision: Precision = "auto"
    """Precision of the autocast; see `make_accelerator`."""
    part_tokens: int | None = None
    """Most tokens, padding included, that a process computes at once: it splits a larger batch to save memory."""
    seed: int = 0
    checkpoint_minutes: float = 10.0
    log_every: int = 20
    validate_every: int = 500
    patience: int | None = None
    """Validations in a row without a lower loss after which training stops early; None trains to the last step."""
    compile: bool = False
    """Compile the model with torch.compile: faster on fixed shapes, needs a C++ compiler."""
    workers: int = 0
    """Processes that prepare batches in advance; with 0 the training process makes each batch itself."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"{self.steps} training steps: at least 1 is needed. Give more tokens, epochs or data.")
        if not 0 < self.learning_rate < 1:
            raise SettingsError(f"--learning-rate {self.learning_rate}: give a number between 0 and 1.")
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("optimizer", self.optimizer, get_args(OptimizerName))
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"--dropout {self.dropout}: give a share from 0 to below 1.")
        if self.workers < 0:
            raise SettingsError(f"--workers {self.workers}: give a whole number from 0.")
        if not self.checkpoint_minutes > 0:  # also refuses nan
            raise SettingsError(f"--checkpoint-minutes {self.checkpoint_minutes}: give a number above 0.")
        if not 0 <= self.seed < SEED_LIMIT:
            raise SettingsError(f"--seed {self.seed}: give a whole number from 0 to {SEED_LIMIT - 1}.")
        for name in ("patience", "part_tokens", "validate_every"):
            _check_count(name, getattr(self, name))

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
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
class PretrainSettings:
    """Options of the `pretrain` command."""

    data: Path
    """Folder of JSON-lines files (.jsonl, .jsonl.gz, .jsonl.xz); its subfolders are searched too."""
    output: Path
    """Folder for the model, its log and its checkpoints."""
    preset: str = "nano"
    """Size of the model and its token budget: nano for a CPU, mini for a GPU, tiny for a quick try."""
    start: Path | None = None
    """Folder of a base of the same preset to continue from, with its tokenizer; random weights if not given."""
    tokens: int | None = None
    """Tokens to train on; the budget of the preset if not given."""
    learning_rate: float | None = None
    """Highest learning rate; that of the preset if not given."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Weight of the data sets whose names start with NAME, instead of the built-in weight; 0 leaves them out."""
    optimizer: OptimizerName = "muon"
    """muon for the matrices of the layers (adamw for embeddings and vectors), or adamw for all parameters."""
    schedule: Schedule = "linear"
    """How the learning rate falls."""
    precision: Precision = "auto"
    """Precision of the autocast; auto is bf16 where the device computes in it, else fp32."""
    dropout: float = 0.0
    """Share of the activations that each step drops; 0.1 where texts are repeated often, to learn them less by heart."""
    seed: int = 0
    """Seed of the initial weights and of the order of the examples."""
    part_tokens: int | None = None
    """Most tokens computed at once, which limits the memory; a process's whole share of a step if not given."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints; the newest two are kept."""
    validate_every: int = 500
    """Steps between validations on held-out examples."""
    device: str | None = None
    """cpu, cuda or mps; the best available if not given."""
    compile: bool = False
    """Compile the model with torch: faster after the first minute, needs a C++ compiler."""
    workers: int = 0
    """Processes that prepare batches in advance: a GPU would wait for a single one."""
    region: str = WORLD
    """Country whose electricity is used (its English name), or the world average, to estimate the emissions."""

    def __post_init__(self) -> None:
        check_region(self.region)
        _check_choice("preset", self.preset, PRESETS)
        _check_count("tokens", self.tokens)
        for name, weight in self.mix.items():
            if not 0 <= weight < math.inf:
                raise SettingsError(f"--mix {name}={weight}: give a weight from 0.")
        self.loop(steps=1)

    def loop(self, steps: int) -> LoopSettings:
        """Return the settings of the training loop; SettingsError if an option is out of range."""
        return LoopSettings(
            steps=steps,
            learning_rate=PRESETS[self.preset].learning_rate if self.learning_rate is None else self.learning_rate,
            optimizer=self.optimizer,
            schedule=self.schedule,
            precision=self.precision,
            dropout=self.dropout,
            part_tokens=self.part_tokens,
            seed=self.seed,
            checkpoint_minutes=self.checkpoint_minutes,
            validate_every=self.validate_every,
            compile=self.compile,
            workers=self.workers,
        )


@dataclass(frozen=True)
class FinetuneSettings:
    """Options of the `finetune` command."""

    data: Path
    """Folder of JSON-lines files (.jsonl, .jsonl.gz, .jsonl.xz); its subfolders are searched too."""
    output: Path
    """Folder for the adapter, its log and its checkpoints."""
    model: str = str(EMBEDDED_MODEL)
    """Folder or hub id of the base."""
    revision: str | None = None
    """Revision of the base on the hub."""
    base_name: str | None = None
    """Name of the base that is written into the adapter; the value of --model if not given."""
    steps: int | None = None
    """Training steps; give either --steps or --epochs."""
    epochs: float | None = None
    """How often the training rows are seen: the number of examples is that of the training rows times this."""
    batch_size: int = 32
    """Examples of a step, over all processes."""
    part_tokens: int = 4096
    """Most tokens computed at once, which limits the memory; the result is the same but for rounding."""
    max_length: int | None = None
    """Most tokens of prompt and output together; 1,024, or the context of the base if that is less, if not given."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Weight of a task, instead of the built-in weight; 0 leaves it out."""
    rank: int = 16
    """Rank of the adapter's matrices: how much it can learn, and how large it is."""
    alpha: int = 32
    """The adapter's changes are scaled by alpha / rank."""
    template: str | None = None
    """Prompt template: phi, alpaca, chatml, chat (the tokenizer's own), plain, or a text with {prompt}; by default the
    tokenizer's chat template, else phi for a Phi and plain for others."""
    system: str | None = None
    """System text of the template, where it takes one."""
    tasks: Path | None = None
    """A tasks.json with tasks of your own; its template is used where --template is not given."""
    targets: tuple[str, ...] = (ALL_LINEAR,)
    """Names of the layers to adapt, such as q_proj,v_proj; all-linear is every linear layer but the output layer."""
    learning_rate: float | None = None
    """Highest learning rate; 1e-3 for a base of at most 100 million parameters, 2e-4 for a larger one, if not given."""
    schedule: Schedule = "cosine"
    """How the learning rate falls."""
    precision: Precision = "auto"
    """Precision of the autocast; auto is bf16 where the device computes in it, else fp32."""
    dropout: float = 0.0
    """Share of the activations that each step drops."""
    workers: int = 0
    """Processes that prepare batches in advance: a GPU would wait for a single one."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""
    seed: int = 0
    """Seed of the initial weights and of the order of the examples."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints; the newest two are kept."""
    validate_every: int = 500
    """Steps between validations on held-out examples."""
    patience: int = 3
    """Validations in a row without a lower loss after which training stops; the weights of the lowest loss are kept."""
    device: str | None = None
    """cpu, cuda or mps; the best available if not given."""
    region: str = WORLD
    """Country whose electricity is used (its English name), or the world average, to estimate the emissions."""

    def __post_init__(self) -> None:
        check_region(self.region)
        if self.steps is None and self.epochs is None:
            raise SettingsError("Say how long to train: --steps, or --epochs.")
        if self.steps is not None and self.epochs is not None:
            raise SettingsError(f"Both --steps {self.steps} and --epochs {self.epochs} are given; give one.")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise SettingsError(f"--epochs {self.epochs}: give a number above 0.")
        for name in ("batch_size", "rank", "alpha"):
            _check_count(name, getattr(self, name))
        if not self.targets:
            raise SettingsError("--targets is empty; name the layers to adapt, such as q_proj,v_proj, or all-linear.")
        if ALL_LINEAR in self.targets and len(self.targets) > 1:
            raise SettingsError(f"--targets {','.join(self.targets)}: give either {ALL_LINEAR} or names of layers.")
        if (self.output / "config.json").exists():
            raise SettingsError(f"--output {self.output} holds a base model; give another folder for the adapter.")
        if self.tasks is None:
            task_weights(self.mix)  # with tasks of one's own, `finetune` does so once they are read
        self.loop(steps=1 if self.steps is None else self.steps, default_learning_rate=1e-3)

    def loop(self, steps: int, default_learning_rate: float) -> LoopSettings:
        """Return the settings of the training loop; SettingsError if an option is out of range."""
        return LoopSettings(
            steps=steps,
            learning_rate=default_learning_rate if self.learning_rate is None else self.learning_rate,
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


def _check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise SettingsError(f"--{name} {value}: give one of {', '.join(choices)}.")


def _check_count(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise SettingsError(f"--{name.replace('_', '-')} {value}: give a whole number from 1.")


@dataclass(frozen=True)
class Phase:
    """A part of pretraining with rows of one length."""

    share: float
    """Share of the training tokens."""
    length: int
    """Tokens of a row."""
    rows: int
    """Rows of a step."""


@dataclass(frozen=True)
class Preset:
    """A size of Phi model with its budget of training tokens."""

    layers: int
    hidden: int
    heads: int
    vocab_size: int
    context: int
    """Most tokens that the model reads."""
    tokens: int
    """Training tokens."""
    learning_rate: float
    phases: tuple[Phase, ...]

    def config(self, *, vocab_size: int, end_id: int, pad_id: int) -> "PhiConfig":
        """Return the `transformers` config: Phi's architecture with tied embeddings."""
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


def make_accelerator(precision: Precision, *, device: str | None = None) -> "Accelerator":
    """Make an Accelerator that computes under autocast in `precision`; the trained weights stay in float32.

    "auto" is bf16 where the device computes in it, else fp32; never fp16, in which the attention of Phi-2 can overflow.
    Raises SettingsError for a precision or a device that this machine does not have.
    """
    import torch
    from accelerate import Accelerator

    _check_choice("precision", precision, get_args(Precision))
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
