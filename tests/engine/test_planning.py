""""""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from phi2demo import settings as defaults
from phi2demo.engine.planning import plan, read_config
from phi2demo.errors import ModelError
from phi2demo.settings import ModelSettings


def planned(**values: Any) -> Any:
    return plan(
        ModelSettings(**{key: str(value) if isinstance(value, Path) else value for key, value in values.items()})
    )


@pytest.fixture
def narrow_base(base: Path, edit: Any) -> Path:
    """A whole base of another shape than the tiny one."""
    from transformers import AutoConfig, PhiForCausalLM

    config = AutoConfig.from_pretrained(base)
    config.hidden_size, config.intermediate_size = 32, 128
    folder = Path(shutil.copytree(base, base.parent / "narrow"))
    PhiForCausalLM(config).save_pretrained(folder)
    return folder


def test_an_adapter_decides_the_base(base: Path, adapter: Path) -> None:
    model_plan = planned(adapter=adapter)
    assert (model_plan.base, model_plan.base_folder, model_plan.base_revision) == ("base", base, None)
    assert (model_plan.adapter, model_plan.adapter_folder, model_plan.adapter_revision, model_plan.lora_rank) == (
        "adapter",
        adapter,
        None,
        4,
    )
    assert (model_plan.layers, model_plan.hidden_size, model_plan.context, model_plan.parameters) == (
        2,
        64,
        256,
        133_120,
    )


def test_a_model_alone_is_bare(base: Path) -> None:
    model_plan = planned(model=base)
    assert (model_plan.base, model_plan.adapter, model_plan.adapter_folder, model_plan.lora_rank) == (
        "base",
        None,
        None,
        None,
    )


def test_nothing_given_is_the_embedded_pair(base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "EMBEDDED_MODEL", base)
    monkeypatch.setattr(defaults, "EMBEDDED_ADAPTER", adapter)
    model_plan = planned()
    assert (model_plan.base_folder, model_plan.adapter_folder) == (base, adapter)


def test_a_missing_embedded_model_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "EMBEDDED_MODEL", tmp_path / "absent")
    with pytest.raises(ModelError, match=r"embedded model is missing in assets/model.*--model"):
        planned()


def test_both_given_need_only_the_same_shape(base: Path, adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="someone/another-name")
    assert planned(model=base, adapter=adapter).adapter == "adapter"


def test_both_given_with_other_shapes_are_refused(narrow_base: Path, adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="someone/wide")
    message = r"adapter was made for another base than narrow: .* \[256, 64\].* \[128, 32\].*names someone/wide"
    with pytest.raises(ModelError, match=message):
        planned(model=narrow_base, adapter=adapter)


