import math
from dataclasses import replace

import pytest

from phi2demo.emissions.calculator import (
    CORES,
    OWN,
    PUBLISHED,
    Form,
    Published,
    amount,
    calculate,
    hardware_titles,
    unit_watts,
)
from phi2demo.emissions.footprint import gpu_watts, regions
from phi2demo.errors import SettingsError


@pytest.mark.parametrize("example", PUBLISHED, ids=lambda example: example.title)
def test_published_figures_come_out_again(example: Published) -> None:
    found = calculate(example.form).emissions
    assert found.energy_kwh == pytest.approx(example.kwh, rel=0.005)
    assert found.co2e_kg == pytest.approx(example.co2e_kg, rel=0.005)
    assert example.source


def test_the_first_example_to_its_last_digit() -> None:
    found = calculate(PUBLISHED[0].form).emissions
    assert round(found.energy_kwh) == 1507
    assert round(found.co2e_kg / 0.45359237) == 1438


def test_the_formula_is_shown_with_its_numbers() -> None:
    found = calculate(Form("NVIDIA H100 SXM", count=8, hours=1234567, usage=50, memory_gb=10, pue=1.1, region="France"))
    watts = 8 * 700 * 0.5 + 10 * 0.3725
    assert found.emissions.power_w == pytest.approx(watts)
    assert found.energy.startswith("1,234,567 h × (8 × 700 W × 50 % + 10 GB × 0.3725 W/GB) × 1.1 / 1000 = ")
    assert found.energy.endswith(f"= {amount(1234567 * watts * 1.1 / 1000)} kWh")
    assert "× 56 g/kWh / 1000 = " in found.gas


def test_an_own_intensity_takes_the_place_of_the_regions() -> None:
    form = Form(CORES, count=4, hours=10, region="Poland")
    assert calculate(replace(form, intensity=0)).emissions.co2e_kg == 0
    assert calculate(form).emissions.intensity_g_per_kwh == 661.9
    assert calculate(form).emissions.pue == 1.67


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hours": -1}, "Hours is -1: give a number from 0."),
        ({"hours": None}, "Hours is empty: give a number from 0."),
        ({"hours": math.inf}, "Hours is inf"),
        ({"hours": "two"}, "Hours is 'two'"),
        ({"count": -2}, "Count is -2"),
        ({"usage": 101}, "Usage is 101: give a number from 0 to 100."),
        ({"memory_gb": math.nan}, "Memory is nan"),
        ({"pue": 0.9}, "PUE is 0.9: give a number from 1."),
        ({"intensity": -5}, "Grams per kWh is -5"),
        ({"hardware": OWN}, "Watts of each is empty"),
        ({"hardware": "abacus"}, "Hardware 'abacus': choose one of the list"),
        ({"region": "Atlantis"}, "Atlantis: give one of world average, Australia"),
        ({"region": "Atlantis", "intensity": 5}, "Atlantis"),
    ],
)
def test_what_is_out_of_range_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        calculate(replace(Form(), **changes))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_every_hardware_and_region_of_the_lists_can_be_calculated() -> None:
    for title in hardware_titles():
        assert calculate(Form(title, watts=1.0)).emissions.energy_kwh > 0
    for region in regions():
        assert calculate(Form(region=region)).emissions.co2e_kg > 0


@pytest.mark.parametrize("title", [title for title in hardware_titles() if title not in (CORES, OWN)])
def test_a_title_names_the_gpu_it_stands_for(title: str) -> None:
    """The titles are looked up as the names are that torch gives: the same row comes out."""
    assert gpu_watts(title.replace("80 GB", "80GB")) == unit_watts(title)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1506.79, "1,507"), (0.000123456, "0.0001235"), (12.3456, "12.35"), (2e7, "20,000,000")],
)
def test_amounts(value: float, shown: str) -> None:
    assert amount(value) == shown
