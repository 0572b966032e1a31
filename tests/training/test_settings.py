from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from phi2demo.engine import devices
from phi2demo.engine.devices import choose_dtype
from phi2demo.errors import SettingsError
from phi2demo.training.settings import FinetuneSettings, LoopSettings, make_accelerator

SETTINGS = LoopSettings(steps=12, learning_rate=0.01)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("linear", {0: 0.5, 1: 1.0, 2: 1.0, 50: 0.5102, 99: 0.0102}),
        ("cosine", {0: 0.5, 1: 1.0, 2: 1.0, 51: 0.5, 99: 0.00026}),
        ("constant", {0: 0.5, 1: 1.0, 2: 1.0, 50: 1.0, 99: 1.0}),
    ],
)
def test_learning_rates(schedule: Any, rates: dict[int, float]) -> None:
    settings = LoopSettings(steps=100, learning_rate=0.01, schedule=schedule)
    assert {step: settings.learning_rate_at(step) / 0.01 for step in rates} == pytest.approx(rates, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "0 training steps: at least 1"),
        ({"learning_rate": 0.0}, r"--learning-rate 0.0: give a number between 0 and 1"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"schedule": "square"}, "--schedule square: give one of linear, cosine, constant"),
        ({"checkpoint_minutes": 0}, "--checkpoint-minutes 0: give a number above 0"),
        ({"part_tokens": 0}, "--part-tokens 0: give a whole number from 1"),
        ({"dropout": 1.0}, "--dropout 1.0: give a share from 0 to below 1"),
        ({"workers": -1}, "--workers -1: give a whole number from 0"),
        ({"seed": -1}, "--seed -1: give a whole number from 0 to 4294967295"),
        ({"seed": 2**70}, "--seed 1180591620717411303424: give"),
        ({"validate_every": 0}, "--validate-every 0: give a whole number from 1"),
        ({"validate_every": -5}, "--validate-every -5"),
        ({"patience": 0}, "--patience 0: give a whole number from 1"),
        ({"checkpoint_minutes": float("nan")}, "--checkpoint-minutes nan: give a number above 0"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(SETTINGS, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "Say how long to train: --steps, or --epochs"),
        ({"epochs": 1.0}, "Both --steps 24 and --epochs 1.0 are given"),
        ({"steps": None, "epochs": float("nan")}, "--epochs nan: give a number above 0"),
        ({"steps": None, "epochs": float("inf")}, "--epochs inf"),
        ({"steps": None, "epochs": -1.0}, "--epochs -1.0"),
        ({"seed": -1}, "--seed -1: give a whole number from 0"),
        ({"batch_size": 0}, "--batch-size 0: give a whole number from 1"),
        ({"rank": 0}, "--rank 0"),
        ({"targets": ()}, "--targets is empty"),
        (
            {"targets": ("all-linear", "q_proj")},
            "--targets all-linear,q_proj: give either all-linear or names of layers",
        ),
        ({"mix": {"poetry": 1.0}}, "there is no task 'poetry'"),
        ({"schedule": "steps"}, "--schedule steps"),
        ({"batch_size": 1, "steps": 0}, "0 training steps"),
    ],
)
def test_invalid_finetuning_options_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"data": tmp_path, "output": tmp_path / "adapter", "steps": 24}
    with pytest.raises(SettingsError, match=message):
        FinetuneSettings(**arguments | changes)


def test_a_base_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SettingsError, match="holds a base model; give another folder for the adapter"):
        FinetuneSettings(data=tmp_path, output=tmp_path, steps=1)


def test_a_given_learning_rate_replaces_the_default(tmp_path: Path) -> None:
    settings = FinetuneSettings(data=tmp_path, output=tmp_path, epochs=2.0)
    assert settings.loop(steps=9, default_learning_rate=2e-4).learning_rate == 2e-4
    assert replace(settings, learning_rate=3e-3).loop(steps=9, default_learning_rate=2e-4).learning_rate == 3e-3


@pytest.mark.parametrize(("precision", "mixed"), [("bf16", "bf16"), ("fp32", "no")])
def test_the_autocast_has_the_precision(precision: Any, mixed: str) -> None:
    accelerator = make_accelerator(precision, device="cpu")
    assert accelerator.mixed_precision == mixed
    assert accelerator.device.type == "cpu"
    with accelerator.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


@pytest.mark.parametrize(("fast", "mixed"), [(True, "bf16"), (False, "no")])
def test_auto_takes_bfloat16_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool, mixed: str) -> None:
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: fast)
    assert make_accelerator("auto", device="cpu").mixed_precision == mixed
    assert choose_dtype("auto", "cpu", 3_000_000_000) == ("bfloat16" if fast else "float32"), "inference agrees"


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("fp16", "cpu", "--precision fp16 needs a CUDA device. Use --precision bf16"),
        ("fp8", "cpu", "--precision fp8: give one of auto, bf16, fp16, fp32"),
        ("auto", "tpu", "--device tpu: give cpu, cuda or mps"),
    ],
)
def test_an_unknown_precision_or_device_is_refused(precision: Any, device: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_accelerator(precision, device=device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fp16_scales_its_loss_on_a_gpu() -> None:
    assert make_accelerator("fp16").scaler is not None
