"""Revisions: what identifies a base or an adapter in receipts, reports and audits.

The revision of a hub repository is its commit, that of a folder a hash of its weights. For the folder of an adapter a
hash of its settings follows, since the same LoRA weights compute something else with another lora_alpha.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from phi2demo.engine.sources import Source
from phi2demo.engine.weights import fingerprint, read_json

_SETTINGS_DIGITS = 8
_IRRELEVANT = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "inference_mode", "init_lora_weights",
    "loftq_config", "lora_dropout", "lora_ga_config", "peft_version", "revision", "runtime_config", "task_type",
}  # fmt: skip
"""Entries of adapter_config.json that do not change what the trained weights compute.

All others count, also unknown ones of a later PEFT: it is safer to report a difference than to miss one.
"""
_DEFAULTS: Mapping[str, Any] = {
    "peft_type": "LORA", "r": 8, "lora_alpha": 8, "bias": "none", "megatron_core": "megatron.core",
    "qalora_group_size": 16,
}  # fmt: skip
"""Defaults of PEFT 0.21 that are not empty; an entry with its default counts like a missing one."""
_UNORDERED = {
    "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "target_parameters",
}  # fmt: skip


def base_revision(source: Source) -> str:
    """Return the commit on the hub, or the first 12 hex digits of the SHA-256 of the weights."""
    return source.revision or fingerprint(source.folder, source.files)


def adapter_revision(source: Source) -> str:
    """Return the same as `base_revision`; for a folder a hyphen and 8 hex digits for its settings follow.

    Raises ModelError where adapter_config.json cannot be read.
    """
    if source.revision:
        return source.revision
    config = read_json(source.folder / "adapter_config.json", name=source.name)
    return f"{fingerprint(source.folder, source.files)}-{settings_fingerprint(config)}"


def settings_fingerprint(config: Mapping[str, Any]) -> str:
    """Hash the entries of adapter_config.json that change what the weights compute, as 8 hex digits of the SHA-256."""
    settings = {
        name: _canonical(sorted(value, key=str) if name in _UNORDERED and isinstance(value, list) else value)
        for name, value in config.items()
        if name not in _IRRELEVANT and not _is_default(name, value)
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_SETTINGS_DIGITS]


def same_adapter(loaded: str | None, recorded: str | None) -> bool | None:
    """Return whether the revision of a loaded adapter is the one that a receipt or report recorded.

    None where the weights are the same and the record, like all old ones, does not say which settings they had.
    """
    if loaded == recorded:
        return True
    return None if loaded and recorded and settings_part(loaded) and loaded.startswith(f"{recorded}-") else False


def settings_part(revision: str) -> str:
    """Return the digits for the settings in a revision; empty for a commit and for a base, which have none."""
    return revision.partition("-")[2]


def short_revision(revision: str) -> str:
    """Shorten a revision for display: 12 digits of the commit or weights, and those of the settings."""
    weights, hyphen, settings = revision.partition("-")
    return f"{weights[:12]}{hyphen}{settings[:_SETTINGS_DIGITS]}"


def _is_default(name: str, value: Any) -> bool:
    return value is None or value is False or value in ({}, []) or (name in _DEFAULTS and value == _DEFAULTS[name])


def _canonical(value: Any) -> Any:
    """Bring equal values to one form, as 16.0 and 16. Patterns keep their order, since the first match applies."""
    if isinstance(value, dict):
        return [[name, _canonical(inner)] for name, inner in value.items()]
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
