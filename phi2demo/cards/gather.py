"""The facts of a card, gathered from the files of a model and from reports. Loads no weights and writes nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phi2demo.audit.report import read_audit
from phi2demo.cards.examples import choose_failures, read_failures, read_samples
from phi2demo.cards.facts import Author, Facts, Failure, ModelFacts
from phi2demo.data.files import sha256_of
from phi2demo.emissions.footprint import Hardware
from phi2demo.engine.loading import read_chat_template
from phi2demo.engine.planning import ModelPlan, plan
from phi2demo.engine.revisions import (
    adapter_revision,
    base_revision,
    same_adapter,
    settings_fingerprint,
    settings_part,
)
from phi2demo.engine.sources import Source
from phi2demo.engine.weights import count, read_json, read_shapes
from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.report import Report
from phi2demo.evaluation.reports import read_report
from phi2demo.settings import ASSETS, ModelSettings
from phi2demo.tasks.declared import read_adapter_tasks, register_declared
from phi2demo.tasks.templates import find_template
from phi2demo.training.record import read_record

SHIPPED_SET = ASSETS / "evaluation" / "set"
"""The demo's own evaluation data."""


@dataclass(frozen=True)
class Inputs:
    """The files that a card is written from."""

    model: ModelSettings
    """A base alone, or with an adapter, which the card is then about."""
    name: str | None = None
    """Of the model, as the snippet loads it; where not given its hub id, its path in this repository, or its folder's name."""
    reports: tuple[Path, ...] = ()
    """Of evaluations."""
    audit: Path | None = None
    """Of an audit."""
    ablations: tuple[Path, ...] = ()
    samples: Path | None = None
    failures: Path | None = None
    """A JSON-lines file; or a folder of items that are free to show, of which the worst in the reports are taken."""
    region: str | None = None
    license: str | None = None
    hardware: Hardware | None = None
    author: Author = field(default_factory=Author)


def gather(inputs: Inputs) -> Facts:
    """Gather all facts of a card.

    Raises ModelError for a model that cannot be used, DataError for a file that cannot be used or a report on other weights.
    """
    model_plan = plan(inputs.model)
    register_declared(model_plan.adapter_folder, base=model_plan.base_folder)
    return replace(
        facts_of(model_plan, name=inputs.name),
        reports=[_report(path, model_plan) for path in inputs.reports],
        audit=_audit(inputs.audit, model_plan) if inputs.audit else None,
        shipped=frozenset(map(sha256_of, sorted(SHIPPED_SET.glob("*.jsonl")))),
        ablations=tuple(map(_ablation, inputs.ablations)),
        samples=read_samples(inputs.samples) if inputs.samples else (),
        failures=_failures(inputs, adapter=model_plan.adapter is not None),
        author=inputs.author,
        license=inputs.license,
        region=inputs.region,
        hardware=inputs.hardware,
    )


def facts_of(model_plan: ModelPlan, *, name: str | None = None, recorded: bool = True) -> Facts:
    """Read the facts that the model's own files hold; without its training records where not `recorded`.

    Raises DataError where a record is malformed.
    """
    folder = model_plan.adapter_folder
    base_record = read_record(model_plan.base_folder) if recorded else None
    return Facts(
        model=_model(model_plan, name),
        record=(read_record(folder) if recorded else None) if folder else base_record,
        base_record=base_record if folder else None,
    )


