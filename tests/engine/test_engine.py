import math
from dataclasses import fields, replace
from typing import Any

import pytest

from phi2demo.engine.engine import RANGES, SWITCHES, AdapterInfo, GenerationOptions, ModelInfo, Score
from phi2demo.errors import SettingsError

WHOLE = [name for name, (low, _) in RANGES.items() if isinstance(low, int)]


@pytest.mark.parametrize("name", RANGES)
def test_bounds_are_allowed_and_values_beyond_are_not(name: str) -> None:
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(GenerationOptions(**{name: value}), name) == value
    for value in (low - 1, high + 1, -1e9):
        with pytest.raises(SettingsError, match=f"^{name} is "):
            GenerationOptions(**{name: type(low)(value)})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, True, False, [1], 1j])
@pytest.mark.parametrize("name", RANGES)
def test_values_other_than_numbers_are_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is .*; give a"):
        GenerationOptions(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_whole(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is 1.5; give a whole number"):
        GenerationOptions(**{name: 1.5})
    with pytest.raises(SettingsError, match="whole number"):
        GenerationOptions(**{name: 2.0})


@pytest.mark.parametrize("name", [name for name in RANGES if name not in WHOLE])
def test_whole_numbers_pass_for_others(name: str) -> None:
    assert getattr(GenerationOptions(**{name: 1}), name) == 1


@pytest.mark.parametrize("stop", [("",), ("a", ""), (1,), (None,), "END", 5, None])
def test_stop_strings_are_strings(stop: Any) -> None:
    with pytest.raises(SettingsError, match=r"^stop is "):
        GenerationOptions(stop=stop)


def test_beams_do_not_sample() -> None:
    assert GenerationOptions(num_beams=4).num_beams == 4
    with pytest.raises(SettingsError, match="Beam search does not sample"):
        GenerationOptions(num_beams=2, temperature=0.1)
    with pytest.raises(SettingsError, match="Beam search does not sample"):
        replace(GenerationOptions(temperature=0.1), num_beams=2)


@pytest.mark.parametrize("value", [1, "true", None])
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_on_or_off(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {value!r}; give true or false"):
        GenerationOptions(**{name: value})  # type: ignore[arg-type]


def test_every_option_has_a_range_or_is_a_switch() -> None:
    assert {field.name for field in fields(GenerationOptions)} == {*RANGES, *SWITCHES, "stop"}
    for name, (low, high) in RANGES.items():
        assert type(low) is type(high), name
        assert low <= getattr(GenerationOptions(), name) <= high


def test_score_total() -> None:
    assert Score((1, 2), (-0.5, -1.5)).total == -2.0
    assert Score((), ()).total == 0


def test_variants_follow_from_the_adapter() -> None:
    bare = ModelInfo("b", "r", None, None, None, 1, 1, 1, 1, "cpu", "float32")
    assert bare.variants == ("base",)
    pair = replace(bare, adapter="a", adapter_revision="1")
    assert pair.variants == ("finetuned", "base")
    three = replace(pair, others=(AdapterInfo("second", "c", "2", 8),))
    assert three.variants == ("finetuned", "base", "second")
    assert [three.adapter_of(variant) for variant in three.variants] == [("a", "1"), ("a", "1"), ("c", "2")]


def test_a_variant_that_is_not_loaded_is_refused() -> None:
    bare = ModelInfo("b", "r", None, None, None, 1, 1, 1, 1, "cpu", "float32")
    bare.check_variant("base")
    with pytest.raises(SettingsError, match=r"no finetuned model here.*start with --adapter"):
        bare.check_variant("finetuned")
    with pytest.raises(SettingsError, match=r"no adapter 'second' here.*start with another --adapter"):
        replace(bare, adapter="a").check_variant("second")
