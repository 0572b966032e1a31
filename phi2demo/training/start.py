"""The base that a pretraining goes on from: checked before anything is written, as --model is elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.training.presets import Preset

if TYPE_CHECKING:
    from transformers import PhiForCausalLM

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
