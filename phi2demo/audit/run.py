"""Ask the probes one after the other, keep what each found, and write the report.

A probe that is done is kept in `probes/` of the output folder: a run that was killed goes on with the next one.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from phi2demo.audit import counterfactual, gender, memorization, robustness, toxicity
from phi2demo.audit.report import Outcome, compare, in_words, read_audit, summarize
from phi2demo.audit.setup import AuditSettings, Setup
from phi2demo.data.files import sha256_of, write_atomically
from phi2demo.engine.engine import Engine
from phi2demo.errors import SettingsError
from phi2demo.evaluation.environment import describe_environment, describe_model, package_versions
from phi2demo.evaluation.outputs import digest
from phi2demo.evaluation.processes import run_lock

FORMAT = 1
REPORT = "audit.json"
PROBES: dict[str, Callable[[Setup], Outcome]] = {
    counterfactual.NAME: counterfactual.probe,
    gender.NAME: gender.probe,
    toxicity.NAME: toxicity.probe,
    memorization.NAME: memorization.probe,
    robustness.NAME: robustness.probe,
}
"""In the order in which they are asked and told."""

T = TypeVar("T")


def check_probes(names: Sequence[str]) -> tuple[str, ...]:
    """The names in their order, all where none is given; SettingsError for one that is no probe."""
    if unknown := [name for name in names if name not in PROBES]:
        raise SettingsError(f"There is no probe {unknown[0]!r}; choose from {', '.join(PROBES)}.")
    return tuple(name for name in PROBES if not names or name in names)


def audit(engine: Engine, settings: AuditSettings, *, weights: Mapping[str, str]) -> dict[str, Any]:
    """Ask, compare with the last audit, and write `audit.json`; gives the report as JSON values.

    `weights` are the SHA-256 of the weight files, by name. The report that was there is kept beside the new one, with
    its date in its name. Raises DataError for files that cannot be used, SettingsError where another run writes into
    the output folder.
    """
    with run_lock(settings.output):
        return _audit(engine, settings, weights)


def _audit(engine: Engine, settings: AuditSettings, weights: Mapping[str, str]) -> dict[str, Any]:
    names = check_probes(settings.probes)
    path = settings.output / REPORT
    before = settings.compare or (path if path.is_file() else None)
    old = read_audit(before) if before else None
    setup = Setup(engine, settings, _show)
    probes = [_kept(setup, name) for name in names]
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    model = describe_model(engine) | {"weights_sha256": dict(weights)}
    report = {
        "format": FORMAT,
        "made_at": made_at,
        "model": model,
        "environment": describe_environment(),
        "settings": _described(settings) | {"probes": list(names)},
        "files": {name: _files(getattr(settings, name)) for name in ("data", "items")},
        "probes": probes,
    }
    compared = compare(report, old) if old else None
    report["compared_with"] = compared
    report["summary"] = summarize(report, in_words(compared) if compared else None)
    if path.is_file():
        _keep(path)
    write_atomically(path, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    return report


def _kept(setup: Setup, name: str) -> dict[str, Any]:
    """What the probe found, of this run or of the one that was killed."""
    info = setup.engine.info
    asked = digest(
        {
            "probe": name,
            "settings": _described(setup.settings),
            "model": [info.base_revision, info.adapter_revision, info.device, info.dtype],
            "versions": package_versions(),
            "files": [_files(setup.settings.data), _files(setup.settings.items), _files(Path(__file__).parent)],
        }
    )
    path = setup.settings.output / "probes" / f"{name}.json"
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["asked"] == asked:
            found: dict[str, Any] = kept["found"]
            return found
    outcome = PROBES[name](setup)
    found = asdict(outcome) | {"figures": [figure.as_dict() for figure in outcome.figures]}
    write_atomically(path, json.dumps({"asked": asked, "found": found}, ensure_ascii=False, indent=1) + "\n")
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _described(settings: AuditSettings) -> dict[str, Any]:
    """What figures depend on, without the folders of a machine."""
    return {
        "quick": settings.quick,
        "seed": settings.seed,
        "resamples": settings.resamples,
        "data": settings.data is not None,
    }


def _files(folder: Path | None) -> dict[str, str]:
    """SHA-256 of the files below a folder, by their path in it."""
    if folder is None or not folder.is_dir():
        return {}
    found = sorted(path for path in folder.rglob("*.*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in found}


def _keep(path: Path) -> None:
    """Beside the new one, with its date in its name, and a number where there are several of one second."""
    made_at = read_audit(path)["made_at"].replace(":", "").replace("+0000", "Z")
    kept = path.with_name(f"{path.stem}.{made_at}{path.suffix}")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.stem}.{made_at}-{number}{path.suffix}")
    path.replace(kept)


def _show(batches: Sequence[T], title: str) -> Iterable[T]:
    from tqdm import tqdm

    interval_s = 0.2 if sys.stderr.isatty() else 20.0
    return tqdm(batches, desc=title, file=sys.stderr, mininterval=interval_s)  # type: ignore[no-any-return]
