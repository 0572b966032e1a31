"""The model and the machine of a comparison: models of a given shape with random weights, threads, versions.

Random weights will do, because speed does not depend on the values of weights.
"""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi2demo.engine.engine import ModelInfo
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_MODEL

if TYPE_CHECKING:
    from phi2demo.engine.devices import Placement
    from phi2demo.engine.loading import LoadedModel

SHAPES: dict[str, dict[str, int]] = {
    "phi-2": {
        "num_hidden_layers": 32,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_attention_heads": 32,
        "vocab_size": 51200,
    },
    "small": {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "vocab_size": 16384,
    },
}
"""Shapes of models by name; `small` is for trying the command itself."""

RANK = 16


def make_random(shape: str, place: "Placement") -> "LoadedModel":
    """Make a Phi of a shape with a LoRA adapter, at `place`, with the embedded model's tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, PhiConfig, PhiForCausalLM

    from phi2demo.engine.adapted_model import ADAPTER, AdapterState
    from phi2demo.engine.loading import LoadedModel

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL, local_files_only=True, trust_remote_code=False)
    end = tokenizer.eos_token_id
    config = PhiConfig(
        **SHAPES[shape],
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4},
        bos_token_id=end,
        eos_token_id=end,
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with torch.device(place.device):
            base = PhiForCausalLM(config).to(place.torch_dtype)
            targets = ["q_proj", "v_proj", "fc1", "fc2"]
            lora = LoraConfig(r=RANK, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
            model = get_peft_model(base, lora, autocast_adapter_dtype=False)
    model = model.to(place.torch_dtype).eval().requires_grad_(False)
    info = ModelInfo(
        base=f"random weights in the shape {shape}",
        base_revision="seed 0",
        adapter="random weights",
        adapter_revision="seed 0",
        adapter_folder=None,
        parameters=sum(tensor.numel() for name, tensor in model.named_parameters() if ".lora_" not in name),
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        context=config.max_position_embeddings,
        device=place.device,
        dtype=place.dtype,
        lora_rank=RANK,
    )
    return LoadedModel(model, tokenizer, info, (end,), end, config.vocab_size, {ADAPTER: AdapterState()})


def describe_machine(device: str, dtype: str) -> dict[str, Any]:
    """Return the processor or GPU, its threads, the number format, and versions of libraries."""
    import torch

    cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
        "kind": device,
        "dtype": dtype,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft", "shap")},
    }


def limit_threads(threads: int | None) -> None:
    """Let torch compute with `threads` threads of the CPU; None leaves the number to torch."""
    import torch

    if threads is None:
        return
    if threads < 1:
        raise SettingsError(f"--threads {threads}: give a number from 1.")
    torch.set_num_threads(threads)


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
