"""Checks that a base is complete and that an adapter is of a supported kind and fits its base. Reads shapes only."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo.engine.weights import Shapes, read_json
from phi2demo.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""Files of which one is enough for a tokenizer."""

_PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B)(\.weight)?")
_VOCABULARY_LAYERS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out")
"""Last parts of the names of layers that have a row for each token."""
_UNMIXED = "which PEFT cannot run in one batch with the base"
_OLD_PHI = re.compile(r"\b(Wqkv|out_proj|mixer|transformer\.h)\b")


@dataclass(frozen=True)
class AdapterConfig:
    """The entries of adapter_config.json that matter here."""

    base: str | None
    """Folder or hub id of the base on which the adapter was trained."""
    base_revision: str | None
    """Commit, tag or branch of that base on the hub."""
    rank: int
    targets: tuple[str, ...]
    """Last parts of the names of the adapted modules; empty where the file has a pattern instead."""
    saved: tuple[str, ...] = ()
    """Last parts of the names of modules that are replaced as a whole (modules_to_save)."""


def read_adapter_config(folder: Path, *, name: str) -> AdapterConfig:
    """Read adapter_config.json in `folder`. Raises ModelError where it is not a LoRA that can run beside its base."""
    raw = read_json(folder / "adapter_config.json", name=name)
    kind = raw.get("peft_type")
    if kind != "LORA":
        raise ModelError(f"{name} is of peft_type {kind!r}; only LORA adapters are read here. Give a LoRA adapter.")
    rank = raw.get("r")
    if type(rank) is not int or rank < 1:
        raise ModelError(f"adapter_config.json of {name} has rank r = {rank!r}; it must be a whole number above 0.")
    scale = raw.get("lora_alpha", rank)
    if type(scale) not in (int, float) or not math.isfinite(scale):
        raise ModelError(f"adapter_config.json of {name} has lora_alpha = {scale!r}; it must be a number.")
    if reasons := _unsupported_options(raw):
        option, why = next(iter(reasons.items()))
        raise _unsupported_option(option, why, name=name)
    targets, saved = raw.get("target_modules"), raw.get("modules_to_save")
    return AdapterConfig(
        base=_text(raw.get("base_model_name_or_path")),
        base_revision=_text(raw.get("revision")),
        rank=rank,
        targets=tuple(map(str, targets)) if isinstance(targets, list) else (),
        saved=tuple(map(str, saved)) if isinstance(saved, list) else (),
    )


def _unsupported_option(option: str, why: str, *, name: str) -> ModelError:
    return ModelError(f"{name} was made with {option}, {why}. Retrain it without, or convert it to plain LoRA.")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _unsupported_options(raw: dict[str, Any]) -> dict[str, str]:
    """Return the options with which base and finetuned rows cannot share a batch, each with the reason."""
    changes = "which changes the base itself, so there is nothing to compare with"
    options = ("use_dora", "target_parameters", "trainable_token_indices", "alora_invocation_tokens")
    reasons = {option: _UNMIXED for option in options if raw.get(option)}
    if raw.get("lora_bias"):
        reasons["lora_bias"] = "whose extra tensors are not read here"
    if raw.get("layer_replication"):
        reasons["layer_replication"] = changes
    if raw.get("bias", "none") != "none":
        reasons[f"bias={raw['bias']!r}"] = changes
    initial = raw.get("init_lora_weights")
    if isinstance(initial, str) and initial.lower().startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        reasons[f"init_lora_weights={initial!r}"] = changes
    return reasons


def check_base(shapes: Shapes, expected: Shapes, *, name: str) -> None:
    """Raise ModelError where the weights of a base are not those that its config.json describes."""
    for tensor, shape in expected.items():
        if tensor not in shapes:
            old = ": it is written for the old Phi code" if any(_OLD_PHI.search(key) for key in shapes) else ""
            raise ModelError(
                f"The weights of {name} lack {tensor}{old}. Give a complete model in the present Phi format."
            )
        if shapes[tensor] != shape:
            raise ModelError(
                f"{name} contradicts itself: config.json describes {tensor} of shape {list(shape)}, "
                f"the weights have {list(shapes[tensor])}. Restore both from the same source."
            )


def check_tokenizer(folder: Path, *, name: str) -> None:
    """Raise ModelError where `folder` has no tokenizer."""
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise ModelError(f"{name} has no tokenizer; copy tokenizer.json and tokenizer_config.json into it.")


@dataclass(frozen=True)
class Pairing:
    """An adapter and the base that it is to run on, which may not belong together."""

    adapter: str
    """Name of the adapter, for messages."""
    base: str
    """Name of the base, for messages."""
    config: AdapterConfig
    """What the adapter declares."""
    base_given: bool = True
    """Whether the user named the base; otherwise the adapter did."""


def check_targets(pairing: Pairing, base: Shapes) -> None:
    """Raise ModelError where the base has none of the modules that the adapter declares. Needs no adapter weights."""
    modules = [name.removesuffix(".weight") for name in base if name.endswith(".weight")]
    targets = sorted(pairing.config.targets)
    if targets and not any(f".{module}".endswith(f".{target}") for module in modules for target in targets):
        raise _missing_modules(targets, pairing)


def check_saved(pairing: Pairing, base: Shapes) -> None:
    """Raise ModelError where the adapter replaces a module, such as a norm, that is no linear layer or embedding."""
    paths = [name.split(".") for name in base]
    modules = {".".join(path[:parts]) for path in paths for parts in range(1, len(path))}
    for module in sorted(modules):
        for saved in pairing.config.saved:
            if module.endswith(saved) and len(base.get(f"{module}.weight", ())) < 2:
                raise _unsupported_option(f"modules_to_save={saved!r}", _UNMIXED, name=pairing.adapter)


