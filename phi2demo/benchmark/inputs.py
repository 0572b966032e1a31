"""Models of a given shape with random weights and a LoRA adapter: speed does not depend on what weights say."""

import os
import platform
from dataclasses import dataclass
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
"""By name; `small` is for trying the command itself."""

RANK = 16


def make_random(shape: str, place: "Placement") -> "LoadedModel":
    """A finetuned Phi of `shape` at its place, with the embedded model's tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, PhiConfig, PhiForCausalLM

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
    return LoadedModel(model, tokenizer, info, (end,), end)


def describe_machine(device: str, dtype: str) -> dict[str, Any]:
    """Processor or GPU, threads, number formats and versions."""
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
    """Let torch compute with so many threads of the CPU; None leaves its own choice."""
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


@dataclass(frozen=True)
class Example:
    """A text, and the output whose probability is explained."""

    text: str
    output: str


EXAMPLES = (
    Example(
        "The last ferry to the island leaves at nine tonight, but the harbour office warns that strong winds may delay it.",
        " The last ferry may be late because of the wind.",
    ),
    Example(
        "My grandmother kept bees behind the house for forty years. She never wore a veil, and she spoke to the hives "
        "every morning before breakfast. When she died, my uncle sold the hives to a neighbour, and the garden has been "
        "quiet since then.",
        " She kept bees for forty years, and they were sold when she died.",
    ),
    Example(
        "The old lighthouse on the northern cliff was built by fishermen who had lost too many boats to the rocks. Every "
        "evening a keeper climbed the stairs and lit the lamp. When electricity came to the island, the last keeper "
        "stayed on for ten more years, because nobody wanted him to leave. Today a small museum shows his coat, his "
        "boots and the book in which he wrote down every storm.",
        " The lighthouse is now a museum about its last keeper.",
    ),
    Example(
        "The film begins slowly, with long shots of an empty town and almost no music. I was ready to leave after twenty "
        "minutes. Then the daughter comes home, and everything changes: the dialogue is quick and funny, the two leading "
        "actors are wonderful together, and the story takes a turn that I did not see coming. The ending is a little too "
        "neat, and one song is repeated far too often, but these are small faults. I have seen many films about families "
        "this year, and this is the one that I would watch again tomorrow.",
        " positive",
    ),
    Example(
        "For a simple soup you need two onions, three carrots, a stick of celery and a handful of lentils. Chop the "
        "vegetables into small pieces and fry them gently in oil until they are soft, which takes about ten minutes. Add "
        "the lentils, a litre of water and a spoon of salt, and let the pot stand on a low flame for half an hour. Do not "
        "cover it completely, or it will boil over. Taste the soup before you serve it. Some people like a little lemon "
        "juice or pepper at the end, and others stir in a spoon of yoghurt. It keeps for three days in a cold place and "
        "tastes even better on the second day, when the lentils have become soft.",
        " Fry the vegetables, add lentils and water, and cook for half an hour.",
    ),
    Example(
        "The town council met on Tuesday evening to decide what should happen to the old railway station, which has stood "
        "empty since the line was closed eleven years ago. Three plans were on the table. The first would turn the "
        "building into a library with a small café. The second would sell it to a company that wants to build flats. The "
        "third, brought forward by a group of young people, would make it a place for music and sport. More than a "
        "hundred citizens came to listen, and many of them spoke. Most were against the sale. After three hours the mayor "
        "said that the council needed better numbers, above all for the roof, which has been leaking for years. The "
        "decision was put off until the spring. Until then the station will stay closed, but the waiting room may be used "
        "for an exhibition of old photographs.",
        " The council put off its decision about the old railway station until the spring.",
    ),
)
