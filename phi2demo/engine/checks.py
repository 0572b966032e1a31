"""Checks that a base is complete and that an adapter fits its base. Reads shapes only."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from phi2demo.engine.adapters import AdapterConfig
from phi2demo.engine.phi_config import are_old_names
from phi2demo.engine.weights import Shapes
from phi2demo.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""Files of which one is enough for a tokenizer."""

_PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B)(\.weight)?")
_WRAPPERS = re.compile(r"\.(token_adapter\.base_layer|base_layer|original_module)\.")
"""Parts that PEFT puts into the name of a tensor of the base whose module it wraps."""
_EMBEDDINGS = ("embed_tokens", "wte", "embed_in", "word_embeddings")
"""Last parts of the names of layers that have a row for each token that is read."""
_VOCABULARY_LAYERS = (*_EMBEDDINGS, "lm_head", "embed_out")
"""The same, with those that have a row for each token that can be written."""


def check_base(shapes: Shapes, expected: Shapes, *, name: str) -> None:
    """Raise ModelError where the weights of a base are not those that its config.json describes."""
    for tensor, shape in expected.items():
        if tensor not in shapes:
            old = ": it is written for the old Phi code" if are_old_names(shapes) else ""
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


def check_together(first: Pairing, second: Pairing) -> None:
    """Raise ModelError where PEFT cannot hold two adapters at once: it needs one kind, and each replaced module from both."""
    names = f"{first.adapter} and {second.adapter} cannot be loaded together"
    if first.config.method != second.config.method:
        raise ModelError(
            f"{names}: one is made with {first.config.kind}, the other with {second.config.kind}. Give only one of them."
        )
    if modules := sorted({*first.config.saved} ^ {*second.config.saved}):
        raise ModelError(
            f"{names}: only one of them has {modules[0]} in modules_to_save. Give only one of them, or retrain one with "
            "the modules_to_save of the other."
        )


def check_virtual_tokens(pairing: Pairing, *, hidden_size: int, cache_width: int) -> None:
    """Raise ModelError where virtual tokens are not as wide as the base's embeddings, or as its keys and values."""
    config = pairing.config
    width = cache_width if config.method == "PREFIX_TUNING" else hidden_size
    if config.virtual_tokens and config.virtual_width != width:
        raise ModelError(
            f"{pairing.adapter} was made for another base than {pairing.base}: its virtual tokens have "
            f"{config.virtual_width:,} numbers, this base needs {width:,}. {_give_its_base(pairing)}"
        )


def check_sizes(pairing: Pairing, adapter_shapes: Shapes) -> None:
    """Raise ModelError where adapter_config.json declares far larger tensors than the file has, which would fill memory."""
    config = pairing.config
    largest = max((size for shape in adapter_shapes.values() for size in shape), default=0)
    if config.ranks and config.ranks[-1] > largest:
        raise ModelError(
            f"adapter_config.json of {pairing.adapter} declares rank {config.ranks[-1]:,}, but no side of its weights is "
            f"longer than {largest:,}. Restore or download it again."
        )
    prompt = (config.virtual_tokens, config.virtual_width)
    if config.virtual_tokens and adapter_shapes != {"prompt_embeddings": prompt}:
        raise ModelError(
            f"adapter_config.json of {pairing.adapter} declares {prompt[0]} virtual tokens of {prompt[1]:,} numbers, which "
            "its weights are not. Restore or download it again."
        )


def vocabulary_rows(adapter_shapes: Shapes, base: Shapes) -> int | None:
    """Return the tokens that an adapter's own embedding is for; None where it has none, or one like the base's."""
    for key, shape in adapter_shapes.items():
        name = name_in_base(key)
        known = base.get(name, ())
        if name.removesuffix(".weight").rpartition(".")[2] in _EMBEDDINGS and len(known) == len(shape) == 2:
            return shape[0] if shape[1] == known[1] and shape[0] != known[0] else None
    return None


def resized(base: Shapes, rows: int | None) -> Shapes:
    """Return the shapes of a base whose vocabulary has `rows` tokens; None leaves it as it is."""
    if rows is None:
        return base
    return {name: (rows, *shape[1:]) if is_vocabulary(name) else shape for name, shape in base.items()}


def is_vocabulary(name: str) -> bool:
    """Return whether a tensor or module of this name has a row for each token."""
    return name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2] in _VOCABULARY_LAYERS


def check_fit(pairing: Pairing, adapter_shapes: Shapes, base: Shapes) -> None:
    """Raise ModelError where a tensor of the adapter has no counterpart in the base, or one of another shape.

    Of kinds other than LoRA only the modules are compared; PEFT compares the shapes.
    """
    check_sizes(pairing, adapter_shapes)
    base = resized(base, vocabulary_rows(adapter_shapes, base))
    factors: dict[str, dict[str, tuple[int, ...]]] = {}
    missing: list[str] = []
    others = 0
    for key, shape in adapter_shapes.items():
        name = name_in_base(key)
        match = _LORA.fullmatch(name) if pairing.config.method == "LORA" else None
        if match and f"{match['module']}.weight" in base:
            factors.setdefault(match["module"], {})[match["part"].removeprefix("embedding_")] = shape
        elif name in base:
            if shape != base[name]:
                raise _other_shape(name, list(shape), list(base[name]), pairing)
        elif key.startswith(_PREFIX) and not _is_part_of_module(name, base):
            missing.append(name)
        else:
            others += 1
    if missing:
        raise _missing_modules(missing, pairing)
    if not factors and not others:
        raise ModelError(
            f"{pairing.adapter} holds no {pairing.config.kind} weights, so it would change nothing; give a trained adapter."
        )
    for module, parts in factors.items():
        if set(parts) != {"A", "B"} or any(len(shape) != 2 for shape in parts.values()):
            raise ModelError(f"{pairing.adapter} has only half of {module}'s LoRA weights. Copy or download it again.")
        adapter_shape, base_shape = [parts["B"][0], parts["A"][1]], list(base[f"{module}.weight"])
        if sorted(adapter_shape) != sorted(base_shape) or parts["A"][0] != parts["B"][1]:
            raise _other_shape(module, adapter_shape, base_shape, pairing)


def _is_part_of_module(name: str, base: Shapes) -> bool:
    """Return whether a tensor's name begins with that of a module of the base."""
    parts = name.split(".")
    return any(f"{'.'.join(parts[:length])}.weight" in base for length in range(1, len(parts)))


def copied(adapter_shapes: Shapes, config: AdapterConfig, base: Collection[str]) -> list[str]:
    """Return the names of base tensors of which the adapter holds a version, as PEFT saves an adapted embedding."""
    names = []
    for key in adapter_shapes:
        name = name_in_base(key)
        is_new_module = key == f"{_PREFIX}{name}" and name.rpartition(".")[0].endswith(config.saved)
        if name in base and not is_new_module:
            names.append(name)
    return names


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


def name_in_base(key: str) -> str:
    """Return the name of an adapter's tensor as the base has it, apart from the parts that belong to LoRA."""
    return _WRAPPERS.sub(".", key.removeprefix(_PREFIX))


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
    if not is_vocabulary(module) or len(base_shape) != 2:
        return None
    tokens = [size for size in adapter_shape if size != base_shape[1]]  # LoRA swaps the sizes of an embedding
    return tokens[0] if len(tokens) == 1 and tokens[0] != base_shape[0] else None


def _missing_modules(names: list[str], pairing: Pairing) -> ModelError:
    examples = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if are_old_names(names):
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
