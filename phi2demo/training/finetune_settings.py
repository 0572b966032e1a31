"""What the `finetune` command is told, checked. Knows nothing of the data or the base."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from phi2demo.emissions.footprint import WORLD, check_region
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_MODEL
from phi2demo.training.loop_settings import LoopSettings, Schedule
from phi2demo.training.mixture import task_weights
from phi2demo.training.precision import Precision


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
