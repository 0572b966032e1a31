"""What a base or an adapter is known by in receipts, reports and audits. Reads files; knows nothing of what is in them.

A commit on the hub; of a folder a hash of its weights, and of an adapter's folder one of its settings too: weights of
LoRA compute another thing under another lora_alpha.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from phi2demo.engine.sources import Source
from phi2demo.engine.weights import fingerprint, read_json

_SETTINGS_DIGITS = 8
_WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "inference_mode", "init_lora_weights",
    "loftq_config", "lora_dropout", "lora_ga_config", "peft_version", "revision", "runtime_config", "task_type",
}  # fmt: skip
"""Of adapter_config.json: names, versions, and what only training or the first values of weights depend on.

Anything else counts, also what a later PEFT may bring: better asked to check than told that another model is the same.
"""
_DEFAULTS: Mapping[str, Any] = {
    "peft_type": "LORA", "r": 8, "lora_alpha": 8, "bias": "none", "megatron_core": "megatron.core",
    "qalora_group_size": 16,
}  # fmt: skip
"""Of PEFT 0.21, beside what is empty: left out is the same as given so."""
_WITHOUT_ORDER = {
    "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "target_parameters",
}  # fmt: skip


def base_revision(source: Source) -> str:
    """The commit on the hub, or the first 12 hex digits of the SHA-256 of the weights."""
    return source.revision or fingerprint(source.folder, source.files)


def adapter_revision(source: Source) -> str:
    """As `base_revision`; of a folder followed by a hyphen and 8 hex digits of its settings.

    Raises ModelError where adapter_config.json cannot be read.
    """
    if source.revision:
        return source.revision
    config = read_json(source.folder / "adapter_config.json", name=source.name)
    return f"{fingerprint(source.folder, source.files)}-{settings_fingerprint(config)}"


def settings_fingerprint(config: Mapping[str, Any]) -> str:
    """First 8 hex digits of the SHA-256 of what adapter_config.json says that changes what the weights compute."""
    told = {
        name: _canonical(sorted(value, key=str) if name in _WITHOUT_ORDER and isinstance(value, list) else value)
        for name, value in config.items()
        if name not in _WITHOUT_EFFECT and not _is_default(name, value)
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:_SETTINGS_DIGITS]


def same_adapter(loaded: str | None, written: str | None) -> bool | None:
    """Whether what is loaded is what a receipt or report was written of.

    None where its weights are the same and it does not say which settings they had, as those written before these
    were told.
    """
    if loaded == written:
        return True
    return None if loaded and written and settings_part(loaded) and loaded.startswith(f"{written}-") else False


def settings_part(revision: str) -> str:
    """What a revision says of the settings; empty where it says nothing, as a commit or one of a base."""
    return revision.partition("-")[2]


def short(revision: str) -> str:
    """For people: 12 digits of a commit or of weights, and those of the settings."""
    weights, hyphen, settings = revision.partition("-")
    return f"{weights[:12]}{hyphen}{settings[:_SETTINGS_DIGITS]}"


def _is_default(name: str, value: Any) -> bool:
    return value is None or value is False or value in ({}, []) or (name in _DEFAULTS and value == _DEFAULTS[name])


def _canonical(value: Any) -> Any:
    """One form of equal values: 16.0 is 16. The order of patterns stays, since the first that fits is taken."""
    if isinstance(value, dict):
        return [[name, _canonical(inner)] for name, inner in value.items()]
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
