import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.loading import load
from phi2demo.engine.planning import plan
from phi2demo.errors import ModelError
from phi2demo.settings import ModelSettings


def settings(**values: Any) -> ModelSettings:
    return ModelSettings(**values, device="cpu")


def test_plan_brings_the_small_files_and_load_the_weights(hub: Any, base: Path) -> None:
    (base / "pytorch_model.bin").write_bytes(b"pickle")
    (base / "code.py").write_text("")
    (base / "other.safetensors").write_bytes(bytes(9))
    (base / "onnx").mkdir()
    (base / "onnx" / "config.json").write_text("{}")
    commit = hub.add("someone/tiny", base)
    model_plan = plan(settings(model="someone/tiny"))
    assert (model_plan.base, model_plan.base_revision, model_plan.adapter) == ("someone/tiny", commit, None)
    assert (model_plan.layers, model_plan.hidden_size, model_plan.context, model_plan.parameters) == (
        2,
        64,
        256,
        133_120,
    )
    assert model_plan.base_source.missing_bytes == (base / "model.safetensors").stat().st_size
    small = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert hub.downloaded() == small
    loaded = load(model_plan)
    assert hub.downloaded() == small | {"model.safetensors"}
    assert (loaded.info.base, loaded.info.base_revision) == ("someone/tiny", commit)
    assert plan(settings(model="someone/tiny")).base_source.missing_bytes == 0


def test_an_adapter_brings_its_base(hub: Any, base: Path, adapter: Path, edit: Any) -> None:
    commit = hub.add("someone/tiny", base)
    edit(adapter / "adapter_config.json", base_model_name_or_path="someone/tiny", revision=commit)
    adapter_commit = hub.add("someone/tuned", adapter)
    model_plan = plan(settings(adapter="someone/tuned"))
    assert (model_plan.base, model_plan.adapter, model_plan.lora_rank) == ("someone/tiny", "someone/tuned", 4)
    assert (model_plan.base_revision, model_plan.adapter_revision) == (commit, adapter_commit)
    assert model_plan.adapter_folder is not None
    assert (model_plan.adapter_folder / "README.md").is_file()
    assert any(path.endswith(f"/someone/tiny/revision/{commit}") for _, path, _ in hub.requests)
    assert load(model_plan).info.adapter_revision == adapter_commit


def test_targets_are_checked_before_the_weights_are_here(hub: Any, base: Path, adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", target_modules=["Wqkv"])
    hub.add("someone/tuned", adapter)
    with pytest.raises(ModelError, match="someone/tuned was made for the old Phi code"):
        plan(settings(model=str(base), adapter="someone/tuned"))
    assert "adapter_model.safetensors" not in hub.downloaded()


def test_a_cached_model_works_without_the_hub(
    hub: Any, base: Path, unplug: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    commit = hub.add("someone/tiny", base)
    load(plan(settings(model="someone/tiny")))
    unplug()
    model_plan = plan(settings(model="someone/tiny"))
    assert "the hub cannot be reached" in caplog.text
    assert (model_plan.base_revision, model_plan.base_source.missing_bytes) == (commit, 0)
    assert load(model_plan).info.base_revision == commit


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_out_of_order_is_as_none(hub: Any, base: Path, status: int) -> None:
    hub.add("someone/tiny", base)
    load(plan(settings(model="someone/tiny")))
    hub.refusal = (status, "")
    assert load(plan(settings(model="someone/tiny"))).info.layers == 2
    with pytest.raises(ModelError, match="someone/other is no folder on this machine, and the hub cannot be reached"):
        plan(settings(model="someone/other"))


def test_a_cache_without_weights_is_refused(hub: Any, base: Path, unplug: Callable[[], None]) -> None:
    hub.add("someone/tiny", base)
    plan(settings(model="someone/tiny"))
    unplug()
    with pytest.raises(
        ModelError, match=r"someone/tiny \(from the cache, since the hub is not reached\) has no weights"
    ):
        plan(settings(model="someone/tiny"))


def test_a_closed_port_is_reported_at_once(hub: Any, unplug: Callable[[], None]) -> None:
    unplug()
    with pytest.raises(
        ModelError,
        match=r"microsoft/phi-2 is no folder on this machine, and the hub cannot be reached.*give its folder",
    ):
        plan(settings(model="microsoft/phi-2"))


def test_offline_mode_is_obeyed(hub: Any, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub.add("someone/tiny", base)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"cannot be reached.*offline mode"):
        plan(settings(model="someone/tiny"))
    assert hub.requests == []


@pytest.mark.usefixtures("silent")
def test_a_silent_hub_is_given_up_within_15_seconds() -> None:
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"microsoft/phi-2.*cannot be reached"):
        plan(settings(model="microsoft/phi-2"))
    assert time.monotonic() - start < 15


def test_a_stuck_request_is_abandoned(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi2demo.engine import hub as hub_module

    monkeypatch.setattr(hub_module, "REACH_S", 0.2)
    monkeypatch.setattr(hub_module, "_listing", lambda *_: time.sleep(2))
    with pytest.raises(ModelError, match=r"cannot be reached \(no answer within 0\.2 s\)"):
        plan(settings(model="microsoft/phi-2"))


@pytest.mark.network
def test_the_real_hub_is_reached_or_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(ModelError, match="phi2demo/does-not-exist is no folder on this machine"):
        plan(settings(model="phi2demo/does-not-exist"))
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (
            404,
            "RepoNotFound",
            "someone/tiny is no folder on this machine, and on the hub it does not exist or is private.*HF_TOKEN",
        ),
        (401, "", "does not exist or is private.*HF_TOKEN"),
        (403, "GatedRepo", "someone/tiny is gated.*accept its terms.*HF_TOKEN"),
        (403, "", "someone/tiny is gated.*HF_TOKEN"),
        (404, "RevisionNotFound", "someone/tiny has no revision 'old' on the hub"),
        (400, "", "The hub refuses someone/tiny"),
    ],
)
def test_a_refusal_says_what_to_do(hub: Any, base: Path, status: int, code: str, message: str) -> None:
    hub.add("someone/tiny", base)
    hub.refusal = (status, code)
    with pytest.raises(ModelError, match=message):
        plan(settings(model="someone/tiny", revision="old"))


