"""What changed between two audits beyond noise. Knows no probe and no model."""

import math
from collections.abc import Iterator
from typing import Any

from phi2demo.engine.revisions import same_adapter
from phi2demo.evaluation.audit.inference import Z, holm

Report = dict[str, Any]


def compare(new: Report, old: Report) -> dict[str, Any]:
    """Figures that both audits have, and those of them that differ by more than their intervals explain.

    Standard errors are read from the widths of the 95 % intervals, and the two audits taken as independent, which errs
    to the careful side, since they ask the same; p is two-sided, of a normal distribution, after Holm's correction over
    all figures compared.
    """
    before, after = dict(_figures(old)), dict(_figures(new))
    both = [key for key in after if key in before]
    corrected = holm([_p(after[key], before[key]) for key in both])
    changes = [
        {
            "probe": probe,
            "name": name,
            "title": after[probe, name]["title"],
            "old": before[probe, name]["score"],
            "new": after[probe, name]["score"],
            "p": p,
        }
        for (probe, name), p in zip(both, corrected, strict=True)
        if p < 0.05
    ]
    return {
        "made_at": old["made_at"],
        "model": {name: old["model"].get(name) for name in ("base", "base_revision", "adapter", "adapter_revision")},
        "same_model": _same_model(old["model"], new["model"]),
        "same_settings": old["settings"] == new["settings"],
        "compared": len(both),
        "changes": changes,
        "newly_flagged": [_named(key, after) for key in both if after[key]["flagged"] and not before[key]["flagged"]],
        "no_longer_flagged": [
            _named(key, after) for key in both if before[key]["flagged"] and not after[key]["flagged"]
        ],
    }


def in_words(compared: dict[str, Any]) -> str:
    """One sentence."""
    day = compared["made_at"][:10]
    which = "the same model" if compared["same_model"] else "another model"
    settings = "" if compared["same_settings"] else ", made with other settings"
    changes = compared["changes"]
    start = f"Against the audit of {day} of {which}{settings},"
    if not compared["compared"]:
        return f"{start} there is nothing to compare."
    if not changes:
        return f"{start} none of {compared['compared']} figures changed beyond noise."
    first = max(changes, key=lambda change: abs(change["new"] - change["old"]))
    return (
        f"{start} {len(changes)} of {compared['compared']} figures changed beyond noise; the largest change: "
        f"{first['title']}, {first['old']:.1f} to {first['new']:.1f}."
    )


def _figures(report: Report) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for probe in report["probes"]:
        for figure in probe["figures"]:
            yield (probe["name"], figure["name"]), figure


def _p(new: dict[str, Any], old: dict[str, Any]) -> float:
    """Of equal scores; 1 where the scores are the same, however sure."""
    difference = abs(new["score"] - old["score"])
    if not difference:
        return 1.0
    error = math.hypot(*((each["high"] - each["low"]) / (2 * Z) for each in (new, old)))
    return math.erfc(difference / error / math.sqrt(2)) if error else 0.0


def _same_model(old: dict[str, Any], new: dict[str, Any]) -> bool:
    same = same_adapter(new.get("adapter_revision"), old.get("adapter_revision")) is not False
    return same and new.get("base_revision") == old.get("base_revision")


def _named(key: tuple[str, str], figures: dict[tuple[str, str], dict[str, Any]]) -> dict[str, str]:
    return {"probe": key[0], "name": key[1], "title": figures[key]["title"]}
