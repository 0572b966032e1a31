"""An audit on disk, and in words and tables. Knows no model: what it says stands in `audit.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
