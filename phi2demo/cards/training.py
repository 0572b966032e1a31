"""The parts of a card that tell of the training: data, settings, losses, speed, emissions."""

from collections.abc import Sequence

from phi2demo.cards.facts import GAP_SENTENCES, DataSet, Facts
from phi2demo.cards.markdown import NOT_MEASURED, NOT_RECORDED, bullets, number, table
from phi2demo.data.corpus import CleaningReport
from phi2demo.emissions.footprint import total_emissions
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
"""FLOP/s without sparsity, from NVIDIA's data sheets; the first that the GPU's name contains is the one."""


def utilization(stage: Stage) -> float | None:
    """Of the rate of all its GPUs, over the whole run, compiling and validating included; None where it is not known."""
    name = stage.hardware.name if stage.hardware else ""
    rate = next((rate for words, rate in DENSE_BF16.items() if words in name), None)
    preset = PRESETS.get(str(stage.settings.get("preset")))
    phases = stage.settings.get("phases")
    if stage.hardware is None or rate is None or preset is None or not phases or not stage.tokens_per_s:
        return None
    flop = sum(float(phase["share"]) * token_flop(preset, phase["length"]) for phase in phases)
    return stage.tokens_per_s * flop / (rate * stage.hardware.gpus)


def token_flop(preset: Preset, length: int) -> float:
    """Operations of one token in rows of `length`; of the parameters only the matrices count."""
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
"""What a reader wants to know of a run, in words; the record holds the rest."""

_VALIDATIONS = 8
"""Columns of the table of held-out losses, at most."""


def stage_names(record: Record) -> list[str]:
    """Heads of columns, one for each stage."""
    if len(record.stages) == 1:
        return ["value"]
    return [f"stage {number} ({stage.kind})" for number, stage in enumerate(record.stages, 1)]


def data_table(facts: Facts) -> str:
    """The data sets of all stages with licence, rows, cleaning, and share in pretraining and in finetuning."""
    stages = [stage for _, stage in _stages(facts)]
    kinds = list(dict.fromkeys(stage.kind for stage in stages))
    rows = []
    for name, known in facts.data_sets.items():
        reports = [report for stage in stages for report in stage.cleaning if report.name == name]
        shares = [_share(name, [stage for stage in stages if stage.kind == kind]) for kind in kinds]
        rows.append((_described(name, known), known.licence, known.attribution, *_counts(name, reports), *shares))
    head = ("data", "licence", "by", "rows", "left out in cleaning", *(f"share in {kind}" for kind in kinds))
    return table(head, rows)


def _described(name: str, known: DataSet) -> str:
    title = known.title if known.title == name else f"{known.title} (`{name}`)"
    return f"{title}: {known.note}" if known.note else title


def _counts(name: str, reports: Sequence[CleaningReport]) -> tuple[str, str]:
    """Rows to draw from, and those that were left out."""
    if name.startswith(GAP_SENTENCES):
        return "made from those of that set", " "
    if not reports:
        return NOT_RECORDED, NOT_RECORDED
    removed = ", ".join(f"{count:,} {why}" for why, count in reports[-1].removed.items())
    return number(reports[-1].kept.get("train", 0)), removed or "none"


def _share(name: str, stages: Sequence[Stage]) -> str:
    """Over the tokens of all stages; those that did not record their shares leave it open."""
    if not all(stage.weights for stage in stages):
        return NOT_RECORDED
    tokens = sum(stage.tokens for stage in stages)
    return f"{sum(stage.weights.get(name, 0) * stage.tokens for stage in stages) / tokens:.1%}"


def task_shares(record: Record) -> str:
    """Share of the examples by task; empty where there are no tasks."""
    return ", ".join(f"{task.replace('_', ' ')} {share:.0%}" for task, share in record.last.tasks.items())


def emphasis(record: Record) -> str:
    """How much more an example of some tasks weighs in the loss than one of others; empty where all weigh the same."""
    weights: dict[str, float] = record.last.settings.get("emphasis") or {}
    named = [
        f"{task.replace('_', ' ')} {number(weight)}" for task, weight in weights.items() if task in record.last.tasks
    ]
    return f"{', '.join(named)}, all others 1" if named else ""


def settings_table(record: Record) -> str:
    """One row for each setting that any stage has, one column for each stage."""
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
    """Steps, tokens, hours and speed of each stage."""
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
    """Held-out losses of the last stage: a row for each data set or task, a column for each of some steps."""
    validations = record.last.validations
    if not validations:
        return ""
    last = len(validations) - 1
    chosen = sorted({round(at * last / max(1, _VALIDATIONS - 1)) for at in range(_VALIDATIONS)})
    shown = [validations[at] for at in chosen]
    names = list(dict.fromkeys(name for each in shown for name in each.losses))
    rows = [
        (
            "all, by weight" if name == "all" else name.replace("_", " "),
            *(f"{each.losses[name]:.3f}" if name in each.losses else "" for each in shown),
        )
        for name in names
    ]
    lines = [" | ".join(map(in_cell, row)) for row in rows]
    head = " | ".join(["held out", *(f"step {each.step:,}" for each in shown)])
    return "\n".join(f"| {line} |" for line in (head, " | ".join(["---"] * (len(shown) + 1)), *lines))


