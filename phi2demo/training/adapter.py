"""A base with a new LoRA adapter on it, and the folder that the adapter becomes. Knows no data and no training."""

import warnings
from typing import TYPE_CHECKING

from phi2demo.engine.planning import ModelPlan
from phi2demo.errors import SettingsError
from phi2demo.tasks.declaration import FILE, Declaration
from phi2demo.training.finetune_settings import FinetuneSettings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LARGE = 1_000_000_000
"""Parameters from which a base's frozen weights are held in bfloat16 on a GPU."""


def load_tokenizer(base: ModelPlan, settings: FinetuneSettings) -> "PreTrainedTokenizerBase":
    """That of the base; SettingsError where it has no token to end an output with."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(_address(base), revision=base.base_revision)
    if tokenizer.eos_token_id is None:
        raise SettingsError(f"The tokenizer of {settings.model} has no end token, so an output could not be ended.")
    return tokenizer


def load_base(base: ModelPlan, settings: FinetuneSettings, device: "torch.device") -> "PreTrainedModel":
    """In float32; a large base on a GPU in bfloat16, as its weights stay as they are."""
    import torch
    from transformers import AutoModelForCausalLM

    large = device.type == "cuda" and (base.parameters or LARGE) >= LARGE and torch.cuda.is_bf16_supported()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        _address(base),
        revision=base.base_revision,
        dtype=torch.bfloat16 if large else torch.float32,
        use_safetensors=True,
    )
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return model


def adapt(model: "PreTrainedModel", settings: FinetuneSettings) -> "PeftModel":
    """`model` with a LoRA adapter, which changes nothing yet; SettingsError where it has none of the target layers."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules=list(settings.targets),
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks for a property that transformers renamed
            return get_peft_model(model, config)
    except ValueError as error:
        raise SettingsError(f"--targets {','.join(settings.targets)} does not fit {settings.model}: {error}") from error


def save(
    model: "PeftModel", tokenizer: "PreTrainedTokenizerBase", declared: Declaration, settings: FinetuneSettings
) -> None:
    """`adapter_model.safetensors` in bfloat16, its config, `tasks.json`, and the tokenizer's files."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    halved = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    save_file(halved, settings.output / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"]
    config.base_model_name_or_path = settings.base_name or settings.model
    config.revision = settings.revision
    config.inference_mode = True
    config.save_pretrained(settings.output)
    tokenizer.save_pretrained(settings.output)
    (settings.output / FILE).write_text(declared.to_json(), encoding="utf-8")


def _address(base: ModelPlan) -> str:
    """Hub id or folder, for `from_pretrained`."""
    return str(base.base_folder) if base.base_revision is None else base.base
