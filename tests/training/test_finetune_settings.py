from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.errors import SettingsError
from phi2demo.training.finetune_settings import FinetuneSettings


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
