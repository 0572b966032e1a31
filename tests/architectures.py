"""Tiny random models of several architectures, each of its own library class, with the tokenizer of the tiny Phi."""

import shutil
from pathlib import Path

from transformers import (
    BloomConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PhiConfig,
    PretrainedConfig,
    Qwen2Config,
)

_SIZES = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}

CONFIGS: dict[str, PretrainedConfig] = {
    "phi": PhiConfig(**_SIZES),
    "llama": LlamaConfig(**_SIZES, num_key_value_heads=2),
    "qwen2": Qwen2Config(**_SIZES, num_key_value_heads=2),
    "gpt2": GPT2Config(
        vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=0, pad_token_id=1
    ),
    "gpt_neox": GPTNeoXConfig(**_SIZES),
    "bloom": BloomConfig(vocab_size=512, hidden_size=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0),
    "gemma": GemmaConfig(**_SIZES, num_key_value_heads=1, head_dim=16),
}


def make_base(architecture: str, folder: Path, tokenizer: Path) -> Path:
    """Save a random model with the tokenizer of another folder."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(CONFIGS[architecture]).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder)
    return folder
