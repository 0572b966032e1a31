"""Run the probes one after the other, keep the result of each, and write the report.

The result of a finished probe is kept in `probes/` of the output folder: an interrupted run resumes with the next one.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from phi2demo.audit import counterfactual, gender, memorization, robustness, toxicity
from phi2demo.audit.context import AuditContext, AuditSettings
from phi2demo.audit.report import ProbeResult, Report, compare, read_audit, summarize
from phi2demo.data.files import sha256_of, write_atomically
from phi2demo.engine.engine import Engine
from phi2demo.errors import SettingsError, quoted
from phi2demo.evaluation.environment import describe_environment, describe_model, package_versions
from phi2demo.evaluation.outputs import digest
from phi2demo.evaluation.processes import run_lock

FORMAT = 1
REPORT = "audit.json"
PROBES: dict[str, Callable[[AuditContext], ProbeResult]] = {
    counterfactual.NAME: counterfactual.probe,
    gender.NAME: gender.probe,
    toxicity.NAME: toxicity.probe,
    memorization.NAME: memorization.probe,
    robustness.NAME: robustness.probe,
}
"""In the order in which they run and are reported."""

TASKS_OF_PROBES = {counterfactual.NAME: "sentiment", gender.NAME: "translation"}
"""What these probes ask; unless a probe is named, a model that was not finetuned for its task is spared it."""

T = TypeVar("T")


def check_probes(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names in the order of PROBES, all for none given; SettingsError for a name that is no probe."""
    if unknown := [name for name in names if name not in PROBES]:
        raise SettingsError(f"There is no probe {quoted(unknown[0])}; choose from {', '.join(PROBES)}.")
    return tuple(name for name in PROBES if not names or name in names)


def audit(engine: Engine, settings: AuditSettings, *, weights: Mapping[str, str]) -> Report:
    """Run the probes, compare with the last audit, and write `audit.json`; returns the report as JSON values.

    `weights` are the SHA-256 of the weight files, by name. The last report is kept beside the new one, with its date in
    its name. Raises DataError for files that cannot be used, SettingsError where another run writes into the output
    folder.
    """
    with run_lock(settings.output):
        context = AuditContext(engine, settings, _show_progress)
        names = _probes_of(context)
        path = settings.output / REPORT
        older = settings.compare or (path if path.is_file() else None)
        old = read_audit(older) if older else None
        probes = [_run_or_resume(context, name) for name in names]
        report = {
            "format": FORMAT,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": describe_model(engine) | {"weights_sha256": dict(weights)},
            "environment": describe_environment(),
            "settings": _described(settings) | {"probes": list(names)},
            "files": {name: _file_hashes(getattr(settings, name)) for name in ("data", "items")},
            "probes": probes,
        }
        report["compared_with"] = compare(report, old) if old else None
        report["summary"] = summarize(report)
        if path.is_file():
            _archive(path)
        write_atomically(path, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
        return report


def _probes_of(context: AuditContext) -> tuple[str, ...]:
    """Return the probes that were named, else those of what the model was finetuned for."""
    names = check_probes(context.settings.probes)
    for name, task in TASKS_OF_PROBES.items() if not context.settings.probes else ():
        if task not in context.adapter_tasks.tasks:
            print(f"The model was not finetuned for {task}: the probe {name} is left out.", file=sys.stderr)
            names = tuple(other for other in names if other != name)
    return names


def _run_or_resume(context: AuditContext, name: str) -> dict[str, Any]:
    """Run a probe, or read its result if an interrupted run already finished it with the same inputs."""
    info, settings = context.engine.info, context.settings
    inputs = digest(
        {
            "probe": name,
            "settings": _described(settings),
            "model": [info.base_revision, info.adapter_revision, info.device, info.dtype, info.engine],
            "versions": package_versions(),
            "files": [_file_hashes(folder) for folder in (settings.data, settings.items, Path(__file__).parent)],
        }
    )
    path = settings.output / "probes" / f"{name}.json"
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.get("inputs") == inputs:
            result: dict[str, Any] = kept["result"]
            return result
    result = json.loads(json.dumps(PROBES[name](context).as_dict()))
    write_atomically(path, json.dumps({"inputs": inputs, "result": result}, ensure_ascii=False, indent=1) + "\n")
    return result


def _described(settings: AuditSettings) -> dict[str, Any]:
    """Return the settings that figures depend on, without the folders of this machine."""
    return {
        "quick": settings.quick,
        "seed": settings.seed,
        "resamples": settings.resamples,
        "data": settings.data is not None,
    }


def _file_hashes(folder: Path | None) -> dict[str, str]:
    """Return the SHA-256 of the files below a folder, by their path in it."""
    if folder is None or not folder.is_dir():
        return {}
    paths = sorted(path for path in folder.rglob("*.*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}


def _archive(path: Path) -> None:
    """Rename the last report by its date, with a number where there are several of one second."""
    made_at = read_audit(path)["made_at"].replace(":", "").replace("+0000", "Z")
    archived = path.with_name(f"{path.stem}.{made_at}{path.suffix}")
    number = 1
    while archived.exists():
        number += 1
        archived = path.with_name(f"{path.stem}.{made_at}-{number}{path.suffix}")
    path.replace(archived)


def _show_progress(batches: Sequence[T], title: str) -> Iterable[T]:
    from tqdm import tqdm

    interval_s = 0.2 if sys.stderr.isatty() else 20.0
    return tqdm(batches, desc=title, file=sys.stderr, mininterval=interval_s)  # type: ignore[no-any-return]
