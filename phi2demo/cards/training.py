"""The training sections of a card: data, settings, losses, speed, emissions."""

from collections.abc import Sequence

from phi2demo.cards.facts import GAP_SENTENCES, DataSet, Facts
from phi2demo.cards.markdown import NOT_MEASURED, NOT_RECORDED, bullets, number, table
from phi2demo.data.corpus import CleaningReport
from phi2demo.emissions.footprint import Emissions, total_emissions
from phi2demo.evaluation.tables import in_cell
from phi2demo.training.record import Record, Stage
from phi2demo.training.settings import PRESETS, Preset

DENSE_BF16 = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
}
"""FLOP/s without sparsity, from NVIDIA's data sheets; the first key that the GPU's name contains applies."""


def utilization(stage: Stage) -> float | None:
    """Return the share of the peak rate of all GPUs, over the whole run with compiling and validation; None if unknown."""
    name = stage.hardware.name if stage.hardware else ""
    rate = next((rate for words, rate in DENSE_BF16.items() if words in name), None)
    preset = PRESETS.get(str(stage.settings.get("preset")))
    phases = stage.settings.get("phases")
    if stage.hardware is None or rate is None or preset is None or not phases or not stage.tokens_per_s:
        return None
    flop = sum(float(phase["share"]) * token_flop(preset, phase["length"]) for phase in phases)
    return stage.tokens_per_s * flop / (rate * stage.hardware.gpus)


def token_flop(preset: Preset, length: int) -> float:
    """Return the operations for one token in rows of `length` tokens; only the matrices' parameters count."""
    parameters = 12 * preset.layers * preset.hidden**2 + preset.vocab_size * preset.hidden
    return 6 * parameters + 12 * preset.layers * preset.hidden * length


_SETTINGS = {
    "start": "went on from",
    "optimizer": "optimizer",
    "learning_rate": "learning rate, at its highest",
    "schedule": "schedule",
    "warmup_share": "warm-up, share of the steps",
    "weight_decay": "weight decay",
    "dropout": "dropout",
    "clip_norm": "gradient norm clipped at",
    "batch_size": "examples in a step",
    "max_length": "tokens of an example, at most",
    "rank": "LoRA rank",
    "alpha": "LoRA alpha",
    "targets": "adapted layers",
    "patience": "validations without a lower loss before it ends",
    "seed": "seed",
}
"""Settings that the card shows, with their titles; the record holds the rest."""

_VALIDATIONS = 8
"""Largest number of columns in the table of held-out losses."""


def stage_names(record: Record) -> list[str]:
    """Return column headings, one for each stage."""
    if len(record.stages) == 1:
        return ["value"]
    return [f"stage {number} ({stage.kind})" for number, stage in enumerate(record.stages, 1)]


def data_table(facts: Facts, *, detailed: bool = False) -> str:
    """List the data sets of all stages: licence, rows, and shares in pretraining and in finetuning.

    Where `detailed`, also what the texts are, who made them, and what cleaning left out.
    """
    stages = [stage for _, stage in _stages(facts)]
    kinds = list(dict.fromkeys(stage.kind for stage in stages))
    rows: list[tuple[str, ...]] = []
    for name, known in facts.data_sets.items():
        reports = [report for stage in stages for report in stage.cleaning if report.name == name]
        shares = [_share(name, [stage for stage in stages if stage.kind == kind]) for kind in kinds]
        count, removed = _counts(name, reports)
        if detailed:
            rows.append((_described(name, known), known.licence, known.attribution, count, removed, *shares))
        elif not name.startswith(GAP_SENTENCES):
            rows.append((known.title, known.licence, count, *shares))
    head = ("data", "licence", "by", "rows", "left out in cleaning") if detailed else ("data", "licence", "rows")
    return table((*head, *(f"share in {kind}" for kind in kinds)), rows)


def _described(name: str, known: DataSet) -> str:
    title = known.title if known.title == name else f"{known.title} (`{name}`)"
    return f"{title}: {known.note}" if known.note else title


