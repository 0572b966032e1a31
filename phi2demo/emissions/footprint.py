"""Estimate of the energy and greenhouse gas of computing from hardware, hours and region.

    kWh = hours x (cores x W per core x usage + GPUs x W per GPU x usage + GB of memory x 0.3725 W) x PUE / 1000
    kg CO2e = kWh x grams of CO2e per kWh in the region / 1000

Sources: Lannelongue, Grealey and Inouye, Green Algorithms, Advanced Science 2021, for all of it; Lacoste et al.,
Quantifying the Carbon Emissions of Machine Learning, 2019, for power x hours x intensity. The tables are in
`tables.json`, each figure with its source. codecarbon, which measures instead, needs fifteen further packages.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from phi2demo.errors import SettingsError

WORLD = "world average"


@dataclass(frozen=True)
class Hardware:
    """The hardware that a run uses. Raises SettingsError for negative numbers."""

    name: str
    """Model name of the CPU, or of the GPUs."""
    cores: int
    """Number of CPU cores in use, over all processes."""
    memory_gb: float
    """Gigabytes that all processes hold."""
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.cores < 0 or self.gpus < 0 or self.memory_gb < 0:
            raise SettingsError(f"{self}: give numbers of cores, GPUs and GB of memory that are not negative.")

    def watts(self, usage: float = 1.0, *, core_usage: float | None = None) -> float:
        """Return the power where cores and GPUs are busy for the share `usage` of the time; memory always is.

        `core_usage` is the share for the cores where it differs from that of the GPUs.
        """
        cores = self.cores * core_watts()
        gpus = self.gpus * gpu_watts(self.name) if self.gpus else 0.0
        return cores * (usage if core_usage is None else core_usage) + gpus * usage + self.memory_gb * memory_watts()

    def __str__(self) -> str:
        parts = [f"{self.gpus} x {self.name}"] if self.gpus else [self.name]
        return ", ".join(
            [*parts, f"{self.cores} CPU core{'s' * (self.cores != 1)}", f"{self.memory_gb:.1f} GB of memory"]
        )


@dataclass(frozen=True)
class Emissions:
    """An estimate, with all the values that it is computed from."""

    hardware: str
    hours: float
    power_w: float
    """Power of the hardware, without the overhead of the data centre."""
    pue: float
    """Power usage effectiveness: what the data centre draws for each watt that reaches the hardware."""
    energy_kwh: float
    """Energy with the overhead of the data centre."""
    region: str
    intensity_g_per_kwh: float
    """Grams of CO2e per kWh of the region's electricity."""
    intensity_source: str
    co2e_kg: float
    method: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def estimate(
    hardware: Hardware, hours: float, *, region: str = WORLD, usage: float = 1.0, pue: float | None = None
) -> Emissions:
    """Estimate the emissions of a run of `hours`, in which the hardware is busy for the share `usage` of the time.

    `pue` is by default the average of data centres; 1 is right for a computer at home. Raises SettingsError for an
    unknown region and for numbers out of range.
    """
    if not 0 <= usage <= 1:
        raise SettingsError(f"The usage is {usage}; give a share of the time from 0 to 1.")
    method = "Green Algorithms (Lannelongue et al. 2021): hours x (cores, GPUs and memory in W) x PUE x intensity"
    return estimate_from_power(
        hardware.watts(usage), hours, region=region, pue=pue, hardware=str(hardware), method=method
    )


def estimate_from_power(
    watts: float,
    hours: float,
    *,
    region: str = WORLD,
    pue: float | None = None,
    intensity: float | None = None,
    hardware: str = "",
    method: str = "Lacoste et al. 2019: power x hours x intensity, with the PUE",
) -> Emissions:
    """Estimate emissions from a known power; `intensity` in g CO2e per kWh replaces that of the region."""
    pue = average_pue() if pue is None else pue
    for name, value, least in (("power", watts, 0), ("time", hours, 0), ("PUE", pue, 1)):
        if not least <= value < math.inf:
            raise SettingsError(f"The {name} is {value}; give a number from {least}.")
    if intensity is not None and not 0 <= intensity < math.inf:
        raise SettingsError(f"The intensity is {intensity} g/kWh; give a number from 0.")
    if intensity is None:
        row = _region(region)
        intensity, source = row["g_per_kwh"], f"{row['source']}, {row['year']}"
    else:
        source = "given"
    energy = watts * hours * pue / 1000
    return Emissions(
        hardware=hardware,
        hours=hours,
        power_w=watts,
        pue=pue,
        energy_kwh=energy,
        region=region,
        intensity_g_per_kwh=intensity,
        intensity_source=source,
        co2e_kg=energy * intensity / 1000,
        method=method,
    )


def total_emissions(parts: Sequence[Emissions]) -> tuple[float, float]:
    """Return the kWh and the kg CO2e of several runs together."""
    return sum(part.energy_kwh for part in parts), sum(part.co2e_kg for part in parts)


def regions() -> tuple[str, ...]:
    """Return the names of all regions, the world average first."""
    return tuple(_tables()["regions"])


def check_region(name: str) -> str:
    """Return the name of a region. Raises SettingsError where it is unknown."""
    _region(name)
    return name


def core_watts() -> float:
    """Return the power of a CPU core, whatever its model."""
    return float(_tables()["cpu_w_per_core"]["value"])


def memory_watts() -> float:
    """Return the power of a GB of memory."""
    return float(_tables()["memory_w_per_gb"]["value"])


def average_pue() -> float:
    """Return the average PUE of data centres."""
    return float(_tables()["pue"]["value"])


def gpu_watts(name: str) -> float:
    """Return the thermal design power of the first GPU in the table whose words are all in `name`; by default 200 W."""
    words = name.casefold()
    for row in _tables()["gpus"]:
        if all(word.casefold() in words for word in row["words"]):
            return float(row["watts"])
    raise AssertionError("the last row of the table has no words")


def _region(name: str) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = _tables()["regions"]
    if name not in rows:
        raise SettingsError(f"--region {name}: give one of {', '.join(rows)}.")
    return rows[name]


@cache
def _tables() -> dict[str, Any]:
    text = resources.files("phi2demo.emissions").joinpath("tables.json").read_text(encoding="utf-8")
    tables: dict[str, Any] = json.loads(text)
    return tables
