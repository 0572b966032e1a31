"""Energy and CO2e of what a person types, with the formula in numbers, and published figures to check it by."""

import math
from dataclasses import dataclass

from phi2demo.emissions.footprint import (
    WORLD,
    Emissions,
    average_pue,
    core_watts,
    gpu_table,
    memory_watts,
    of_power,
    region_grams,
)
from phi2demo.errors import SettingsError

OWN = "Own watts"
CORES = "CPU cores"
POUNDS_PER_KG = 1 / 0.45359237

METHOD = (
    "kWh = hours × (count × W × usage + GB × W per GB) × PUE / 1000; kg CO2e = kWh × g per kWh / 1000. "
    "Lannelongue, Grealey and Inouye, Green Algorithms: Quantifying the Carbon Footprint of Computation, Advanced "
    "Science 2021."
)


@dataclass(frozen=True)
class Form:
    """What is filled in; None is a field left empty. `calculate` checks it."""

    hardware: str = CORES
    """One of `hardware_titles`."""
    watts: float | None = None
    """Of each, where the hardware is `OWN`."""
    count: float | None = 1
    hours: float | None = 1
    usage: float | None = 100
    """Percent of the time that the hardware is busy."""
    memory_gb: float | None = 0
    pue: float | None = None
    """None: the average of data centres."""
    region: str = WORLD
    intensity: float | None = None
    """g CO2e per kWh, in the place of the region's."""


@dataclass(frozen=True)
class Calculation:
    """What a form comes to."""

    emissions: Emissions
    energy: str
    """The formula with its numbers."""
    gas: str
    """The second half of it."""


@dataclass(frozen=True)
class Published:
    """A figure that others have published, from the same hours, power and region."""

    title: str
    form: Form
    kwh: float
    co2e_kg: float
    says: str
    """As it was published."""
    source: str


_STRUBELL = (
    "Strubell, Ganesh and McCallum, Energy and Policy Considerations for Deep Learning in NLP, ACL 2019, table 3"
)
_US_GRAMS = round(0.954 * 1000 / POUNDS_PER_KG, 2)
"""0.954 pounds per kWh: the EPA's average of the USA, as Strubell et al. take it."""

PUBLISHED = (
    Published(
        "BERT base on 64 V100",
        Form(OWN, watts=12_041.51, hours=79.2, pue=1.58, intensity=_US_GRAMS),
        1507,
        1438 / POUNDS_PER_KG,
        "1,507 kWh and 1,438 pounds of CO2e (652 kg): 12,041.51 W measured over 79.2 h, PUE 1.58, the USA's average",
        f"{_STRUBELL}, where the hours are rounded to 79",
    ),
    Published(
        "Transformer big on 8 P100",
        Form(OWN, watts=1_515.43, hours=84, pue=1.58, intensity=_US_GRAMS),
        201,
        192 / POUNDS_PER_KG,
        "201 kWh and 192 pounds of CO2e (87 kg): 1,515.43 W measured over 84 h, PUE 1.58, the USA's average",
        _STRUBELL,
    ),
    Published(
        "12 cores with 64 GB for 2 h",
        Form(OWN, watts=6.8, count=12, hours=2, memory_gb=64, pue=1.67, intensity=111.18),
        0.35217,
        0.03915,
        "352.17 Wh and 39.15 g CO2e: 12 cores of 6.8 W with 64 GB over 2 h in Austria, PUE 1.67",
        "the example on the page of Green Algorithms, version 2.2",
    ),
)


def hardware_titles() -> tuple[str, ...]:
    """CPU cores, the GPUs of the table, and own watts."""
    return (CORES, *gpu_table(), OWN)


def unit_watts(title: str) -> float | None:
    """Of one of the hardware; None for own watts. SettingsError where it is not in the list."""
    known = {CORES: core_watts(), **gpu_table(), OWN: None}
    if title not in known:
        raise SettingsError(f"Hardware {title!r}: choose one of the list, or {OWN} and type its power.")
    return known[title]


def calculate(form: Form) -> Calculation:
    """The estimate; SettingsError names the field that is out of range, and what to give."""
    listed = unit_watts(form.hardware)
    each = _number("Watts of each", form.watts) if listed is None else listed
    count, hours = _number("Count", form.count), _number("Hours", form.hours)
    usage = _number("Usage", form.usage, most=100)
    memory = _number("Memory", form.memory_gb)
    pue = average_pue() if form.pue is None else _number("PUE", form.pue, least=1)
    grams = None if form.intensity is None else _number("Grams per kWh", form.intensity)
    region_grams(form.region)
    watts = count * each * usage / 100 + memory * memory_watts()
    found = of_power(
        watts,
        hours,
        region=form.region,
        pue=pue,
        intensity=grams,
        hardware=f"{count:g} x {form.hardware}",
        method=METHOD,
    )
    energy = (
        f"{_exact(hours)} h × ({_exact(count)} × {_exact(each)} W × {_exact(usage)} % + {_exact(memory)} GB × "
        f"{memory_watts():g} W/GB) × {_exact(pue)} / 1000 = {amount(found.energy_kwh)} kWh"
    )
    gas = f"{amount(found.energy_kwh)} kWh × {found.intensity_g_per_kwh:,.4g} g/kWh / 1000 = {amount(found.co2e_kg)} kg CO2e"
    return Calculation(found, energy, gas)


def amount(value: float) -> str:
    """Four significant digits, thousands apart, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 12)}f}"


def _exact(value: float) -> str:
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def _number(name: str, value: float | None, *, least: float = 0, most: float | None = None) -> float:
    span = f"a number from {least:g}" + (f" to {most:g}" if most is not None else "")
    if value is None:
        raise SettingsError(f"{name} is empty: give {span}.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingsError(f"{name} is {value!r}: give {span}.")
    if value < least or (most is not None and value > most):
        raise SettingsError(f"{name} is {value:g}: give {span}.")
    return float(value)
