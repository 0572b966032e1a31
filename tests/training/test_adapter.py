import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.declaration import Declaration, read_declaration
from phi2demo.training.adapter import adapt, load_base, load_tokenizer, save
from phi2demo.training.finetune_settings import FinetuneSettings

CPU = torch.device("cpu")


@pytest.fixture
def settings(tiny_base: Path, tmp_path: Path) -> FinetuneSettings:
    return FinetuneSettings(data=tmp_path, output=tmp_path / "adapter", model=str(tiny_base), steps=1, rank=4)


def test_layers_that_the_base_has_not_are_refused(settings: FinetuneSettings) -> None:
    model = load_base(plan(ModelSettings(model=settings.model)), settings, CPU)
    with pytest.raises(SettingsError, match="--targets Wqkv does not fit"):
        adapt(model, replace(settings, targets=("Wqkv",)))


def test_a_new_adapter_changes_nothing_and_only_it_is_trained(settings: FinetuneSettings) -> None:
    model = load_base(plan(ModelSettings(model=settings.model)), settings, CPU)
    ids = torch.arange(2, 9)[None]
    with torch.no_grad():
        before = model(ids).logits
        adapted = adapt(model, settings)
        assert torch.equal(adapted(ids).logits, before)
    assert all("lora" in name for name, parameter in adapted.named_parameters() if parameter.requires_grad)


def test_transformers_loads_the_folder_by_the_name_of_its_base(
    settings: FinetuneSettings, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--base-name` is relative to where the folder will be used."""
    settings, base = replace(settings, base_name="assets/model"), plan(ModelSettings(model=settings.model))
    declared = Declaration(tasks=("sentiment",))
    settings.output.mkdir()
    save(adapt(load_base(base, settings, CPU), settings), load_tokenizer(base, settings), declared, settings)
    assert read_declaration(settings.output) == declared
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "model").symlink_to(tiny_base, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    config = json.loads((settings.output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "assets/model"
    tokenizer = AutoTokenizer.from_pretrained("adapter")
    model = AutoModelForCausalLM.from_pretrained("adapter")
    ids = model.generate(**tokenizer("The cat", return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(ids[0]).startswith("The cat")
