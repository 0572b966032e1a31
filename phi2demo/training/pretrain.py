"""Train a base model of Phi's architecture from scratch: corpus -> tokenizer -> token streams -> next-token loss."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phi2demo.data.corpus import CleaningReport, Source, read_corpus
from phi2demo.emissions.footprint import WORLD, check_region
from phi2demo.emissions.meter import detect_hardware
from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.training import record
from phi2demo.training.batch import Batch
from phi2demo.training.checkpoints import check_same
from phi2demo.training.held_out import ProgressCallback
from phi2demo.training.loop import describe, train
from phi2demo.training.loss import target_loss
from phi2demo.training.pretraining_texts import Blocks, gap_sentences, plain_texts, weight_of, write_stream
from phi2demo.training.record import base_hashes, data_hashes, make_output, versions
from phi2demo.training.settings import (
    PRESETS,
    LoopSettings,
    OptimizerName,
    Phase,
    Precision,
    Preset,
    Schedule,
    make_accelerator,
)
from phi2demo.training.tokenizer import train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PhiForCausalLM, PreTrainedTokenizerFast

SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


def check_start(folder: Path, preset: Preset) -> None:
    """Raises SettingsError or ModelError where `folder` holds no base of the preset's shape. Reads no weights."""
    if not folder.is_dir():
        raise SettingsError(f"--start {folder} is no folder here; give that of a base that pretrain made.")
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise SettingsError(f"--start {folder} holds an adapter, which is no base; give the folder of its base.")
    model_type = plan(ModelSettings(model=str(folder))).config.model_type
    if model_type != "phi":
        raise SettingsError(f"--start {folder} holds a model of type {model_type!r}; give a base that pretrain made.")
    _check_shape(folder, preset)


def load_start(folder: Path) -> "PhiForCausalLM":
    """The weights of a checked base, in float32."""
    import torch
    from transformers import PhiForCausalLM

    model: PhiForCausalLM = PhiForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model


def _check_shape(folder: Path, preset: Preset) -> None:
    from transformers import PhiConfig, PreTrainedTokenizerFast

    config = PhiConfig.from_pretrained(folder)
    wanted = preset.config(vocab_size=config.vocab_size, end_id=0, pad_id=0)
    for name in SHAPE:
        if getattr(config, name) != getattr(wanted, name):
            raise SettingsError(
                f"--start {folder} has {name} {getattr(config, name)}, the preset {getattr(wanted, name)}. "
                "Give a base of the preset's shape, or another --preset."
            )
    if (tokens := len(PreTrainedTokenizerFast.from_pretrained(folder))) > config.vocab_size:
        raise SettingsError(
            f"--start {folder} has vocab_size {config.vocab_size}, too few for the {tokens} tokens of its tokenizer. "
            "Give a base that pretrain made."
        )


TOKENIZER_CHARACTERS = 30_000_000
"""Text the tokenizer is trained on, taken from each data set by its weight."""


VALIDATION_ROWS = 12
"""Blocks of each data set."""


