"""An audit on disk, and in words and tables. Knows no model: what it says stands in `audit.json`."""

import json
import math
from collections.abc import Iterator, Sequence
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
class AuditSummary:
    """What the page says of an audit."""

    made_at: str
    """ISO 8601."""
    sentences: tuple[str, ...]


def read_audit(path: Path) -> dict[str, Any]:
    """What `audit` wrote; DataError where it cannot be read."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in (("probes", list), ("summary", list), ("made_at", str), ("model", dict), ("settings", dict)):
            if not isinstance(report[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
        for probe in report["probes"]:
            _check(probe)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is no report of an audit ({error!r}). Run {COMMAND}.") from error
    return report


def _check(probe: dict[str, Any]) -> None:
    """KeyError, TypeError or ValueError where it lacks what is read of it."""
    if not isinstance(probe["verdict"], str) or not isinstance(probe["name"], str):
        raise TypeError("name or verdict of a probe is no text")
    for figure in probe["figures"]:
        _ = figure["name"], figure["title"], figure["flagged"]
        _ = [float(figure[name]) for name in ("score", "low", "high")]


def summary_of(base_revision: str | None, adapter_revision: str | None, path: Path) -> AuditSummary | None:
    """Of the audit at `path`, if it is there and of these weights; DataError where it cannot be read."""
    if not path.is_file():
        return None
    report = read_audit(path)
    model = report["model"]
    if model.get("base_revision") != base_revision:
        return None
    if same_adapter(adapter_revision, model.get("adapter_revision")) is False:
        return None
    return AuditSummary(report["made_at"], tuple(map(str, report["summary"])))


def summarize(report: dict[str, Any], compared: str | None) -> list[str]:
    """What was audited, how many figures are flagged, each probe's verdict, what changed since the last audit."""
    model, probes = report["model"], report["probes"]
    figures = [figure for probe in probes for figure in probe["figures"]]
    flagged = sum(figure["flagged"] for figure in figures)
    measured = [probe["title"] for probe in probes if probe["figures"]]
    name = " with adapter ".join(filter(None, (model["base"], model["adapter"])))
    opening = (
        f"Audited on {report['made_at'][:10]}{', in a quick run' if report['settings']['quick'] else ''}: {name}; "
        f"{len(measured)} of {len(probes)} probes measured, {flagged} of {len(figures)} figures flagged."
    )
    return [opening, *(probe["verdict"] for probe in probes), *([compared] if compared else [])]


def to_markdown(report: dict[str, Any]) -> str:
    """The summary, then a table for each probe: score and 95 % interval of the audited model and of its base."""
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
        _estimate(figure, digits),
        "" if p is None else f"{p:.3f}",
        "" if control is None else f"{control:.{digits}f}",
        _estimate(base, digits) if base else "",
        figure["unit"],
        "yes" if figure["flagged"] else "",
    )


def _estimate(finding: dict[str, Any], digits: int) -> str:
    return f"{finding['score']:.{digits}f} ({finding['low']:.{digits}f} to {finding['high']:.{digits}f})"


@dataclass(frozen=True)
class Finding:
    """One number about one model."""

    score: float
    low: float
    """Of the 95 % interval."""
    high: float
    p: float | None = None
    """Of a score at least as far from `Figure.expected`, either way; after Holm's correction where there are several."""
    flagged: bool = False


@dataclass(frozen=True)
class Figure:
    """One row of the report: the audited model and, where it is finetuned, its base."""

    name: str
    """Unique in its probe."""
    title: str
    """For tables."""
    unit: str
    """What the score counts."""
    threshold: str
    """In words, what is flagged."""
    finding: Finding
    base: Finding | None = None
    control: float | None = None
    """The same of texts that the model cannot know, where that is what counts."""
    expected: float = 0.0
    """The score of a model with nothing to report."""
    digits: int = 1

    @property
    def flagged(self) -> bool:
        """Of the audited model; its base is shown beside it."""
        return self.finding.flagged

    def as_dict(self) -> dict[str, Any]:
        """JSON values: the audited model's finding among the rest, its base's below `base`."""
        values: dict[str, Any] = asdict(self)
        finding, base = values.pop("finding"), values.pop("base")
        return {**values, **finding, "base": base}


@dataclass(frozen=True)
class Outcome:
    """What one probe found."""

    name: str
    title: str
    what: str
    """How it was measured and what that misses, in words."""
    n: int
    """Texts, outputs or documents; 0 where nothing was measured."""
    figures: tuple[Figure, ...]
    verdict: str
    """In plain words, with numbers."""
    examples: tuple[dict[str, Any], ...] = ()


def corrected(findings: Sequence[Finding], *, least: float, expected: float = 0.0) -> list[Finding]:
    """p-values after Holm's correction over all of them; flagged where p < 0.05 and the score is `least` off or more."""
    values = holm([1.0 if finding.p is None else finding.p for finding in findings])
    return [
        replace(finding, p=p, flagged=p < 0.05 and abs(finding.score - expected) >= least)
        for finding, p in zip(findings, values, strict=True)
    ]


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
