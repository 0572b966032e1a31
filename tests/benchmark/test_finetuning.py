"""The comparison with PEFT's gradients, on a tiny model."""

from pathlib import Path

import pytest

from phi2demo.benchmark import finetuning
from phi2demo.engine.loading import load, plan
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings


def test_gradients_are_the_same(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "ROWS", 12)
    loaded = load(plan(ModelSettings(model=str(tiny_base), device="cpu")))
    result = finetuning.compare(loaded, rank=4, repeats=1)
    assert 0 < result.max_difference < 1e-3
    assert (result.rows, result.rank) == (12, 4)
    assert result.ratio == pytest.approx(result.peer_seconds / result.ours_seconds)


def test_a_model_with_an_adapter_is_refused(tiny_adapter: Path) -> None:
    loaded = load(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu")))
    with pytest.raises(SettingsError, match="leave --adapter out"):
        finetuning.compare(loaded)
