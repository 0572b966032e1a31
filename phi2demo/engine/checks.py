"""Whether a base is whole, and whether an adapter is of a kind that works here and fits a base. Reads shapes only."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo.engine.weights import Shapes, read_json
from phi2demo.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""One of them makes a tokenizer."""

_PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B)(\.weight)?")
_VOCABULARY_LAYERS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out")
"""Ends of the names of layers with a row for each token."""
_UNMIXED = "which PEFT cannot run in one batch with the base"
_OLD_PHI = re.compile(r"\b(Wqkv|out_proj|mixer|transformer\.h)\b")


@dataclass(frozen=True)
class AdapterConfig:
    """What adapter_config.json declares."""

    base: str | None
    """Folder or hub id of the base it was made on."""
    base_revision: str | None
    """Of that base, on the hub."""
    rank: int
    targets: tuple[str, ...]
    """Ends of module names; empty where the file gives a pattern."""
    saved: tuple[str, ...] = ()
    """Ends of the names of modules that it replaces as a whole (modules_to_save)."""


def read_adapter_config(folder: Path, *, name: str) -> AdapterConfig:
    """What the adapter in `folder` declares. Raises ModelError where it is no LoRA that can run beside its base."""
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
    if unsupported := _unsupported(raw):
        option, why = next(iter(unsupported.items()))
        raise _made_with(option, why, name=name)
    targets, saved = raw.get("target_modules"), raw.get("modules_to_save")
    return AdapterConfig(
        base=_text(raw.get("base_model_name_or_path")),
        base_revision=_text(raw.get("revision")),
        rank=rank,
        targets=tuple(map(str, targets)) if isinstance(targets, list) else (),
        saved=tuple(map(str, saved)) if isinstance(saved, list) else (),
    )


def _made_with(option: str, why: str, *, name: str) -> ModelError:
    return ModelError(f"{name} was made with {option}, {why}. Retrain it without, or convert it to plain LoRA.")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _unsupported(raw: dict[str, Any]) -> dict[str, str]:
    """Options under which base and finetuned rows cannot share a batch, with the reason."""
    changes = "which changes the base itself, so there is nothing to compare with"
    options = ("use_dora", "target_parameters", "trainable_token_indices", "alora_invocation_tokens")
    found = {option: _UNMIXED for option in options if raw.get(option)}
    if raw.get("lora_bias"):
        found["lora_bias"] = "whose extra tensors are not read here"
    if raw.get("layer_replication"):
        found["layer_replication"] = changes
    if raw.get("bias", "none") != "none":
        found[f"bias={raw['bias']!r}"] = changes
    initial = raw.get("init_lora_weights")
    if isinstance(initial, str) and initial.lower().startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        found[f"init_lora_weights={initial!r}"] = changes
    return found


def check_base(shapes: Shapes, expected: Shapes, *, name: str) -> None:
    """Raises ModelError where the weights are not those that the config asks for."""
    for tensor, shape in expected.items():
        if tensor not in shapes:
            old = ": it is written for the old Phi code" if any(_OLD_PHI.search(key) for key in shapes) else ""
            raise ModelError(f"The weights of {name} lack {tensor}{old}. Give a whole, present-day Phi model.")
        if shapes[tensor] != shape:
            raise ModelError(
                f"{name} does not agree with itself: config.json asks for {tensor} of shape {list(shape)}, "
                f"the weights have {list(shapes[tensor])}. Restore both from one source."
            )


def check_tokenizer(folder: Path, *, name: str) -> None:
    """Raises ModelError where there is none."""
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise ModelError(f"{name} has no tokenizer; copy tokenizer.json and tokenizer_config.json into it.")


def check_targets(config: AdapterConfig, base: Shapes, *, adapter: str, base_name: str, given: bool = True) -> None:
    """Raises ModelError where the base has none of the modules that the adapter declares. Needs no adapter weights.

    `given` is whether a person said which base it is.
    """
    modules = [name.removesuffix(".weight") for name in base if name.endswith(".weight")]
    ends = sorted(config.targets)
    if ends and not any(f".{module}".endswith(f".{end}") for module in modules for end in ends):
        raise _foreign(ends, _Pair(adapter, base_name, config.base, given))


def check_saved(config: AdapterConfig, base: Shapes, *, adapter: str) -> None:
    """Raises ModelError where the adapter replaces a module that is no linear layer and no embedding, as a norm is none."""
    paths = [name.split(".") for name in base]
    modules = {".".join(path[:parts]) for path in paths for parts in range(1, len(path))}
    for module in sorted(modules):
        for end in config.saved:
            if module.endswith(end) and len(base.get(f"{module}.weight", ())) < 2:
                raise _made_with(f"modules_to_save={end!r}", _UNMIXED, name=adapter)


def check_replaced(first: AdapterConfig, second: AdapterConfig, *, names: tuple[str, str]) -> None:
    """Raises ModelError where two adapters replace other modules than each other: PEFT looks for both in all of them."""
    if astray := sorted({*first.saved} ^ {*second.saved}):
        raise ModelError(
            f"{names[0]} and {names[1]} cannot be loaded together: only one of them has {astray[0]} in modules_to_save. "
            "Give each alone, or one as the other was made."
        )