def _counts(name: str, reports: Sequence[CleaningReport]) -> tuple[str, str]:
    """Return the number of rows to draw from, and the rows that cleaning removed."""
    if name.startswith(GAP_SENTENCES):
        return "made from those of that set", " "
    if not reports:
        return NOT_RECORDED, NOT_RECORDED
    removed = ", ".join(f"{count:,} {why}" for why, count in reports[-1].removed.items())
    return number(reports[-1].kept.get("train", 0)), removed or "none"


def _share(name: str, stages: Sequence[Stage]) -> str:
    """Return a data set's share of the tokens of all stages; unknown if a stage did not record its shares."""
    if not all(stage.weights for stage in stages):
        return NOT_RECORDED
    tokens = sum(stage.tokens for stage in stages)
    return f"{sum(stage.weights.get(name, 0) * stage.tokens for stage in stages) / tokens:.1%}"


def task_shares(record: Record) -> str:
    """Return the share of the examples by task; empty where there are no tasks."""
    return ", ".join(f"{task.replace('_', ' ')} {share:.0%}" for task, share in record.last.tasks.items())


def emphasis(record: Record) -> str:
    """Return the weights of tasks in the loss; empty where all weigh the same."""
    weights: dict[str, float] = record.last.settings.get("emphasis") or {}
    named = [
        f"{task.replace('_', ' ')} {number(weight)}" for task, weight in weights.items() if task in record.last.tasks
    ]
    return f"{', '.join(named)}, all others 1" if named else ""


def settings_table(record: Record) -> str:
    """Return a row for each setting that any stage has, and a column for each stage."""
    rows: list[tuple[object, ...]] = []
    for key, title in _SETTINGS.items():
        values = [stage.settings.get(key) for stage in record.stages]
        if any(value not in (None, "", {}) for value in values):
            rows.append((title, *("none" if key == "start" and not value else number(value) for value in values)))
    if any(stage.settings.get("phases") for stage in record.stages):
        rows.append(("rows x tokens of a step", *(_phases(stage) for stage in record.stages)))
    rows.append(
        ("autocast", *({"no": "fp32"}.get(s.precision or "", s.precision or NOT_RECORDED) for s in record.stages))
    )
    return table(("setting", *stage_names(record)), rows)


def speeds_table(record: Record) -> str:
    """Return steps, tokens, hours and speed of each stage."""
    stages = record.stages
    rows: list[tuple[object, ...]] = [
        ("steps", *(stage.steps for stage in stages)),
        ("tokens seen", *(stage.tokens for stage in stages)),
        ("hours", *(stage.hours for stage in stages)),
        ("tokens per second", *(stage.tokens_per_s and round(stage.tokens_per_s) for stage in stages)),
        ("processes", *(stage.processes for stage in stages)),
    ]
    shares = [utilization(stage) for stage in stages]
    if any(shares):
        cells = [f"{share:.1%}" if share else NOT_MEASURED for share in shares]
        rows.append(("share of the GPU's dense bfloat16 rate", *cells))
    return table((" ", *stage_names(record)), rows)


def losses_table(record: Record) -> str:
    """Return held-out losses of the last stage: a row for each data set or task, a column for some of the steps."""
    validations = record.last.validations
    if not validations:
        return ""
    last = len(validations) - 1
    chosen = sorted({round(number * last / max(1, _VALIDATIONS - 1)) for number in range(_VALIDATIONS)})
    shown = [validations[index] for index in chosen]
    names = list(dict.fromkeys(name for validation in shown for name in validation.losses))
    rows = [
        (
            "all, by weight" if name == "all" else name.replace("_", " "),
            *(f"{validation.losses[name]:.3f}" if name in validation.losses else "" for validation in shown),
        )
        for name in names
    ]
    lines = [" | ".join(map(in_cell, row)) for row in rows]
    head = " | ".join(["held out", *(f"step {validation.step:,}" for validation in shown)])
    return "\n".join(f"| {line} |" for line in (head, " | ".join(["---"] * (len(shown) + 1)), *lines))


def hardware_lines(facts: Facts) -> list[str]:
    """Return the hardware of each stage in words."""
    lines = []
    for title, stage in _stages(facts):
        where = stage.hardware or facts.hardware
        stated = "" if stage.hardware or not where else " (as the author states; the run did not record it)"
        lines.append(f"{title}: {where or NOT_RECORDED}{stated}")
    return lines or [NOT_RECORDED]