@dataclass(frozen=True)
class PretrainSettings:
    """What the `pretrain` command is told."""

    data: Path
    """Folder of JSON-lines files (.jsonl, .jsonl.gz, .jsonl.xz), searched whole."""
    output: Path
    """Folder for the model, its log and its checkpoints."""
    preset: str = "nano"
    """Shape and budget: nano for a CPU, mini for a GPU, tiny for a try."""
    start: Path | None = None
    """Folder of a base of the preset's shape to go on from, with its tokenizer; random weights where not given."""
    tokens: int | None = None
    """Tokens to see; the preset's budget where not given."""
    learning_rate: float | None = None
    """At its highest; the preset's where not given."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Weight of the data sets whose names start so, over the built-in ones; 0 leaves them out."""
    optimizer: OptimizerName = "muon"
    """muon for the layers' matrices (embeddings and vectors get adamw), or adamw for all."""
    schedule: Schedule = "linear"
    """How the learning rate falls."""
    precision: Precision = "auto"
    """Of the autocast; auto: bf16 where the device computes in it, else fp32."""
    dropout: float = 0.0
    """Share of the activations that a step leaves out; 0.1 where texts are seen many times, lest they be learned by heart."""
    seed: int = 0
    """Of the first weights and of the order of the examples."""
    part_tokens: int | None = None
    """Tokens computed at once, which bounds the memory; a process's whole share of a step where not given."""
    checkpoint_minutes: float = 10.0
    """Between checkpoints; the newest two are kept."""
    validate_every: int = 500
    """Steps between measurements on held-out examples."""
    device: str | None = None
    """cpu, cuda or mps; the best there is where not given."""
    compile: bool = False
    """Compile the model with torch: faster, after a minute; needs a C++ compiler."""
    workers: int = 0
    """Processes that make batches ahead: a GPU would wait for a single one."""
    region: str = WORLD
    """Whose electricity is used, for the estimate of emissions: a country in English, or the world average."""

    def __post_init__(self) -> None:
        check_region(self.region)
        if self.preset not in PRESETS:
            raise SettingsError(f"--preset {self.preset}: give one of {', '.join(PRESETS)}.")
        if self.tokens is not None and self.tokens < 1:
            raise SettingsError(f"--tokens {self.tokens}: give a whole number from 1.")
        for name, weight in self.mix.items():
            if not 0 <= weight < math.inf:
                raise SettingsError(f"--mix {name}={weight}: give a weight from 0.")
        self.loop(steps=1)

    def loop(self, steps: int) -> LoopSettings:
        """For the training loop; SettingsError where an option is out of range."""
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
class PhasedBlocks:
    """Blocks whose length changes from phase to phase."""

    blocks: Blocks
    phases: tuple[tuple[int, Phase], ...]
    """(first step after the phase, phase)"""

    def at(self, step: int) -> Batch:
        """The batch of a step; see `Blocks.at`."""
        import torch

        phase = next(phase for end, phase in self.phases if step < end)
        block = torch.from_numpy(self.blocks.at(step, rows=phase.rows, length=phase.length))
        return Batch(block[:, :-1], block[:, 1:])


def pretrain(settings: PretrainSettings) -> Path:
    """Train a base and save it, with its tokenizer, log and corpus report, in `settings.output`; returns that folder.

    Repeating the command after a kill goes on from the last checkpoint.
    """
    import torch
    from transformers import PhiForCausalLM

    preset = PRESETS[settings.preset]
    if settings.start is not None:
        check_start(settings.start, preset)
    make_output(settings.output)
    accelerator = make_accelerator(settings.precision, device=settings.device)
    if accelerator.is_main_process:
        prepare_streams(settings, preset)
    accelerator.wait_for_everyone()
    tokenizer = _load_tokenizer(settings.output)
    phases = _phase_ends(preset, settings.tokens or preset.tokens)
    torch.manual_seed(settings.seed)
    config = preset.config(
        vocab_size=len(tokenizer), end_id=tokenizer.eos_token_id, pad_id=tokenizer.convert_tokens_to_ids("<|pad|>")
    )
    model = PhiForCausalLM(config) if settings.start is None else load_start(settings.start)
    train_blocks = _open_blocks(settings, "train")
    held_out = _open_blocks(settings, "validation")
    state = train(
        model,
        PhasedBlocks(train_blocks, phases),
        settings.loop(phases[-1][0]),
        settings.output,
        accelerator,
        validate=partial(_validate, model, held_out, preset, accelerator.device),
        identity={"preset": asdict(preset), "mix": dict(settings.mix)},
        label=f"pretrain {settings.preset}",
    )
    if accelerator.is_main_process:
        model.to(torch.bfloat16).save_pretrained(settings.output)
        tokenizer.save_pretrained(settings.output)
        _write_record(settings, phases, train_blocks, describe(state, accelerator))
    return settings.output


def _write_record(
    settings: PretrainSettings, phases: tuple[tuple[int, Phase], ...], blocks: Blocks, told: dict[str, Any]
) -> None:
    """`pretraining.json`, after the stages of the base that this one went on from."""
    before = record.read(settings.start) if settings.start else None
    cleaning = json.loads((settings.output / "corpus" / "cleaning.json").read_text(encoding="utf-8"))
    stage = record.make_stage(
        "pretraining",
        asdict(settings) | asdict(settings.loop(phases[-1][0])) | {"phases": [asdict(phase) for _, phase in phases]},
        told,
        settings.output / "log.jsonl",
        hardware=detect_hardware(told["device"], told["processes"]),
        region=settings.region,
        versions=versions(),
        weights=dict(zip(blocks.streams, blocks.weights, strict=True)),
        cleaning=tuple(CleaningReport(**report) for report in cleaning),
    )
    record.write(settings.output, record.Record((*(before.stages if before else ()), stage)))