def hardware_lines(facts: Facts) -> list[str]:
    """What each stage ran on, in words."""
    lines = []
    for title, stage in _stages(facts):
        where = stage.hardware or facts.hardware
        stated = "" if stage.hardware or not where else " (as the author states; the run did not record it)"
        lines.append(f"{title}: {where or NOT_RECORDED}{stated}")
    return lines or [NOT_RECORDED]


def software_line(facts: Facts) -> str:
    """Versions, of the last run that recorded them."""
    versions = next((stage.versions for _, stage in reversed(_stages(facts)) if stage.versions), {})
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or NOT_RECORDED


def emissions_table(facts: Facts) -> str:
    """A row for each stage, and their sum where all are known."""
    rows: list[tuple[object, ...]] = []
    known = []
    for title, stage in _stages(facts):
        found = facts.emissions(stage)
        if found is None:
            rows.append((title, f"{stage.hours:.2f}", *[NOT_MEASURED] * 4))
            continue
        known.append(found)
        intensity = f"{found.region}, {found.intensity_g_per_kwh:g} g/kWh"
        rows.append(
            (
                title,
                f"{found.hours:.2f}",
                f"{found.power_w:.0f}",
                f"{found.energy_kwh:.4g}",
                intensity,
                f"{found.co2e_kg:.4g}",
            )
        )
    if len(known) == len(rows) > 1:
        energy, co2e = total_emissions(known)
        rows.append(("all", f"{sum(each.hours for each in known):.2f}", "", f"{energy:.4g}", "", f"{co2e:.4g}"))
    return table(("run", "hours", "W", "kWh with PUE", "region", "kg CO2e"), [[c or " " for c in row] for row in rows])


def total_grams(facts: Facts) -> float | None:
    """g CO2e of the runs that made this card's weights, without those of an adapter's base; None where unknown."""
    found = [facts.emissions(stage) for stage in facts.record.stages] if facts.record else []
    known = [each for each in found if each is not None]
    return total_emissions(known)[1] * 1000 if known and len(known) == len(found) else None


def totals(facts: Facts) -> dict[str, str]:
    """Hours, regions and kg CO2e of all runs, in words."""
    stages = _stages(facts)
    found = [each for _, stage in stages if (each := facts.emissions(stage))]
    whole = found and len(found) == len(stages)
    return {
        "hours": f"{sum(stage.hours for _, stage in stages):.2f}" if stages else NOT_RECORDED,
        "region": ", ".join(dict.fromkeys(each.region for each in found)) or NOT_RECORDED,
        "co2e": f"{total_emissions(found)[1]:.4g} kg CO2e" if whole else NOT_MEASURED,
    }


def emissions_method(facts: Facts) -> str:
    """How the estimate is made, in a sentence; empty where there is none."""
    found = [each for _, stage in _stages(facts) if (each := facts.emissions(stage))]
    if not found:
        return ""
    sources = "; ".join(dict.fromkeys(f"{each.region}: {each.intensity_source}" for each in found))
    return f"{found[0].method}. PUE {found[0].pue:g}; intensity of {sources}."


def stage_list(record: Record) -> str:
    """How the stages follow each other, where there are several."""
    first = record.stages[0]
    lines = []
    if first.settings.get("start"):
        lines.append(f"The first stage went on from `{first.settings['start']}`, whose record is not here.")
    if len(record.stages) > 1:
        lines += [
            f"Stage {at}: {stage.kind}, {stage.tokens:,} tokens in {stage.hours:.2f} hours."
            for at, stage in enumerate(record.stages, 1)
        ]
    return bullets(lines)


def _stages(facts: Facts) -> list[tuple[str, Stage]]:
    """Those of the base first, with a title each."""
    found = []
    for record, what in ((facts.base_record, "base"), (facts.record, "adapter" if facts.model.is_adapter else "base")):
        if record is not None:
            several = len(record.stages) > 1
            found += [(f"{what}, stage {at}" if several else what, s) for at, s in enumerate(record.stages, 1)]
    return found


def _phases(stage: Stage) -> str:
    phases = stage.settings.get("phases") or []
    return "; ".join(f"{p['rows']} x {p['length']} ({p['share']:.0%} of tokens)" for p in phases) or NOT_RECORDED
