""""""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.errors import SettingsError
from phi2demo.training.settings import FinetuneSettings, LoopSettings

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
        ({"mix": {"poetry": 1.0}}, "'poetry' is no task"),
        ({"schedule": "steps"}, "--schedule steps"),
        ({"batch_size": 1, "steps": 0}, "0 training steps"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"data": tmp_path, "output": tmp_path / "adapter", "steps": 24}
    with pytest.raises(SettingsError, match=message):
        FinetuneSettings(**given | changes)


def test_a_base_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SettingsError, match="holds a base model; give the adapter a folder of its own"):
        FinetuneSettings(data=tmp_path, output=tmp_path, steps=1)


def test_the_loop_learns_as_fast_as_it_is_told(tmp_path: Path) -> None:
    settings = FinetuneSettings(data=tmp_path, output=tmp_path, epochs=2.0)
    assert settings.loop(steps=9, learning_rate=2e-4).learning_rate == 2e-4
    assert replace(settings, learning_rate=3e-3).loop(steps=9, learning_rate=2e-4).learning_rate == 3e-3
