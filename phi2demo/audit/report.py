"""The report of an audit: its parts, as `audit.json`, in words and tables, compared with an older one. Knows no model."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from phi2demo.audit.inference import Z, holm
from phi2demo.engine.revisions import same_adapter
from phi2demo.errors import DataError
from phi2demo.settings import ASSETS

SHIPPED_AUDIT = ASSETS / "evaluation" / "audit.json"
COMMAND = "python -m phi2demo audit --output runs/audit"
_HEAD = ("figure", "audited", "p", "control", "base", "unit", "flagged")


@dataclass(frozen=True)
class Estimate:
    """A score of one model with its 95 % interval."""

    score: float
    low: float
    high: float
    p: float | None = None
    """Probability of a score at least as far from `Figure.expected` on either side, after Holm's correction."""
    flagged: bool = False


@dataclass(frozen=True)
class Figure:
    """One row of the report: an estimate for the audited model and, where it is finetuned, for its base."""

    name: str
    """Unique in its probe."""
    title: str
    unit: str
    """What the score counts."""
    threshold: str
    """What is flagged, in words."""
    estimate: Estimate
    """For the audited model."""
    base: Estimate | None = None
    control: float | None = None
    """The same score for texts that the model cannot know, where the probe compares with such texts."""
    expected: float = 0.0
    """The score of a model with nothing to report."""
    digits: int = 1

    @property
    def flagged(self) -> bool:
        """Whether the audited model is flagged."""
        return self.estimate.flagged

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values: the audited model's estimate beside the other fields, its base's under `base`."""
        values: dict[str, Any] = asdict(self)
        estimate, base = values.pop("estimate"), values.pop("base")
        return {**values, **estimate, "base": base}


@dataclass(frozen=True)
class ProbeResult:
    """What one probe measured."""

    name: str
    title: str
    what: str
    """How it was measured and what that misses, in words."""
    n: int
    """Number of texts, outputs or documents; 0 where nothing was measured."""
    figures: tuple[Figure, ...]
    verdict: str
    """The result in plain words, with numbers."""
    examples: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"figures": [figure.as_dict() for figure in self.figures]}


def correct_and_flag(estimates: Sequence[Estimate], *, threshold: float, expected: float = 0.0) -> list[Estimate]:
    """Apply Holm's correction to all p; flag estimates with p < 0.05 that are `threshold` or more off `expected`."""
    corrected = holm([1.0 if estimate.p is None else estimate.p for estimate in estimates])
    return [
        replace(estimate, p=p, flagged=p < 0.05 and abs(estimate.score - expected) >= threshold)
        for estimate, p in zip(estimates, corrected, strict=True)
    ]


Report = dict[str, Any]
"""The JSON values of `audit.json`."""


@dataclass(frozen=True)
class AuditSummary:
    """What the page shows of an audit."""

    made_at: str
    """ISO 8601."""
    sentences: tuple[str, ...]


def read_audit(path: Path) -> Report:
    """Read what `audit` wrote; DataError where it cannot be read."""
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in (("probes", list), ("summary", list), ("made_at", str), ("model", dict), ("settings", dict)):
            if not isinstance(report[name], kind):
                raise TypeError(f"{name} is not a {kind.__name__}")
        for probe in report["probes"]:
            _check(probe)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is not the report of an audit ({error!r}). Run {COMMAND}.") from error
    return report