def _model(model_plan: ModelPlan, name: str | None) -> ModelFacts:
    base, adapter = model_plan.base_source, model_plan.adapter_source
    adapter_tasks = read_adapter_tasks(model_plan.adapter_folder, model_plan.base_folder)
    common: dict[str, Any] = {
        "template": find_template(
            given=model_plan.template,
            declared=adapter_tasks.template,
            system=model_plan.system or adapter_tasks.system,
            chat=read_chat_template(model_plan),
            architecture=model_plan.config.model_type,
        ),
        "model_type": model_plan.config.model_type,
        "layers": model_plan.layers,
        "hidden_size": model_plan.hidden_size,
        "context": model_plan.context,
        "vocab_size": model_plan.config.vocab_size,
        "parameters": model_plan.parameters,
        "weights_mb": _megabytes(adapter or base),
    }
    if adapter is None or model_plan.adapter_config is None:
        return ModelFacts(name=name or base.name, base=name or base.name, hub_id=_hub_id(base), **common)
    declared = model_plan.adapter_config.base
    config = _adapter_config(adapter)
    return ModelFacts(
        name=name or adapter.name,
        base=base.name if declared is None or Path(declared).is_absolute() else declared,
        is_adapter=True,
        adapter_parameters=count(read_shapes(adapter.folder, adapter.files)) if adapter.is_downloaded else None,
        rank=model_plan.adapter_config.rank,
        kind=model_plan.adapter_config.kind,
        alpha=config.get("lora_alpha"),
        targets=tuple(sorted(model_plan.adapter_config.targets)),
        adapter_tasks=adapter_tasks,
        hub_id=_hub_id(adapter),
        **common,
    )


def _hub_id(source: Source) -> str | None:
    return source.snapshot.repo_id if source.snapshot else None


def _megabytes(source: Source) -> float:
    if not source.is_downloaded:
        return sum(source.snapshot.sizes.get(file, 0) for file in source.files) / 1e6 if source.snapshot else 0.0
    return sum((source.folder / file).stat().st_size for file in source.files) / 1e6


def _report(path: Path, model_plan: ModelPlan) -> Report:
    report = read_report(path)
    _check_weights(report.model.model_dump(), path, model_plan)
    return report


def _audit(path: Path, model_plan: ModelPlan) -> dict[str, Any]:
    audit = read_audit(path)
    _check_weights(audit.get("model", {}), path, model_plan)
    return audit


def _check_weights(model: Mapping[str, Any], path: Path, model_plan: ModelPlan) -> None:
    """Raise DataError where other weights than those here were measured, or the same with other settings."""
    hashes = set(model.get("weights_sha256", {}).values())
    revisions = {model.get("base_revision"), model.get("adapter_revision")}
    adapter = model_plan.adapter_source
    for source in (model_plan.base_source, adapter):
        if source is None or not source.is_downloaded:
            continue
        if hashes:
            is_same = all(sha256_of(source.folder / file) in hashes for file in source.files)
        else:
            revision = adapter_revision(source) if source is adapter else base_revision(source)
            is_same = any(same_adapter(revision, other) is not False for other in revisions)
        if not is_same:
            raise DataError(
                f"{path} was measured on other weights than {source.name}. Evaluate again, with this model."
            )
    if adapter is not None:
        settings = settings_part(model.get("adapter_revision") or "")
        if settings and settings != settings_fingerprint(_adapter_config(adapter)):
            raise DataError(
                f"{path} was measured on the weights of {adapter.name} with other settings in adapter_config.json "
                "(lora_alpha or another). Evaluate again, with this model."
            )


def _adapter_config(adapter: Source) -> dict[str, Any]:
    return read_json(adapter.folder / "adapter_config.json", name=adapter.name)


def _failures(inputs: Inputs, *, adapter: bool) -> list[Failure]:
    path = inputs.failures
    if path is None:
        return []
    if not path.is_dir():
        return read_failures(path)
    if not inputs.reports:
        raise SettingsError(f"--failures {path} is a folder: give the --report of an evaluation on it too.")
    return choose_failures(inputs.reports, path, adapter=adapter)


def _ablation(path: Path) -> Mapping[str, Any]:
    """Read a JSON list of rows, each an object by column, or an object with `rows` and a `note`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        ablation: dict[str, Any] = {"rows": value} if isinstance(value, list) else value
        if not ablation["rows"] or not all(isinstance(row, dict) for row in ablation["rows"]):
            raise TypeError("rows is no list of objects")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path} is not an ablation ({error!r}). It should look like [{{"mix": "a", "loss": 3.1}}].'
        ) from error
    return ablation
