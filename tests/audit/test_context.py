"""Settings of an audit, and the choice of texts for a quick run."""

from pathlib import Path
from typing import Any

import pytest

from phi2demo.audit.context import AuditSettings, spread
from phi2demo.errors import SettingsError


def test_spread_values_cover_the_whole_range() -> None:
    assert spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert spread(range(3), 5) == [0, 1, 2]
    assert spread([], 5) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resamples": 5}, "resamples is 5; give a whole number of at least 100"),
        ({"seed": -1}, "seed is -1"),
        ({"data": Path("/nowhere")}, "--data /nowhere is not a folder"),
        ({"items": Path("/nowhere")}, "--items /nowhere is not a folder"),
        ({"compare": Path("/nowhere.json")}, "--compare /nowhere.json is not a file"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        AuditSettings(Path("out"), **changes)