def check_replaced(first: Pairing, second: Pairing) -> None:
    """Raise ModelError where two adapters replace different modules: PEFT needs each module from both."""
    if modules := sorted({*first.config.saved} ^ {*second.config.saved}):
        raise ModelError(
            f"{first.adapter} and {second.adapter} cannot be loaded together: only one of them has {modules[0]} in "
            "modules_to_save. Give only one of them, or retrain one with the modules_to_save of the other."
        )


def check_fit(pairing: Pairing, adapter_shapes: Shapes, base: Shapes) -> None:
    """Raise ModelError where a tensor of the adapter has no counterpart in the base, or one of another shape."""
    factors: dict[str, dict[str, tuple[int, ...]]] = {}
    missing: list[str] = []
    for key, shape in adapter_shapes.items():
        name = _name_in_base(key)
        match = _LORA.fullmatch(name)
        counterpart = f"{match['module']}.weight" if match else name
        if counterpart not in base:
            missing.append(name)
        elif match:
            factors.setdefault(match["module"], {})[match["part"].removeprefix("embedding_")] = shape
        elif shape != base[counterpart]:
            raise _other_shape(counterpart, list(shape), list(base[counterpart]), pairing)
    if missing:
        raise _missing_modules(missing, pairing)
    if not factors:
        raise ModelError(
            f"{pairing.adapter} holds no LoRA weights, so it would change nothing; give a trained adapter."
        )
    for module, parts in factors.items():
        if set(parts) != {"A", "B"} or any(len(shape) != 2 for shape in parts.values()):
            raise ModelError(f"{pairing.adapter} has only half of {module}'s LoRA weights. Copy or download it again.")
        adapter_shape, base_shape = [parts["B"][0], parts["A"][1]], list(base[f"{module}.weight"])
        if sorted(adapter_shape) != sorted(base_shape) or parts["A"][0] != parts["B"][1]:
            raise _other_shape(module, adapter_shape, base_shape, pairing)


def copied(adapter_shapes: Shapes, config: AdapterConfig) -> list[str]:
    """Return the names of base tensors of which the adapter holds a copy, as PEFT saves an adapted embedding."""
    names = [_name_in_base(key) for key in adapter_shapes if ".lora_" not in key]
    return [name for name in names if not name.rpartition(".")[0].endswith(config.saved)]


def other_weights(tensor: str, pairing: Pairing) -> ModelError:
    """Return the error for an adapter whose copy of a base tensor differs from the tensor itself."""
    return ModelError(
        f"{pairing.adapter} was made for another base than {pairing.base}: its copy of {tensor} holds other numbers. "
        f"{_give_its_base(pairing)}"
    )


def other_base(adapter: str, base: str, *, declared: str) -> ModelError:
    """Return the error for a second adapter that was made for another base than the first, although its shapes fit."""
    return ModelError(
        f"{adapter} was made for another base than {base}: it names {_without_folders(declared)}. Two adapters are "
        "compared on one base: give one that was made on it, or say with --model which base both are for."
    )


def _name_in_base(key: str) -> str:
    """Return the name of an adapter's tensor as the base has it, apart from the parts that belong to LoRA."""
    return key.removeprefix(_PREFIX).replace(".base_layer.", ".")


def _other_shape(module: str, adapter_shape: list[int], base_shape: list[int], pairing: Pairing) -> ModelError:
    if tokens := _resized_vocabulary(module, adapter_shape, base_shape):
        return ModelError(
            f"{pairing.adapter} was trained with a resized vocabulary: its {module.removesuffix('.weight')} is for "
            f"{tokens:,} tokens, {pairing.base} has {base_shape[0]:,}. Give with --model the base with the same added "
            "tokens, saved after they were added."
        )
    return ModelError(
        f"{pairing.adapter} was made for another base than {pairing.base}: it changes {module} of shape {adapter_shape}, "
        f"but this base has shape {base_shape}. {_give_its_base(pairing)}"
    )


def _resized_vocabulary(module: str, adapter_shape: list[int], base_shape: list[int]) -> int | None:
    """Return the adapter's number of tokens where the shapes of a vocabulary layer differ in nothing else."""
    last = module.removesuffix(".weight").rpartition(".")[2]
    tokens = [size for size in adapter_shape if size != base_shape[1]]  # LoRA swaps the sizes of an embedding
    return tokens[0] if last in _VOCABULARY_LAYERS and len(tokens) == 1 and tokens[0] != base_shape[0] else None


def _missing_modules(names: list[str], pairing: Pairing) -> ModelError:
    examples = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if any(_OLD_PHI.search(name) for name in names):
        return ModelError(
            f"{pairing.adapter} was made for the old Phi code: it changes {examples}, which {pairing.base} lacks (it has "
            "q_proj, k_proj, v_proj and dense). It must be retrained on today's Phi, or its weights converted."
        )
    return ModelError(
        f"{pairing.adapter} was made for another base than {pairing.base}: it changes {examples}, which this base lacks. "
        f"{_give_its_base(pairing)}"
    )


def _give_its_base(pairing: Pairing) -> str:
    if pairing.config.base is None:
        return "Give the base that it was made on."
    sentence = f"It names {_without_folders(pairing.config.base)} as its base: give"
    if pairing.base_given:
        return f"{sentence} that with --model, or leave --model out."
    return f"{sentence} the one it was made on with --model."


def _without_folders(base: str) -> str:
    """Return the name of a base without the folders of this machine, since the page shows it to everyone."""
    path = Path(base)
    return path.name if path.is_absolute() else base
