"""Models of a given shape with random weights and a LoRA adapter: speed does not depend on what weights say."""

from typing import TYPE_CHECKING

from phi2demo.engine.engine import ModelInfo
from phi2demo.settings import EMBEDDED_MODEL

if TYPE_CHECKING:
    from phi2demo.engine.devices import Place
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


def make_random(shape: str, place: "Place") -> "LoadedModel":
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
