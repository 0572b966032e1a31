import time
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.adapters import MAX_ENTRIES, read_adapter_config
from phi2demo.engine.patterns import check_patterns
from phi2demo.engine.planning import plan
from phi2demo.errors import ModelError
from phi2demo.settings import ModelSettings


def test_an_adapter_config_is_read(adapter: Path, base: Path) -> None:
    config = read_adapter_config(adapter, name="tuned")
    assert (config.base, config.base_revision, config.rank) == (str(base), None, 4)
    assert set(config.targets) == {"q_proj", "v_proj", "fc1", "fc2"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"peft_type": "BOFT"},
            "tuned is of peft_type 'BOFT', for which PEFT compiles code.*Give a LoRA adapter, or one of",
        ),
        ({"peft_type": "POLY"}, "peft_type 'POLY', which needs the number of a task with every text"),
        ({"peft_type": "XLORA"}, "peft_type 'XLORA', which chooses among further adapters"),
        ({"peft_type": "NEW"}, "peft_type 'NEW', which is not tested here"),
        ({"peft_type": None}, "peft_type None, which is no kind of adapter"),
        ({"r": 0}, "rank r = 0"),
        ({"r": None}, "rank r = None"),
        ({"lora_alpha": "sixteen"}, "lora_alpha = 'sixteen'; it must be a number"),
        ({"lora_alpha": None}, "lora_alpha = None"),
        ({"lora_alpha": 1e308}, r"lora_alpha = 1e\+308; it must be a number of at most 1,000,000"),
        ({"lora_alpha": float("nan")}, "lora_alpha = nan"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern = .*it must be a table of numbers"),
        ({"rank_pattern": {"q_proj": -1}}, "rank_pattern = -1; it must be a whole number"),
        ({"bias": "some"}, "made with bias='some', which is not tested here"),
        ({"use_qalora": True}, "made with use_qalora, which is not tested here"),
        ({"layer_replication": [[0, 1]]}, "made with layer_replication, which changes the base itself"),
        ({"init_lora_weights": "pissa_niter_4"}, "made with init_lora_weights='pissa_niter_4', which changes the base"),
        ({"alora_invocation_tokens": [5]}, "made with alora_invocation_tokens, which changes answers only after"),
        (
            {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": "5"},
            "num_virtual_tokens = '5'; it must be a whole number",
        ),
        ({"target_modules": "(q_proj"}, r"regular expressions that cannot be read \(missing \).*Name the modules"),
    ],
)
def test_an_adapter_that_cannot_be_shown_is_refused_by_name(
    adapter: Path, edit: Any, changes: dict[str, Any], message: str
) -> None:
    edit(adapter / "adapter_config.json", **changes)
    with pytest.raises(ModelError, match=message):
        read_adapter_config(adapter, name="tuned")


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a pattern without an end": ({"target_modules": r"(\w+\.?)+!"}, "expressions that do not come to an end, such as"),
    "an exclusion without an end": ({"exclude_modules": r"(.*a)*(.*a)*!"}, "do not come to an end"),
    "a key without an end": ({"alpha_pattern": {r"([a-z_]+\.?)+!": 1}}, "do not come to an end"),
    "a saved module without an end": ({"modules_to_save": [r"([a-z_]+\.?)+!"]}, "do not come to an end"),
    "open brackets in a pattern": ({"target_modules": "(" * 5000}, "cannot be read"),
    "a long pattern": ({"target_modules": "(q|k)" * 50_000}, "longer than 100,000 characters"),
    "a rank of a thousand million": ({"r": 10**9}, "rank r = 1000000000; it must be a whole number from 1 to 65,536"),
    "a rank of a million digits": ({"rank_pattern": {"q_proj": 10**4000}}, r"rank_pattern = 10{59}…"),
    "many alphas": (
        {"alpha_pattern": {f"q{i}": 1 for i in range(100_000)}},
        f"100,000 entries; at most {MAX_ENTRIES:,}",
    ),
    "many modules": ({"target_modules": [f"q{i}" for i in range(100_000)]}, "target_modules 100,000 entries"),
    "virtual tokens without number": (
        {"peft_type": "P_TUNING", "num_virtual_tokens": 10**9},
        "num_virtual_tokens = 1000",
    ),
    "virtual tokens without width": (
        {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4, "token_dim": 10**9, "num_layers": 2},
        "token_dim = 1000000000",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_config_made_to_hang_or_fill_memory_is_refused_at_once(adapter: Path, edit: Any, name: str) -> None:
    changes, message = HOSTILE[name]
    edit(adapter / "adapter_config.json", **changes)
    check_refused_at_once(adapter, message)


def test_a_config_of_nested_brackets_is_refused_at_once(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("[" * 200_000)
    check_refused_at_once(adapter, r"adapter_config\.json of adapter cannot be read")


def check_refused_at_once(adapter: Path, message: str) -> None:
    start = time.process_time(), time.monotonic()
    with pytest.raises(ModelError, match=message):
        plan(ModelSettings(adapter=str(adapter)))
    assert time.process_time() - start[0] < 0.5
    assert time.monotonic() - start[1] < 5, "most of it waiting for a busy machine"


def test_a_rank_that_fits_no_weight_is_refused_before_memory_is_filled(adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", r=60_000)
    check_refused_at_once(adapter, "declares rank 60,000, but no side of its weights is longer than 256")


def test_a_pattern_that_hangs_on_the_names_of_the_base_alone_is_refused() -> None:
    start = time.monotonic()
    with pytest.raises(ModelError, match="do not come to an end"):
        check_patterns([r"model\.rotary(_?\w+)+!"], ["model.rotary_emb_inverse_frequencies_of_all"], adapter="tuned")
    assert time.monotonic() - start < 5
    patterns = [r".*\.(q_proj|k_proj)$", r"^(?!.*vision).*layers\.\d+\..*(fc1|fc2)"]
    check_patterns(patterns, [f"model.layers.{layer}.mlp.fc3" for layer in range(2000)], adapter="tuned")
