""""""

from dataclasses import replace

import pytest

from phi2demo.cards.training import token_flop, utilization
from phi2demo.emissions.footprint import Hardware
from phi2demo.training.record import Stage
from phi2demo.training.settings import PRESETS

ROWS = {"preset": "mini", "phases": [{"share": 1.0, "length": 1024, "rows": 96}]}
RUN = Stage("pretraining", ROWS, 10, 360_000_000, 0.1, hardware=Hardware("NVIDIA H100 80GB HBM3", 1, 2.0, gpus=1))


def test_operations_of_a_token_are_those_of_its_matrices_and_its_attention() -> None:
    mini = PRESETS["mini"]
    model = mini.config(vocab_size=16384, end_id=0, pad_id=1)
    assert (model.num_hidden_layers, model.hidden_size) == (12, 384)
    assert token_flop(mini, 1024) == 6 * (12 * 12 * 384**2 + 16384 * 384) + 12 * 12 * 384 * 1024


def test_the_share_is_that_of_all_gpus() -> None:
    share = utilization(RUN)
    assert share == pytest.approx(1e6 * token_flop(PRESETS["mini"], 1024) / 989e12)
    two = replace(RUN, hardware=Hardware("NVIDIA H100 80GB HBM3", 2, 2.0, gpus=2))
    assert utilization(two) == pytest.approx(share / 2 if share else None)
    assert utilization(replace(RUN, hardware=Hardware("NVIDIA H100 PCIe", 1, 2.0, gpus=1))) == pytest.approx(
        1e6 * token_flop(PRESETS["mini"], 1024) / 756e12
    )


@pytest.mark.parametrize(
    "other",
    [
        {"hardware": None},
        {"hardware": Hardware("AMD EPYC", 3, 1.0, gpus=0)},
        {"settings": {"preset": "mine", "phases": ROWS["phases"]}},
        {"settings": {"preset": "mini"}},
        {"hours": 0.0},
    ],
)
def test_utilization_is_unknown_without_hardware_preset_or_speed(other: dict[str, object]) -> None:
    assert utilization(replace(RUN, **other)) is None  # type: ignore[arg-type]