def test_old_adapters_are_refused(base: Path, adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    old = {key.replace("q_proj", "Wqkv"): tensor for key, tensor in weights.items()}
    save_file(old, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"made for the old Phi code: it changes .*Wqkv.*retrained"):
        planned(adapter=adapter)


def test_an_adapter_that_names_no_base_is_refused(adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(ModelError, match=r"Adapter adapter does not say which base.*--model"):
        planned(adapter=adapter)


def test_config_and_weights_that_disagree_are_refused(base: Path, edit: Any) -> None:
    edit(base / "config.json", vocab_size=600)
    with pytest.raises(ModelError, match=r"contradicts itself.*embed_tokens.*\[600, 64\].*\[512, 64\]"):
        planned(model=base)


@pytest.mark.parametrize("whose", ["base", "adapter"])
def test_truncated_weights_are_refused_without_loading(base: Path, adapter: Path, whose: str) -> None:
    weights = base / "model.safetensors" if whose == "base" else adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=rf"{weights.name} is damaged or cut short"):
        planned(adapter=adapter)


def test_float16_is_refused_for_phi(base: Path) -> None:
    with pytest.raises(
        ModelError, match=r"--dtype float16: base is a Phi, whose attention overflows.*bfloat16 or float32"
    ):
        planned(model=base, dtype="float16")


def test_a_tokenizer_is_needed_and_may_be_the_adapters(base: Path, adapter: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(base / name, adapter / name)
    assert planned(adapter=adapter).base == "base"
    with pytest.raises(ModelError, match="base has no tokenizer"):
        planned(model=base)


def test_a_relative_base_is_found_from_anywhere(base: Path, adapter: Path, edit: Any, monkeypatch: Any) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="base")
    monkeypatch.chdir("/")
    assert planned(adapter=adapter).base_folder.samefile(base)


def test_a_plan_for_folders_needs_no_torch_and_no_second(base: Path, adapter: Path) -> None:
    code = (
        "import sys; from phi2demo.engine.planning import plan; from phi2demo.settings import ModelSettings;"
        f"plan(ModelSettings(adapter={str(adapter)!r}));"
        "print([name for name in ('torch', 'transformers', 'peft', 'huggingface_hub') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    start = time.monotonic()
    planned(adapter=adapter)
    assert time.monotonic() - start < 0.5


def test_no_secret_and_no_folder_is_shown(base: Path) -> None:
    model_plan = plan(ModelSettings(model=str(base), token="hf_secret"))
    assert repr(model_plan) == "ModelPlan(base='base', adapter=None, variants=('base',), device='auto', dtype='auto')"


def config(folder: Path, **values: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(values))
    return folder


SMALL = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize(
    "changes", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 2}, {"qk_layernorm": True}]
)
def test_shapes_are_those_of_the_model(tmp_path: Path, changes: dict[str, Any]) -> None:
    from transformers import PhiConfig, PhiForCausalLM

    model = PhiForCausalLM(PhiConfig(**SMALL, **changes, pad_token_id=0))
    base_config = read_config(config(tmp_path, model_type="phi", **SMALL, **changes), name="m")
    assert base_config.shapes == {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    assert base_config.parameters == sum(tensor.numel() for tensor in model.parameters())


def test_phi_2_is_known_from_its_config(tmp_path: Path) -> None:
    values = {"vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32}
    base_config = read_config(config(tmp_path, model_type="phi", **values), name="m")
    assert (base_config.layers, base_config.hidden_size, base_config.context) == (32, 2560, 2048)
    assert base_config.parameters == 2_779_683_840
    assert base_config.cache_numbers == 2 * 32 * 2560 * 2048


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 0}, "hidden_size 0; it must be a whole number above 0"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers '2'"),
        ({"hidden_size": 100, "num_attention_heads": 3}, "3 attention heads do not divide"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_config(config(tmp_path, model_type="phi", **values), name="m")


@pytest.mark.parametrize("model_type", ["phi-msft", "mixformer-sequential"])
def test_the_old_phi_code_is_refused(tmp_path: Path, model_type: str) -> None:
    with pytest.raises(ModelError, match=r"old Phi code.*newer revision"):
        read_config(config(tmp_path, model_type=model_type, auto_map={"AutoConfig": "x.Y"}), name="m")


def test_code_from_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m \(model_type 'mine'\) needs code from its own repository.*never run"):
        read_config(config(tmp_path, model_type="mine", auto_map={"AutoModelForCausalLM": "x.Y"}), name="m")


@pytest.mark.parametrize("model_type", [None, "mine", "t5", "clip"])
def test_a_model_that_generates_no_text_is_refused(tmp_path: Path, model_type: str | None) -> None:
    with pytest.raises(ModelError, match=f"model_type {model_type!r}, which is not a text generator"):
        read_config(config(tmp_path, model_type=model_type), name="m")


def test_another_known_type_is_read_as_far_as_it_says(tmp_path: Path) -> None:
    base_config = read_config(
        config(tmp_path, model_type="gpt2", n_layer=2, n_embd=32, n_positions=64, n_head=2), name="m"
    )
    assert (base_config.layers, base_config.hidden_size, base_config.context, base_config.shapes) == (2, 32, 64, None)
