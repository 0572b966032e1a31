"""The kinds of adapters, and what adapter_config.json says of one: read, and refused where it cannot run beside its base.

Imports no torch; takes milliseconds, whatever the file holds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo.engine.patterns import check_patterns
from phi2demo.engine.weights import read_json
from phi2demo.errors import ModelError, quoted

MAX_RANK = 65_536
MAX_VIRTUAL_TOKENS = 8192
MAX_ALPHA = 1_000_000
"""Largest lora_alpha; a larger one overflows."""
MAX_ENTRIES = 1000
"""Most entries of a list or table in adapter_config.json; a model of a hundred layers has a thousand modules."""

_PLAIN_NAME = re.compile(r"[\w.-]*", re.ASCII)
_PROBES = (
    "model.layers.10.self_attn.q_proj",
    "transformer.h.10.attn.c_attn",
    "gpt_neox.layers.10.attention.query_key_value",
    f"model.layers.10.{'a' * 40}",
)
"""Names of modules on which patterns are tried before those of the base are known."""


@dataclass(frozen=True)
class AdapterKind:
    """A method of PEFT that works here."""

    title: str
    """Name that people know it by."""
    has_rank: bool = False
    mixes: bool = False
    """Whether PEFT computes rows with and without it in one batch."""
    fixed_strength: str = ""
    """Why it has no strength but 1; empty where W + s * (W' - W) is what it computes at strength s."""
    is_prompt: bool = False
    """Whether it consists of virtual tokens before every text."""


_MULTIPLIES = "multiplies what the base computes, and adds nothing to it that could be weighted"
_REPLACES = "replaces numbers of the base, and adds nothing to them that could be weighted"
_VIRTUAL = "consists of virtual tokens, which are there or not"

KINDS = {
    "LORA": AdapterKind("LoRA", has_rank=True, mixes=True),
    "ADALORA": AdapterKind("AdaLoRA", has_rank=True),
    "LOHA": AdapterKind("LoHa", has_rank=True),
    "LOKR": AdapterKind("LoKr", has_rank=True),
    "VERA": AdapterKind("VeRA", has_rank=True, fixed_strength="has no scale that could be changed"),
    "IA3": AdapterKind("IA3", fixed_strength=_MULTIPLIES),
    "OFT": AdapterKind("OFT", fixed_strength=_MULTIPLIES),
    "HRA": AdapterKind("HRA", has_rank=True, fixed_strength=_MULTIPLIES),
    "LN_TUNING": AdapterKind("LN tuning", fixed_strength=_REPLACES),
    "TRAINABLE_TOKENS": AdapterKind("trainable tokens", fixed_strength=_REPLACES),
    "PROMPT_TUNING": AdapterKind("prompt tuning", fixed_strength=_VIRTUAL, is_prompt=True),
    "P_TUNING": AdapterKind("p-tuning", fixed_strength=_VIRTUAL, is_prompt=True),
    "PREFIX_TUNING": AdapterKind("prefix tuning", fixed_strength=_VIRTUAL, is_prompt=True),
}
"""The kinds that work here, by PEFT's peft_type."""

_NEEDS_TASK = "which needs the number of a task with every text"
_REFUSED_KINDS = {
    "MULTITASK_PROMPT_TUNING": _NEEDS_TASK,
    "POLY": _NEEDS_TASK,
    "ADAPTION_PROMPT": "which replaces the attention of the base, and is written for few models",
    "XLORA": "which chooses among further adapters that are not in its folder",
    "BOFT": "for which PEFT compiles code on this machine",
    "CPT": "which needs the type of every token of a text",
}

_CHANGES_BASE = "which changes the base itself, so there is nothing to compare with"
_UNTESTED = "which is not tested here"


@dataclass(frozen=True)
class AdapterConfig:
    """The entries of adapter_config.json that matter here."""

    base: str | None
    """Folder or hub id of the base on which the adapter was trained."""
    base_revision: str | None
    """Commit, tag or branch of that base on the hub."""
    rank: int
    """0 for a kind that has none."""
    targets: tuple[str, ...]
    """Last parts of the names of the adapted modules; empty where the file has a pattern instead."""
    saved: tuple[str, ...] = ()
    """Last parts of the names of modules that are replaced as a whole (modules_to_save)."""
    method: str = "LORA"
    """PEFT's name of the method (peft_type)."""
    kind: str = "LoRA"
    """Name of the method for people, such as LoRA, DoRA or prefix tuning."""
    mixes: bool = True
    """Whether PEFT can compute rows with and without it in one batch."""
    fixed_strength: str = ""
    """Why its strength can only be 1; empty where any strength has a meaning."""
    ranks: tuple[int, ...] = ()
    """Every rank in the file, those of patterns too."""
    virtual_tokens: int = 0
    """Number of trained tokens that stand before every text."""
    virtual_width: int = 0
    """Numbers of one virtual token."""
    trains_biases: bool = False
    """Whether the biases of the base were trained along."""
    patterns: tuple[str, ...] = ()
    """Regular expressions that PEFT matches with the names of modules."""


def read_adapter_config(folder: Path, *, name: str) -> AdapterConfig:
    """Read adapter_config.json in `folder`. Raises ModelError where the adapter cannot run beside its base."""
    raw = read_json(folder / "adapter_config.json", name=name)
    kind = _kind(raw, name=name)
    _check_entries(raw, name=name)
    if reasons := _unsupported_options(raw):
        option, why = next(iter(reasons.items()))
        raise unsupported_option(option, why, name=name)
    patterns = _patterns(raw)
    check_patterns(patterns, _PROBES, adapter=name)
    rank = _whole_number(raw, "r", MAX_RANK, name=name) if kind.has_rank else 0
    title = "DoRA" if raw.get("use_dora") else kind.title
    targets = raw.get("target_modules")
    return AdapterConfig(
        base=_text(raw.get("base_model_name_or_path")),
        base_revision=_text(raw.get("revision")),
        rank=rank,
        targets=_texts(targets) if isinstance(targets, list) else (),
        saved=_texts(raw.get("modules_to_save")),
        method=str(raw["peft_type"]),
        kind=title,
        mixes=kind.mixes and not _separate_options(raw),
        fixed_strength=_fixed_strength(raw, kind, title, name=name),
        ranks=_ranks(raw, rank, name=name),
        virtual_tokens=_whole_number(raw, "num_virtual_tokens", MAX_VIRTUAL_TOKENS, name=name) if kind.is_prompt else 0,
        virtual_width=_virtual_width(raw, name=name) if kind.is_prompt else 0,
        trains_biases=raw.get("bias", "none") != "none",
        patterns=patterns,
    )


def unsupported_option(option: str, why: str, *, name: str) -> ModelError:
    """Return the error for an adapter that was trained with an option that cannot be shown here."""
    return ModelError(f"{name} was made with {option}, {why}. Retrain it without, or convert it to plain LoRA.")


def _kind(raw: Mapping[str, Any], *, name: str) -> AdapterKind:
    peft_type = raw.get("peft_type")
    if isinstance(peft_type, str) and peft_type in KINDS:
        return KINDS[peft_type]
    why = _REFUSED_KINDS.get(peft_type, _UNTESTED) if isinstance(peft_type, str) else "which is no kind of adapter"
    raise ModelError(
        f"{name} is of peft_type {quoted(peft_type)}, {why}. Give a LoRA adapter, or one of {', '.join(KINDS)}."
    )


def _check_entries(raw: Mapping[str, Any], *, name: str) -> None:
    """Raise ModelError where an entry is not of its type, or so large that PEFT would take minutes with it."""
    for key, value in raw.items():
        if isinstance(value, list | dict) and len(value) > MAX_ENTRIES:
            raise _bad_entry(name, key, f"{len(value):,} entries", f"at most {MAX_ENTRIES:,} are read")
    scale = raw.get("lora_alpha", 1)
    if type(scale) not in (int, float) or not abs(scale) <= MAX_ALPHA:
        raise _bad_entry(name, "lora_alpha", f"= {quoted(scale)}", f"it must be a number of at most {MAX_ALPHA:,}")
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(raw.get(key) or {}, dict):
            raise _bad_entry(name, key, f"= {quoted(raw[key])}", "it must be a table of numbers")


def _fixed_strength(raw: Mapping[str, Any], kind: AdapterKind, title: str, *, name: str) -> str:
    if raw.get("use_dora"):
        return f"{name} is a DoRA adapter, which sets the length of whole rows of weights"
    if raw.get("trainable_token_indices"):
        return f"{name} has trained tokens (trainable_token_indices), which replace those of the base"
    return f"{name} is made with {title}, which {kind.fixed_strength}" if kind.fixed_strength else ""


def _separate_options(raw: Mapping[str, Any]) -> list[str]:
    """Return the options of LoRA that PEFT cannot compute in one batch with the base."""
    options = ("use_dora", "trainable_token_indices", "target_parameters")
    return [option for option in options if raw.get(option)] + ["bias"] * (raw.get("bias", "none") != "none")


def _unsupported_options(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return the options with which an adapter cannot be shown beside its base, each with the reason."""
    reasons: dict[str, str] = {}
    if raw.get("layer_replication"):
        reasons["layer_replication"] = _CHANGES_BASE
    if raw.get("alora_invocation_tokens"):
        reasons["alora_invocation_tokens"] = "which changes answers only after certain tokens of a prompt"
    if raw.get("bias", "none") not in ("none", "all", "lora_only"):
        reasons[f"bias={quoted(raw['bias'])}"] = _UNTESTED
    variants = ("use_qalora", "use_bdlora", "arrow_config", "kasa_config", "velora_config", "monteclora_config")
    reasons |= {option: _UNTESTED for option in variants if raw.get(option)}
    initial = raw.get("init_lora_weights")
    if isinstance(initial, str) and initial.lower().startswith(("pissa", "olora", "corda", "loftq", "lora_ga", "mica")):
        reasons[f"init_lora_weights={quoted(initial)}"] = _CHANGES_BASE
    return reasons


def _patterns(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the entries that PEFT reads as regular expressions, in its own form, without those that are plain names."""
    whole = [raw.get(key) for key in ("target_modules", "exclude_modules", "feedforward_modules")]
    keyed = [
        *((r"(.*\.)?({})$", key) for table in ("rank_pattern", "alpha_pattern") for key in raw.get(table) or {}),
        *((r"(^|.*\.){}($|\..*)", module) for module in _texts(raw.get("modules_to_save"))),
        *((r"(?:^|.*?\.){}\.(?P<idx>\d+)\.", part) for part in _texts(raw.get("layers_pattern"))),
    ]
    patterns = [text for text in whole if isinstance(text, str) and not _PLAIN_NAME.fullmatch(text)]
    return (*patterns, *(form.replace("{}", text) for form, text in keyed if not _PLAIN_NAME.fullmatch(text)))


def _ranks(raw: Mapping[str, Any], rank: int, *, name: str) -> tuple[int, ...]:
    """Return all ranks: AdaLoRA's patterns have a list with an entry per rank instead of a number."""
    values = [len(value) if isinstance(value, list) else value for value in (raw.get("rank_pattern") or {}).values()]
    for value in values:
        _check_whole_number("rank_pattern", value, MAX_RANK, name=name)
    return tuple(sorted({*values, *([rank] if rank else [])}))


def _virtual_width(raw: Mapping[str, Any], *, name: str) -> int:
    width = _whole_number(raw, "token_dim", MAX_RANK, name=name)
    if raw.get("peft_type") != "PREFIX_TUNING":
        return width
    return 2 * width * _whole_number(raw, "num_layers", MAX_ENTRIES, name=name)


def _whole_number(raw: Mapping[str, Any], key: str, most: int, *, name: str) -> int:
    value = raw.get(key)
    _check_whole_number(key, value, most, name=name)
    assert isinstance(value, int)
    return value


def _check_whole_number(key: str, value: object, most: int, *, name: str) -> None:
    if type(value) is not int or not 1 <= value <= most:
        label = "rank r" if key == "r" else key
        raise _bad_entry(name, label, f"= {quoted(value)}", f"it must be a whole number from 1 to {most:,}")


def _bad_entry(name: str, key: str, value: str, rule: str) -> ModelError:
    return ModelError(f"adapter_config.json of {name} has {key} {value}; {rule}. Restore or download it again.")


def _texts(value: object) -> tuple[str, ...]:
    """Return the texts of an entry that is a text, a list of texts, or nothing."""
    return (value,) if isinstance(value, str) else tuple(map(str, value)) if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
