from pathlib import Path

import pytest

from phi2demo.engine.sources import Source, find_adapter, find_base, resolve_base
from phi2demo.errors import ModelError


def base_at(address: object) -> Source:
    return find_base(str(address), revision=None, token=None)


def adapter_at(address: object) -> Source:
    return find_adapter(str(address), revision=None, token=None)


def test_a_folder_is_named_by_its_last_part(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert base_at(base) == Source("base", base, ("model.safetensors",))
    monkeypatch.chdir(base)
    assert base_at(".").name == "base"


@pytest.mark.parametrize(
    "address",
    [
        "./absent",
        "/absent/model",
        "a/b/c",
        "models/",
        "C:\\models",
        "a b",
        "a..b",
        "x.git",
        "~nobody-here/m",
        "x" * 300,
    ],
)
def test_an_address_that_is_neither_folder_nor_hub_id_is_refused(address: str) -> None:
    with pytest.raises(ModelError, match=r"neither a folder on this machine nor a hub id.*check the path") as caught:
        base_at(address)
    assert f"--model {address}" in str(caught.value)
    with pytest.raises(ModelError, match=r"--adapter .* is neither a folder on this machine nor a hub id"):
        adapter_at(address)


def test_a_file_is_refused(base: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is a file; give the folder"):
        base_at(base / "config.json")


def test_a_folder_without_config_is_refused(base: Path) -> None:
    (base / "config.json").unlink()
    with pytest.raises(ModelError, match=r"base has no config\.json"):
        base_at(base)


def test_a_folder_without_weights_is_refused(base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin only.*convert it"):
        base_at(base)
    (base / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match="base has no weights"):
        base_at(base)


def test_base_and_adapter_are_distinguished(base: Path, adapter: Path) -> None:
    with pytest.raises(ModelError, match="is an adapter, not a base: give it with --adapter"):
        base_at(adapter)
    with pytest.raises(ModelError, match=r"is a base model, not an adapter.*give it with --model"):
        adapter_at(base)
    (adapter / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds a base and an adapter: move"):
        base_at(adapter)


def test_a_folder_without_adapter_is_refused(tmp_path: Path, adapter: Path) -> None:
    with pytest.raises(ModelError, match=r"has no adapter_config\.json, so it is no PEFT adapter"):
        adapter_at(tmp_path)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.bin only.*convert it"):
        adapter_at(adapter)


@pytest.mark.parametrize("above", [".", "runs", "runs/one/two"])
def test_a_relative_base_is_found_around_the_adapter(tmp_path: Path, above: str) -> None:
    folder = tmp_path / "runs" / "one" / "two"
    named = tmp_path / above / "models" / "plain"
    for path in (folder, named):
        path.mkdir(parents=True, exist_ok=True)
    (named / "config.json").write_text("{}")
    assert Path(resolve_base(Source("two", folder, ()), "models/plain")) == named


def test_a_relative_base_is_found_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "plain").mkdir(parents=True)
    (tmp_path / "here" / "plain" / "config.json").write_text("{}")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert Path(resolve_base(Source("there", tmp_path / "there", ()), "plain")) == tmp_path / "here" / "plain"


def test_a_base_found_nowhere_is_left_to_the_hub(tmp_path: Path) -> None:
    assert resolve_base(Source("a", tmp_path, ()), "microsoft/phi-2") == "microsoft/phi-2"


def test_an_absolute_base_of_another_machine_is_refused(tmp_path: Path) -> None:
    source = Source("tuned", tmp_path, ())
    assert resolve_base(source, str(tmp_path)) == str(tmp_path)
    with pytest.raises(ModelError, match=r"Adapter tuned was made on a folder 'plain' that is not on.*--model"):
        resolve_base(source, "/somewhere/else/plain")