def check_fit(
    adapter_shapes: Shapes, base: Shapes, config: AdapterConfig, *, adapter: str, base_name: str, given: bool = True
) -> None:
    """Raises ModelError where a tensor of the adapter has no place in the base, or has another shape than its place.

    `given` is as in `check_targets`.
    """
    pair = _Pair(adapter, base_name, config.base, given)
    factors: dict[str, dict[str, tuple[int, ...]]] = {}
    foreign: list[str] = []
    for key, shape in adapter_shapes.items():
        name = _plain(key)
        match = _LORA.fullmatch(name)
        place = f"{match['module']}.weight" if match else name
        if place not in base:
            foreign.append(name)
        elif match:
            factors.setdefault(match["module"], {})[match["part"].removeprefix("embedding_")] = shape
        elif shape != base[place]:
            raise _misfit(place, list(shape), list(base[place]), pair)
    if foreign:
        raise _foreign(foreign, pair)
    if not factors:
        raise ModelError(f"{adapter} holds no LoRA weights, so it would change nothing; give a trained adapter.")
    for module, parts in factors.items():
        if set(parts) != {"A", "B"} or any(len(shape) != 2 for shape in parts.values()):
            raise ModelError(f"{adapter} has only half of {module}'s LoRA weights. Copy or download it again.")
        made_for, there = [parts["B"][0], parts["A"][1]], list(base[f"{module}.weight"])
        if sorted(made_for) != sorted(there) or parts["A"][0] != parts["B"][1]:
            raise _misfit(module, made_for, there, pair)


def copied(adapter_shapes: Shapes, config: AdapterConfig) -> list[str]:
    """Names in the base of its own tensors that the adapter holds too: PEFT saves the embedding beside LoRA on it."""
    names = [_plain(key) for key in adapter_shapes if ".lora_" not in key]
    return [name for name in names if not name.rpartition(".")[0].endswith(config.saved)]


def other_weights(name: str, *, adapter: str, base_name: str, made_on: str | None, given: bool) -> ModelError:
    """The error that a tensor which an adapter has copied from its base is another one here."""
    return ModelError(
        f"{adapter} was made for another base than {base_name}: its copy of {name} holds other numbers. "
        f"{_give_its_base(made_on, given=given)}"
    )


def _plain(key: str) -> str:
    """A name in an adapter's file as the base has it, but for what is of LoRA."""
    return key.removeprefix(_PREFIX).replace(".base_layer.", ".")


def other_base(adapter: str, base_name: str, *, made_on: str) -> ModelError:
    """The error that a second adapter was made for another base than the first, although its shapes fit."""
    return ModelError(
        f"{adapter} was made for another base than {base_name}: it names {_shown(made_on)}. Two adapters are compared "
        "on one base: give one that was made on it, or say with --model which base both are for."
    )


@dataclass(frozen=True)
class _Pair:
    """An adapter and a base that may not belong together, for messages."""

    adapter: str
    base: str
    made_on: str | None
    """What the adapter names as its base."""
    given: bool
    """Whether a person named the base."""


def _misfit(module: str, made_for: list[int], there: list[int], pair: _Pair) -> ModelError:
    if tokens := _other_vocabulary(module, made_for, there):
        return ModelError(
            f"{pair.adapter} was trained with a resized vocabulary: its {module.removesuffix('.weight')} is for "
            f"{tokens:,} tokens, {pair.base} has {there[0]:,}. Give with --model the base with the same added tokens, "
            "saved after they were added."
        )
    return ModelError(
        f"{pair.adapter} was made for another base than {pair.base}: it changes {module} of shape {made_for}, here it is "
        f"{there}. {_give_its_base(pair.made_on, given=pair.given)}"
    )


def _other_vocabulary(module: str, made_for: list[int], there: list[int]) -> int | None:
    """How many tokens an embedding or output layer is for, where it differs from the one there in that alone."""
    last = module.removesuffix(".weight").rpartition(".")[2]
    others = [size for size in made_for if size != there[1]]  # LoRA has the sizes of an embedding the other way round
    return others[0] if last in _VOCABULARY_LAYERS and len(others) == 1 and others[0] != there[0] else None


def _foreign(names: list[str], pair: _Pair) -> ModelError:
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if any(_OLD_PHI.search(name) for name in names):
        return ModelError(
            f"{pair.adapter} was made for the old Phi code: it changes {some}, which {pair.base} lacks (it has q_proj, "
            "k_proj, v_proj and dense). It must be retrained on today's Phi, or its weights converted."
        )
    return ModelError(
        f"{pair.adapter} was made for another base than {pair.base}: it changes {some}, which this base lacks. "
        f"{_give_its_base(pair.made_on, given=pair.given)}"
    )


def _give_its_base(made_on: str | None, *, given: bool) -> str:
    if made_on is None:
        return "Give the base that it was made on."
    names = f"It names {_shown(made_on)} as its base: give"
    if given:
        return f"{names} that with --model, or leave --model out."
    return f"{names} the one it was made on with --model."


def _shown(base: str) -> str:
    """Without the folders of a machine: the page shows it."""
    path = Path(base)
    return path.name if path.is_absolute() else base
