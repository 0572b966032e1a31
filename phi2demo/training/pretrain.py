"""Pretrain a base model of Phi's architecture: corpus -> tokenizer -> token streams -> next-token loss."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.data.corpus import CleaningReport
from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError, quoted
from phi2demo.settings import ModelSettings
from phi2demo.training.batch import Batch
from phi2demo.training.checkpoints import make_output_folder
from phi2demo.training.loop import train
from phi2demo.training.loss import HeldOutExamples
from phi2demo.training.record import Record, make_stage, read_record, write_record
from phi2demo.training.settings import PRESETS, Phase, Preset, PretrainSettings, make_accelerator
from phi2demo.training.token_streams import Blocks, load_tokenizer, open_blocks, prepare_streams

if TYPE_CHECKING:
    from transformers import PhiForCausalLM

SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
"""Values of a config that must be those of the preset."""
VALIDATION_ROWS = 12
"""Held-out blocks of each data set."""


def pretrain(settings: PretrainSettings) -> Path:
    """Train a base and save it, with its tokenizer, log and corpus report, in `settings.output`; returns that folder.

    Repeating the command after it was killed continues from the last checkpoint.
    """
    import torch
    from transformers import PhiForCausalLM

    preset = PRESETS[settings.preset]
    if settings.start is not None:
        check_start(settings.start, preset)
    make_output_folder(settings.output)
    accelerator = make_accelerator(settings.precision, device=settings.device)
    if accelerator.is_main_process:
        prepare_streams(settings)
    accelerator.wait_for_everyone()
    tokenizer = load_tokenizer(settings.output)
    torch.manual_seed(settings.seed)
    config = preset.config(
        vocab_size=len(tokenizer), end_id=tokenizer.eos_token_id, pad_id=tokenizer.convert_tokens_to_ids("<|pad|>")
    )
    model = PhiForCausalLM(config) if settings.start is None else load_start(settings.start)
    batches = PhasedBlocks(open_blocks(settings, "train"), _phase_ends(preset, settings.tokens or preset.tokens))
    held_out = _held_out_examples(open_blocks(settings, "validation"), length=preset.phases[0].length)
    loop = settings.loop(steps=batches.steps)
    state = train(
        model,
        batches,
        loop,
        settings.output,
        accelerator,
        validate=partial(held_out.losses, model, accelerator.device, None),
        identity={"preset": asdict(preset), "mix": dict(settings.mix)},
        label=f"pretrain {settings.preset}",
    )
    if accelerator.is_main_process:
        model.to(torch.bfloat16).save_pretrained(settings.output)
        tokenizer.save_pretrained(settings.output)
        cleaning = json.loads((settings.output / "corpus" / "cleaning.json").read_text(encoding="utf-8"))
        stage = make_stage(
            "pretraining",
            settings,
            loop,
            state,
            accelerator,
            further_settings={"phases": [asdict(phase) for _, phase in batches.phases]},
            weights=batches.blocks.weights,
            cleaning=tuple(CleaningReport(**report) for report in cleaning),
        )
        previous = read_record(settings.start) if settings.start else None
        write_record(settings.output, Record((*(previous.stages if previous else ()), stage)))
    return settings.output


@dataclass(frozen=True)
class PhasedBlocks:
    """Batches of blocks whose length changes from phase to phase."""

    blocks: Blocks
    phases: tuple[tuple[int, Phase], ...]
    """Each with the first step after it."""

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return self.phases[-1][0]

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; see `Blocks.draw`."""
        import torch

        phase = next(phase for end, phase in self.phases if step < end)
        block = torch.from_numpy(self.blocks.draw(step, rows=phase.rows, length=phase.length))
        return Batch(block[:, :-1], block[:, 1:])


def check_start(folder: Path, preset: Preset) -> None:
    """Raise SettingsError or ModelError if `folder` holds no base of the preset's shape. Reads no weights."""
    from transformers import PhiConfig

    if not folder.is_dir():
        raise SettingsError(f"--start {folder} is no folder here; give that of a base that pretrain made.")
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise SettingsError(f"--start {folder} holds an adapter, which is no base; give the folder of its base.")
    model_type = plan(ModelSettings(model=str(folder))).config.model_type
    if model_type != "phi":
        raise SettingsError(
            f"--start {folder} holds a model of type {quoted(model_type)}; give a base that pretrain made."
        )
    config = PhiConfig.from_pretrained(folder)
    expected = preset.config(vocab_size=config.vocab_size, end_id=0, pad_id=0)
    for name in SHAPE:
        if getattr(config, name) != getattr(expected, name):
            raise SettingsError(
                f"--start {folder} has {name} {getattr(config, name)}, the preset {getattr(expected, name)}. "
                "Give a base of the preset's shape, or another --preset."
            )
    if (tokens := len(load_tokenizer(folder))) > config.vocab_size:
        raise SettingsError(
            f"--start {folder} has vocab_size {config.vocab_size}, too few for the {tokens} tokens of its tokenizer. "
            "Give a base that pretrain made."
        )


def load_start(folder: Path) -> "PhiForCausalLM":
    """Load the weights of a checked base in float32."""
    import torch
    from transformers import PhiForCausalLM

    model: PhiForCausalLM = PhiForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model


def _phase_ends(preset: Preset, tokens: int) -> tuple[tuple[int, Phase], ...]:
    """Return the phases of the preset, each with the first step after it."""
    ends, step = [], 0
    for phase in preset.phases:
        step += max(1, round(tokens * phase.share / (phase.length * phase.rows)))
        ends.append((step, phase))
    return tuple(ends)


def _held_out_examples(blocks: Blocks, *, length: int) -> HeldOutExamples:
    """Take the same blocks of each data set in every run."""
    import torch

    batches = {}
    for name in blocks.streams:
        block = torch.from_numpy(blocks.sample(name, rows=VALIDATION_ROWS, length=length))
        batches[name] = Batch(block[:, :-1], block[:, 1:])
    return HeldOutExamples(batches, blocks.weights)