def software_line(facts: Facts) -> str:
    """Return the software versions of the last run that recorded them."""
    versions = next((stage.versions for _, stage in reversed(_stages(facts)) if stage.versions), {})
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or NOT_RECORDED


def emissions_table(facts: Facts) -> str:
    """Return a row for each stage, and the sum where all are known."""
    rows: list[tuple[object, ...]] = []
    known = []
    for title, stage in _stages(facts):
        emissions = facts.emissions(stage)
        if emissions is None:
            rows.append((title, f"{stage.hours:.2f}", *[NOT_MEASURED] * 4))
            continue
        known.append(emissions)
        intensity = f"{emissions.region}, {emissions.intensity_g_per_kwh:g} g/kWh"
        rows.append(
            (
                title,
                f"{emissions.hours:.2f}",
                f"{emissions.power_w:.0f}",
                f"{emissions.energy_kwh:.4g}",
                intensity,
                f"{emissions.co2e_kg:.4g}",
            )
        )
    if len(known) == len(rows) > 1:
        energy, co2e = total_emissions(known)
        rows.append(
            ("all", f"{sum(emissions.hours for emissions in known):.2f}", "", f"{energy:.4g}", "", f"{co2e:.4g}")
        )
    return table(("run", "hours", "W", "kWh with PUE", "region", "kg CO2e"), [[c or " " for c in row] for row in rows])


def total_grams(facts: Facts) -> float | None:
    """Return g CO2e of the runs that made this card's weights, without those of an adapter's base; None if unknown."""
    stages = facts.record.stages if facts.record else ()
    known = _known_emissions(facts, stages)
    return total_emissions(known)[1] * 1000 if known and len(known) == len(stages) else None


def totals(facts: Facts) -> dict[str, str]:
    """Return hours, regions and kg CO2e of all runs, in words."""
    stages = [stage for _, stage in _stages(facts)]
    known = _known_emissions(facts, stages)
    complete = known and len(known) == len(stages)
    return {
        "hours": f"{sum(stage.hours for stage in stages):.2f}" if stages else NOT_RECORDED,
        "region": ", ".join(dict.fromkeys(emissions.region for emissions in known)) or NOT_RECORDED,
        "co2e": f"{total_emissions(known)[1]:.4g} kg CO2e" if complete else NOT_MEASURED,
    }


def emissions_method(facts: Facts) -> str:
    """Describe how emissions were estimated, in a sentence; empty where they were not."""
    known = _known_emissions(facts, [stage for _, stage in _stages(facts)])
    if not known:
        return ""
    sources = "; ".join(dict.fromkeys(f"{emissions.region}: {emissions.intensity_source}" for emissions in known))
    return f"{known[0].method}. PUE {known[0].pue:g}; intensity of {sources}."


def _known_emissions(facts: Facts, stages: Sequence[Stage]) -> list[Emissions]:
    return [emissions for stage in stages if (emissions := facts.emissions(stage)) is not None]


def stage_list(record: Record) -> str:
    """List the stages where there are several, and what the first one started from."""
    first = record.stages[0]
    lines = []
    if first.settings.get("start"):
        lines.append(f"The first stage went on from `{first.settings['start']}`, whose record is not here.")
    if len(record.stages) > 1:
        lines += [
            f"Stage {number}: {stage.kind}, {stage.tokens:,} tokens in {stage.hours:.2f} hours."
            for number, stage in enumerate(record.stages, 1)
        ]
    return bullets(lines)


def _stages(facts: Facts) -> list[tuple[str, Stage]]:
    """Return all stages with a title each, those of the base first."""
    stages: list[tuple[str, Stage]] = []
    for record, what in ((facts.base_record, "base"), (facts.record, "adapter" if facts.model.is_adapter else "base")):
        if record is not None:
            several = len(record.stages) > 1
            stages += [(f"{what}, stage {n}" if several else what, stage) for n, stage in enumerate(record.stages, 1)]
    return stages


def _phases(stage: Stage) -> str:
    phases = stage.settings.get("phases") or []
    return "; ".join(f"{p['rows']} x {p['length']} ({p['share']:.0%} of tokens)" for p in phases) or NOT_RECORDED
