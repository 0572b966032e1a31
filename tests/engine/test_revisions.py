"""What an adapter is known by: its weights and the settings that change what they compute, and nothing else."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.engine import GenerationOptions, Prompt
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import find_adapter, plan
from phi2demo.engine.revisions import (
    _IRRELEVANT,
    adapter_revision,
    same_adapter,
    settings_fingerprint,
    settings_part,
    short_revision,
)
from phi2demo.errors import ModelError
from phi2demo.settings import ModelSettings

CONFIG = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "fc1"]}


def revision_of(folder: Path) -> str:
    return adapter_revision(find_adapter(str(folder), revision=None, token=None))


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_alpha": 64}, {"lora_alpha": 0}, {"use_rslora": True}, {"r": 8}, {"target_modules": ["q_proj"]},
        {"target_modules": "all-linear"}, {"alpha_pattern": {"fc1": 64}}, {"rank_pattern": {"fc1": 8}},
        {"layers_to_transform": [0]}, {"exclude_modules": ["dense"]}, {"modules_to_save": ["lm_head"]},
        {"fan_in_fan_out": True}, {"use_qalora": True}, {"bias": "all"}, {"of_a_later_peft": 2.5},
        {"alpha_pattern": {"q_proj": 1, "fc1": 2}}, {"alpha_pattern": {"fc1": 2, "q_proj": 1}},
    ],
)  # fmt: skip
def test_settings_that_change_the_output_change_the_fingerprint(changes: dict[str, Any]) -> None:
    assert settings_fingerprint(CONFIG | changes) != settings_fingerprint(CONFIG)


def test_patterns_of_another_order_may_compute_another_thing() -> None:
    orders = ({"q_proj": 1, "fc1": 2}, {"fc1": 2, "q_proj": 1})
    assert len({settings_fingerprint(CONFIG | {"alpha_pattern": order}) for order in orders}) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"base_model_name_or_path": "/home/somebody/base"}, {"base_model_name_or_path": "Microsoft/Phi-2"},
        {"inference_mode": True}, {"peft_version": "0.99"}, {"revision": "main"}, {"lora_dropout": 0.1},
        {"task_type": "CAUSAL_LM"}, {"init_lora_weights": "gaussian"}, {"lora_alpha": 32.0},
        {"target_modules": ["fc1", "q_proj"]}, {"use_rslora": False}, {"alpha_pattern": {}}, {"bias": "none"},
        {"layers_to_transform": None}, {"megatron_core": "megatron.core"}, {"qalora_group_size": 16},
    ],
)  # fmt: skip
def test_settings_without_effect_do_not_change_the_fingerprint(changes: dict[str, Any]) -> None:
    assert settings_fingerprint(CONFIG | changes) == settings_fingerprint(CONFIG)


def test_every_setting_of_peft_left_as_it_is_counts_nothing() -> None:
    """A PEFT with new settings fails here until it is known what leaving them out means."""
    from peft import LoraConfig

    minimal = settings_fingerprint({"peft_type": "LORA"})
    for field in dataclasses.fields(LoraConfig):
        value = getattr(LoraConfig(), field.name)
        if field.name not in _IRRELEVANT | {"peft_type"}:
            assert settings_fingerprint({"peft_type": "LORA", field.name: value}) == minimal, field.name


def test_equal_weights_that_answer_otherwise_have_another_revision(adapter: Path, tmp_path: Path, edit: Any) -> None:
    config = adapter / "adapter_config.json"
    options = GenerationOptions(max_new_tokens=12)
    revisions_read = []
    for changes in ({}, {"inference_mode": False, "lora_dropout": 0.5}, {"lora_alpha": 64}, {"use_rslora": True}):
        edit(config, **{"lora_alpha": 8, **changes})
        engine = LocalEngine.load(plan(ModelSettings(adapter=str(adapter), device="cpu")))
        *_, last = engine.stream([Prompt("The train leaves", "finetuned")], options)
        assert last.completions is not None
        (score,) = engine.score([Prompt("The train leaves", "finetuned")], [" at eight"])
        revisions_read.append((engine.info.adapter_revision, last.completions[0].text, round(score.total, 4)))
        assert engine.info.adapter_revision == revision_of(adapter)
    assert revisions_read[0] == revisions_read[1]
    assert len({score for *_, score in revisions_read}) == len({revision for revision, *_ in revisions_read}) == 3
    weights = {revision.partition("-")[0] for revision, *_ in revisions_read if revision}
    assert len(weights) == 1


def test_settings_that_cannot_be_read_are_refused(adapter: Path) -> None:
    source = find_adapter(str(adapter), revision=None, token=None)
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"adapter_config\.json of adapter holds no JSON object"):
        adapter_revision(source)


@pytest.mark.parametrize(
    ("loaded", "written", "same"),
    [
        ("abc-1", "abc-1", True), ("abc-1", "abc-2", False), ("abc-1", "abd-1", False), ("abc-1", "abc", None),
        ("abc-1", "ab", False), ("abc", "abc", True), ("abc", "abc-1", False), (None, None, True),
        (None, "abc", False), ("abc-1", None, False), ("abc-1", "", False), ("f" * 40, "f" * 40, True),
    ],
)  # fmt: skip
def test_two_revisions_are_of_the_same_of_another_or_it_is_not_known(
    loaded: str | None, written: str | None, same: bool | None
) -> None:
    assert same_adapter(loaded, written) is same


def test_people_see_a_short_revision_that_still_tells_settings_apart() -> None:
    assert (short_revision("f" * 40), short_revision("abcdefabcdef-12345678"), short_revision("seed 0")) == (
        "f" * 12, "abcdefabcdef-12345678", "seed 0",
    )  # fmt: skip
    assert (settings_part("abc-1"), settings_part("f" * 40)) == ("1", "")


def test_the_shipped_adapter_has_settings() -> None:
    from phi2demo.settings import EMBEDDED_ADAPTER

    config = json.loads((EMBEDDED_ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    assert revision_of(EMBEDDED_ADAPTER).endswith(f"-{settings_fingerprint(config)}")
    assert settings_fingerprint(config | {"lora_alpha": 2 * config["lora_alpha"]}) != settings_fingerprint(config)
