"""What the comparisons share: the model, random weights of a given shape, the other side's `generate`, and the machine.

Random weights will do, because speed and memory do not depend on the values of weights.
"""

import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi2demo.data.rows import Row, read_rows
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_MODEL, SHIPPED_SET, ModelSettings

if TYPE_CHECKING:
    from phi2demo.engine.engine import GenerationOptions, ModelInfo
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
        "hidden_size": 160,
        "intermediate_size": 320,
        "num_attention_heads": 2,
        "vocab_size": 16384,
    },
}
"""Shapes of models by name; `small`, with heads as large as those of Phi-2, is for trying the command itself."""

RANK = 16


@dataclass(frozen=True, kw_only=True)
class Comparison(ABC):
    """What both sides took, in `unit`; the peer is other software, or None where there is none to compare with."""

    ratio: float | None
    """How many times better ours is."""
    ours: float
    peer: float | None
    unit: str
    repeats: int
    """Times that each side was measured; the figures are medians."""
    model: str
    engine: str
    """The library that ours generates with, and the number format of its weights."""
    machine: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @abstractmethod
    def table(self) -> list[str]:
        """Return the lines of a table for people."""


def save_random(shape: str, folder: Path, *, layers: int | None = None) -> ModelSettings:
    """Save a Phi of a shape with a LoRA adapter in a folder, with the embedded model's tokenizer; graphs are kept there too.

    `layers` replaces the number of the shape. The weights are in bfloat16, which takes half the disk.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, PhiConfig, PhiForCausalLM

    from phi2demo.engine.loading import without_messages

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL, local_files_only=True, trust_remote_code=False)
    end = tokenizer.eos_token_id
    config = PhiConfig(
        **(SHAPES[shape] | ({"num_hidden_layers": layers} if layers else {})),
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4},
        bos_token_id=end,
        eos_token_id=end,
    )
    name = f"random weights in the shape {shape}"
    base, adapter = folder / name, folder / "random adapter"
    with torch.random.fork_rng(), without_messages():
        torch.manual_seed(0)
        model = PhiForCausalLM(config).to(torch.bfloat16)
        model.save_pretrained(base)
        targets = ["q_proj", "v_proj", "fc1", "fc2"]
        lora = LoraConfig(r=RANK, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
        get_peft_model(model, lora, autocast_adapter_dtype=False).save_pretrained(adapter)
    tokenizer.save_pretrained(base)
    return ModelSettings(model=str(base), adapter=str(adapter), cache=folder / "cache")


def load_peer(settings: ModelSettings) -> "LoadedModel":
    """Load the model of settings by transformers and PEFT, whatever engine they name. Raises ModelError."""
    from phi2demo.engine.loading import load
    from phi2demo.engine.planning import plan

    planned = plan(settings.by_transformers())
    return load(planned.tuned_alone() if planned.tuned_source else planned)


def generate_by_transformers(
    loaded: "LoadedModel", prompts: Sequence[str], options: "GenerationOptions"
) -> list[list[int]]:
    """Generate as the documentation of transformers and PEFT shows it; return the new tokens of each row, with its end."""
    import torch

    model: Any = loaded.model
    ids = [loaded.tokenizer.encode(text, verbose=False) for text in prompts]
    padded = loaded.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
    with torch.inference_mode():
        sequences = model.generate(
            **padded.to(next(model.parameters()).device),
            max_new_tokens=options.max_new_tokens,
            num_beams=options.num_beams,
            early_stopping=options.num_beams > 1,
            do_sample=False,
            pad_token_id=loaded.pad_token_id,
            eos_token_id=sorted(loaded.end_token_ids),
        )
    return [_until_end(row, loaded.end_token_ids) for row in sequences[:, padded["input_ids"].shape[1] :].tolist()]


def _until_end(ids: list[int], end_ids: Sequence[int]) -> list[int]:
    end = next((index for index, token in enumerate(ids) if token in end_ids), len(ids))
    return ids[: end + 1]


def shipped_rows(name: str) -> list[Row]:
    """Return the rows of a file of the shipped test set."""
    return [row for _, row in read_rows(SHIPPED_SET / name)]


def check_count(option: str, value: int) -> None:
    """Raise SettingsError where there is nothing to do."""
    if value < 1:
        raise SettingsError(f"{option} {value}: give a number from 1.")


def describe_model(info: "ModelInfo") -> str:
    """Return the name of a model and its size."""
    return f"{info.base}, {info.layers} layers x {info.hidden_size}"


def describe_engine(info: "ModelInfo") -> str:
    """Return the library that generates, and the number format of its weights."""
    return f"{info.engine}, {info.dtype}"


def describe_machine(device: str) -> dict[str, Any]:
    """Return the processor or GPU, its threads, how busy it is with other work too, and versions of libraries."""
    import torch

    cuda = device.startswith("cuda")
    names = ("torch", "transformers", "peft", "shap", "onnxruntime-genai")
    return {
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
        "kind": device,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def limit_threads(threads: int) -> None:
    """Let torch compute with `threads` threads of the CPU."""
    import torch

    check_count("--threads", threads)
    torch.set_num_threads(threads)


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
