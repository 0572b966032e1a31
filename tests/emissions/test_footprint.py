import json
import math
from pathlib import Path

import pytest

from phi2demo.emissions import footprint
from phi2demo.emissions.footprint import Hardware, estimate, estimate_from_power, gpu_watts
from phi2demo.errors import SettingsError

TABLES = json.loads((Path(footprint.__file__).parent / "tables.json").read_text(encoding="utf-8"))

GRAMS_PER_POUND = 453.592


@pytest.mark.parametrize(
    ("watts", "hours", "kwh", "pounds"),
    [
        pytest.param(1415.78, 12, 27, 26, id="Transformer base"),
        pytest.param(1515.43, 84, 201, 192, id="Transformer big"),
        pytest.param(517.66, 336, 275, 262, id="ELMo"),
        pytest.param(1515.43, 274_120, 656_347, 626_155, id="architecture search"),
        pytest.param(12_041.51, 79.2, 1507, 1438, id="BERT base"),
    ],
)
def test_published_figures_of_strubell_et_al(watts: float, hours: float, kwh: float, pounds: float) -> None:
    """Strubell et al. 2019, table 3: measured watts, hours, PUE 1.58, 0.954 pounds of CO2e per kWh in the USA.

    BERT's 79 hours there are 79.2 in the paper's text.
    """
    emissions = estimate_from_power(watts, hours, pue=1.58, intensity=0.954 * GRAMS_PER_POUND)
    assert round(emissions.energy_kwh) == kwh
    assert round(emissions.co2e_kg * 1000 / GRAMS_PER_POUND) == pounds


def test_published_example_of_green_algorithms() -> None:
    """Its page, v2.2: 2 h on 12 cores of 6.8 W with 64 GB in Austria (111.18 g) draw 352.17 Wh and emit 39.15 g."""
    cores = Hardware("Xeon E7-8880 v4", cores=0, memory_gb=64).watts() + 12 * 6.8
    emissions = estimate_from_power(cores, 2, intensity=111.18)
    assert emissions.energy_kwh * 1000 == pytest.approx(352.17, abs=0.005)
    assert emissions.co2e_kg * 1000 == pytest.approx(39.15, abs=0.005)


def test_every_part_of_the_formula_counts() -> None:
    hardware = Hardware("NVIDIA H100 80GB HBM3", cores=2, memory_gb=10, gpus=3)
    emissions = estimate(hardware, 4, region="France", usage=0.5, pue=1.1)
    watts = (2 * 12 + 3 * 700) * 0.5 + 10 * 0.3725
    assert emissions.power_w == pytest.approx(watts)
    assert emissions.energy_kwh == pytest.approx(4 * watts * 1.1 / 1000)
    assert emissions.intensity_g_per_kwh == TABLES["regions"]["France"]["g_per_kwh"]
    assert emissions.co2e_kg == pytest.approx(emissions.energy_kwh * emissions.intensity_g_per_kwh / 1000)
    assert "2023" in emissions.intensity_source
    assert emissions.as_dict()["hardware"] == "3 x NVIDIA H100 80GB HBM3, 2 CPU cores, 10.0 GB of memory"


def test_the_defaults_are_an_average_data_centre_of_the_world() -> None:
    emissions = estimate(Hardware("a CPU", cores=1, memory_gb=0), 1000)
    assert (emissions.region, emissions.intensity_g_per_kwh, emissions.pue) == ("world average", 475, 1.67)
    assert emissions.co2e_kg == pytest.approx(12 * 1.67 * 0.475)


def test_an_idle_app_only_draws_the_power_of_its_memory() -> None:
    assert estimate(Hardware("a CPU", cores=4, memory_gb=2), 24, usage=0).power_w == pytest.approx(0.745)


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("NVIDIA H200", 700),
        ("NVIDIA H100 PCIe", 350),
        ("NVIDIA A100-SXM4-40GB", 400),
        ("NVIDIA A100 80GB PCIe", 300),
        ("Tesla V100-SXM2-16GB", 300),
        ("Tesla T4", 70),
        ("NVIDIA L40S", 350),
        ("NVIDIA L4", 72),
        ("NVIDIA GeForce RTX 4090", 450),
        ("Apple M1", 39),
        ("Some GPU of next year", 200),
    ],
)
def test_power_of_gpus_by_the_names_torch_gives_them(name: str, watts: float) -> None:
    assert gpu_watts(name) == watts


def test_every_figure_in_the_tables_has_a_source() -> None:
    rows = [TABLES["pue"], TABLES["memory_w_per_gb"], TABLES["cpu_w_per_core"], *TABLES["gpus"]]
    assert all(row["source"] for row in [*rows, *TABLES["regions"].values()])
    assert all(0 < row["g_per_kwh"] < 1000 and row["year"] for row in TABLES["regions"].values())


def test_values_out_of_range_are_refused() -> None:
    hardware = Hardware("a CPU", cores=1, memory_gb=1)
    with pytest.raises(SettingsError, match="--region Atlantis: give one of world average, Australia"):
        estimate(hardware, 1, region="Atlantis")
    with pytest.raises(SettingsError, match="The time is -1; give a number from 0"):
        estimate(hardware, -1)
    with pytest.raises(SettingsError, match=r"The PUE is 0\.5; give a number from 1"):
        estimate(hardware, 1, pue=0.5)
    with pytest.raises(SettingsError, match="The time is inf; give a number from 0"):
        estimate_from_power(1, math.inf)
    with pytest.raises(SettingsError, match="The intensity is nan"):
        estimate_from_power(1, 1, intensity=math.nan)
    with pytest.raises(SettingsError, match="The usage is 2"):
        estimate(hardware, 1, usage=2)
    with pytest.raises(SettingsError, match="not negative"):
        Hardware("a CPU", cores=-1, memory_gb=1)