def _check(probe: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError where a probe lacks a value that is read."""
    if not isinstance(probe["verdict"], str) or not isinstance(probe["name"], str):
        raise TypeError("the name or the verdict of a probe is not a text")
    for figure in probe["figures"]:
        _ = figure["name"], figure["title"], figure["flagged"]
        _ = [float(figure[name]) for name in ("score", "low", "high")]


def read_summary(base_revision: str | None, adapter_revision: str | None, path: Path) -> AuditSummary | None:
    """Read the summary of the audit of these weights; None where there is none, DataError where it cannot be read."""
    if not path.is_file():
        return None
    report = read_audit(path)
    if not _is_of(report, base_revision, adapter_revision):
        return None
    return AuditSummary(report["made_at"], tuple(map(str, report["summary"])))


def _is_of(report: Report, base_revision: str | None, adapter_revision: str | None) -> bool:
    model = report["model"]
    same = same_adapter(adapter_revision, model.get("adapter_revision")) is not False
    return same and model.get("base_revision") == base_revision


def summarize(report: Report) -> list[str]:
    """Say what was audited, how many figures are flagged, each probe's verdict, and what changed since the last audit."""
    model, probes, comparison = report["model"], report["probes"], report["compared_with"]
    figures = [figure for probe in probes for figure in probe["figures"]]
    flagged = sum(figure["flagged"] for figure in figures)
    measured = [probe["title"] for probe in probes if probe["figures"]]
    name = " with adapter ".join(filter(None, (model["base"], model["adapter"])))
    opening = (
        f"Audited on {report['made_at'][:10]}{', in a quick run' if report['settings']['quick'] else ''}: {name}; "
        f"{len(measured)} of {len(probes)} probes measured, {flagged} of {len(figures)} figures flagged."
    )
    return [
        opening,
        *(probe["verdict"] for probe in probes),
        *([describe_comparison(comparison)] if comparison else []),
    ]


def to_markdown(report: Report) -> str:
    """Render the summary, then a table for each probe: scores and 95 % intervals of the audited model and its base."""
    parts = ["\n".join(f"- {sentence}" for sentence in report["summary"])]
    for probe in report["probes"]:
        parts.append(f"## {probe['title']}\n\n{probe['what']}")
        if probe["figures"]:
            rows = [_HEAD, ("---",) * len(_HEAD), *map(_cells, probe["figures"])]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(parts)


def _cells(figure: dict[str, Any]) -> tuple[str, ...]:
    digits = figure["digits"]
    p, control, base = figure["p"], figure["control"], figure["base"]
    return (
        figure["title"],
        _score(figure, digits),
        "" if p is None else f"{p:.3f}",
        "" if control is None else f"{control:.{digits}f}",
        _score(base, digits) if base else "",
        figure["unit"],
        "yes" if figure["flagged"] else "",
    )


def _score(estimate: dict[str, Any], digits: int) -> str:
    return f"{estimate['score']:.{digits}f} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"


def compare(new: Report, old: Report) -> dict[str, Any]:
    """Compare the figures that both audits have, and list those that differ by more than their intervals explain.

    Standard errors are computed from the widths of the 95 % intervals. The two audits are taken as independent, which
    reports rather too few changes, since both use the same texts; p is two-sided, of a normal distribution, after
    Holm's correction over all figures compared.
    """
    before, after = _figures_by_key(old), _figures_by_key(new)
    common = [key for key in after if key in before]
    corrected = holm([_p_of_change(after[key], before[key]) for key in common])
    changes = [
        {
            **_label(key, after),
            "old": before[key]["score"],
            "new": after[key]["score"],
            "p": p,
        }
        for key, p in zip(common, corrected, strict=True)
        if p < 0.05
    ]
    model = new["model"]
    return {
        "made_at": old["made_at"],
        "model": {name: old["model"].get(name) for name in ("base", "base_revision", "adapter", "adapter_revision")},
        "same_model": _is_of(old, model.get("base_revision"), model.get("adapter_revision")),
        "same_settings": old["settings"] == new["settings"],
        "compared": len(common),
        "changes": changes,
        "newly_flagged": [_label(key, after) for key in common if after[key]["flagged"] and not before[key]["flagged"]],
        "no_longer_flagged": [
            _label(key, after) for key in common if before[key]["flagged"] and not after[key]["flagged"]
        ],
    }


def describe_comparison(comparison: dict[str, Any]) -> str:
    """Describe a comparison in one sentence."""
    day = comparison["made_at"][:10]
    model = "the same model" if comparison["same_model"] else "another model"
    settings = "" if comparison["same_settings"] else ", made with other settings"
    start = f"Against the audit of {day} of {model}{settings},"
    changes, compared = comparison["changes"], comparison["compared"]
    if not compared:
        return f"{start} there is nothing to compare."
    if not changes:
        return f"{start} none of {compared} figures changed beyond noise."
    largest = max(changes, key=lambda change: abs(change["new"] - change["old"]))
    return (
        f"{start} {len(changes)} of {compared} figures changed beyond noise; the largest change: "
        f"{largest['title']}, {largest['old']:.1f} to {largest['new']:.1f}."
    )


def _figures_by_key(report: Report) -> dict[tuple[str, str], dict[str, Any]]:
    """Collect the figures by the names of their probe and their own."""
    return {(probe["name"], figure["name"]): figure for probe in report["probes"] for figure in probe["figures"]}


def _p_of_change(new: dict[str, Any], old: dict[str, Any]) -> float:
    """Return p of a change if nothing changed; 1 where the scores are the same, whatever their intervals."""
    difference = abs(new["score"] - old["score"])
    if not difference:
        return 1.0
    error = math.hypot(*((estimate["high"] - estimate["low"]) / (2 * Z) for estimate in (new, old)))
    return math.erfc(difference / error / math.sqrt(2)) if error else 0.0


def _label(key: tuple[str, str], figures: dict[tuple[str, str], dict[str, Any]]) -> dict[str, str]:
    return {"probe": key[0], "name": key[1], "title": figures[key]["title"]}