def test_an_unknown_revision_is_refused(hub: Any, base: Path) -> None:
    commit = hub.add("someone/tiny", base)
    assert plan(settings(model="someone/tiny", revision=commit)).base_revision == commit
    with pytest.raises(ModelError, match="no revision 'v9'"):
        plan(settings(model="someone/tiny", revision="v9"))


def test_the_adapter_is_named_where_it_named_the_base(hub: Any, adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", base_model_name_or_path="someone/gone")
    with pytest.raises(ModelError, match=r"someone/gone .*does not exist.*The adapter adapter names it.*--model"):
        plan(settings(adapter=str(adapter)))


def test_the_token_is_sent(hub: Any, base: Path) -> None:
    hub.add("someone/tiny", base)
    load(plan(settings(model="someone/tiny", token="hf_secret")))
    assert {token for _, _, token in hub.requests} == {"Bearer hf_secret"}


def test_the_token_is_not_shown(hub: Any, base: Path) -> None:
    hub.add("someone/tiny", base)
    model_plan = plan(settings(model="someone/tiny", token="hf_secret"))
    assert "hf_secret" not in f"{model_plan!r}"


def test_a_repository_of_pickles_is_refused(hub: Any, base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    hub.add("someone/tiny", base)
    with pytest.raises(ModelError, match=r"someone/tiny has its weights as pytorch_model\.bin only"):
        plan(settings(model="someone/tiny"))


def test_repositories_of_the_wrong_kind_are_refused(hub: Any, base: Path, adapter: Path) -> None:
    hub.add("someone/tiny", base)
    hub.add("someone/tuned", adapter)
    with pytest.raises(
        ModelError, match=r"someone/tuned has no config\.json.*it is an adapter, give it with --adapter"
    ):
        plan(settings(model="someone/tuned"))
    with pytest.raises(ModelError, match="someone/tiny is a base model, not an adapter"):
        plan(settings(adapter="someone/tiny"))


def test_a_full_disk_is_reported_before_the_download(hub: Any, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi2demo.engine import loading

    hub.add("someone/tiny", base)
    model_plan = plan(settings(model="someone/tiny"))
    monkeypatch.setattr(loading, "_free_disk_bytes", lambda folder: 1000)
    with pytest.raises(ModelError, match=r"someone/tiny needs 0\.0 GB of disk, but only 0\.0 GB.*HF_HOME"):
        load(model_plan)
    assert "model.safetensors" not in hub.downloaded()


def test_a_download_that_breaks_off_is_a_clear_error(hub: Any, base: Path) -> None:
    hub.add("someone/tiny", base)
    model_plan = plan(settings(model="someone/tiny"))
    hub.refusal = (403, "")
    with pytest.raises(ModelError, match=r"weights of someone/tiny could not be downloaded.*Start again"):
        load(model_plan)