def prepare_streams(settings: PretrainSettings, preset: Preset) -> None:
    """Clean the corpus, train the tokenizer and tokenize, once; `streams.json` marks that all of it is there.

    SettingsError where what is there was made of something else.
    """
    folder = settings.output / "corpus"
    made_of = _made_of(settings, preset)
    if (folder / "streams.json").exists():
        before = json.loads((folder / "streams.json").read_text(encoding="utf-8")).get("made_of", made_of)
        check_same(folder, before, made_of, but=("data",))  # a folder may have been renamed
        return
    folder.mkdir(parents=True, exist_ok=True)
    sources, reports = read_corpus(settings.data)
    sources += [gap_sentences(s) for s in sources if s.kind == "prose"]
    for report in reports:
        print(report, file=sys.stderr)
    (folder / "cleaning.json").write_text(json.dumps([asdict(r) for r in reports], indent=1), encoding="utf-8")
    weights = {s.name: weight_of(s.name, settings.mix) for s in sources if s.rows["train"]}
    if settings.start is None:
        sample = _tokenizer_sample([s for s in sources if weights.get(s.name)], weights)
        tokenizer = train_tokenizer(sample, vocab_size=preset.vocab_size, context=preset.context)
    else:
        tokenizer = _load_tokenizer(settings.start)
    tokenizer.save_pretrained(settings.output)
    lengths = {}
    for source in sources:
        for split in ("train", "validation"):
            name = f"{source.name}.{split}"
            length = write_stream(plain_texts(source, split), tokenizer, folder / f"{name}.u16", seed=settings.seed)
            lengths[name] = length
    (folder / "streams.json").write_text(
        json.dumps({"weights": weights, "tokens": lengths, "made_of": made_of}, indent=1), encoding="utf-8"
    )


def _made_of(settings: PretrainSettings, preset: Preset) -> dict[str, Any]:
    """All that the streams depend on, as JSON values."""
    return {
        "data": settings.data.name,
        "data_files": data_hashes(settings.data),
        "mix": dict(settings.mix),
        "seed": settings.seed,
        "start": base_hashes(settings.start) if settings.start else None,
        "vocab_size": preset.vocab_size,
    }


def _tokenizer_sample(sources: list[Source], weights: Mapping[str, float]) -> Iterator[str]:
    total = sum(weights.values())
    for source in sources:
        budget = TOKENIZER_CHARACTERS * weights[source.name] / total
        texts = list(plain_texts(source, "train"))
        mean = max(1.0, sum(map(len, islice(texts, 1000))) / min(1000, len(texts)))
        stride = max(1, int(len(texts) * mean / budget))
        yield from texts[::stride]


def _load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def _phase_ends(preset: Preset, tokens: int) -> tuple[tuple[int, Phase], ...]:
    ends, step = [], 0
    for phase in preset.phases:
        step += max(1, round(tokens * phase.share / (phase.length * phase.rows)))
        ends.append((step, phase))
    return tuple(ends)


def _open_blocks(settings: PretrainSettings, split: str) -> Blocks:
    folder = settings.output / "corpus"
    known = json.loads((folder / "streams.json").read_text(encoding="utf-8"))
    names = [n for n, w in known["weights"].items() if w > 0 and known["tokens"].get(f"{n}.{split}", 0) > 1]
    streams = {name: np.memmap(folder / f"{name}.{split}.u16", dtype=np.uint16, mode="r") for name in names}
    return Blocks(streams, [known["weights"][name] for name in names], settings.seed)


def _validate(
    model: "torch.nn.Module", held_out: Blocks, preset: Preset, device: "torch.device", told: ProgressCallback
) -> dict[str, float]:
    """Loss per token: of each data set on the same held-out blocks every time, and of all by their weights."""
    import torch

    length = preset.phases[0].length
    losses: dict[str, float] = {}
    with torch.no_grad():
        for done, name in enumerate(held_out.streams):
            told(done, len(held_out.streams))
            block = torch.from_numpy(held_out.of(name, rows=VALIDATION_ROWS, length=length))
            batch = Batch(block[:, :-1], block[:, 1:])
            losses[name] = float(target_loss(model, batch, device)) / batch.total_weight
    told(len(losses), len(losses))
    shares = np.asarray(held_out.weights) / sum(held_out.weights)
    return {"all": float(shares @ np.asarray(list(losses.values())))} | losses
