"""The facts that a card is written from: the model, its training record and reports. Reads only the table of data sets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from phi2demo.data.corpus import KINDS
from phi2demo.data.languages import LANGUAGES
from phi2demo.emissions.footprint import WORLD, Emissions, Hardware, estimate
from phi2demo.evaluation.report import Report
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.templates import PHI, Template
from phi2demo.training.instructions import FINETUNING_KINDS
from phi2demo.training.record import Record, Stage

NOT_STATED = "Not stated"
GAP_SENTENCES = "gap_sentences."
"""Prefix of a data set whose summaries were made from the data set that follows."""


@dataclass(frozen=True)
class DataSet:
    """The source of texts, and its licence."""

    title: str
    licence: str = NOT_STATED
    attribution: str = NOT_STATED
    note: str = ""
    share_alike: bool = False
    """Whether works made from it have to be shared under the same licence."""
    languages: tuple[str, ...] = ()
    hub_id: str | None = None
    """On the Hugging Face hub."""


def find_data_set(name: str) -> DataSet:
    """Look up the first data set of the table whose prefix `name` starts with; one with only its name where there is none."""
    if name.startswith(GAP_SENTENCES):
        source = find_data_set(name.removeprefix(GAP_SENTENCES))
        note = "gap sentences: the sentence that overlaps most with the rest is taken out as its summary"
        return DataSet(source.title, source.licence, source.attribution, note, source.share_alike, source.languages)
    for row in _table():
        if name.startswith(row["prefix"]):
            fields = {key: value for key, value in row.items() if key != "prefix"}
            return DataSet(**fields | {"languages": tuple(row["languages"])})
    return DataSet(name)


@cache
def _table() -> list[dict[str, Any]]:
    text = resources.files("phi2demo.cards").joinpath("data_sets.json").read_text(encoding="utf-8")
    table: list[dict[str, Any]] = json.loads(text)
    return table


AUTHOR = "The phi2demo authors"


@dataclass(frozen=True)
class ModelFacts:
    """A base, or an adapter on it, as described by its files."""

    name: str
    """What the snippet loads: a path from the repository's root, a folder's name or a hub id."""
    base: str
    """The base's own name; the same as `name` for a base."""
    model_type: str
    """Of the base, as its config.json gives it."""
    layers: int
    hidden_size: int
    context: int
    vocab_size: int
    parameters: int | None
    """Of the base."""
    weights_mb: float
    """Size of the files that the card is about, in millions of bytes."""
    is_adapter: bool = False
    adapter_parameters: int | None = None
    rank: int | None = None
    """None or 0 where the kind of adapter has none."""
    kind: str = "LoRA"
    """Name of the adapter's method."""
    alpha: int | None = None
    targets: tuple[str, ...] = ()
    adapter_tasks: AdapterTasks = field(default_factory=AdapterTasks)
    """What the adapter declares in tasks.json."""
    hub_id: str | None = None
    """Its id on the hub, if it is there."""
    template: Template = PHI
    """The prompt template in force, with the reason."""

    @property
    def adapter_title(self) -> str:
        """Return what kind of adapter it is, as the beginning of a sentence."""
        return "A LoRA adapter" if self.kind == "LoRA" else f"An adapter ({self.kind})"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that an adapter declares; empty where it declares none."""
        return self.adapter_tasks.tasks if self.adapter_tasks.names_tasks else ()


@dataclass(frozen=True)
class Author:
    """The author of the model."""

    name: str = AUTHOR
    """A person as "Family, Given", several with " and ", or a group's name; empty where unknown."""
    contact: str = "Through the repository that this card lies in."
    year: int | None = 2026
    """Of the citation; None where it is unknown."""


@dataclass(frozen=True)
class Sample:
    """A prompt and the text that the model continued it with."""

    prompt: str
    seed: int
    text: str
    variant: str = ""
    """finetuned or base; empty where the file does not say."""

    def to_json(self) -> str:
        """Write a line that `read_samples` reads."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Failure:
    """An answer that went wrong."""

    input: str
    output: str
    reference: str
    note: str = ""
    """What went wrong, in words."""


@dataclass(frozen=True)
class Facts:
    """All facts of a card; what was not measured is None or empty."""

    model: ModelFacts
    record: Record | None = None
    """Of the weights that the card is about."""
    base_record: Record | None = None
    """Of an adapter's base."""
    reports: Sequence[Report] = ()
    audit: Mapping[str, Any] | None = None
    """As `audit` writes it."""
    shipped: frozenset[str] = frozenset()
    """SHA-256 of the files of the demo's own evaluation set."""
    ablations: tuple[Mapping[str, Any], ...] = ()
    """Tables: rows, which map columns to values, with an optional note."""
    samples: Sequence[Sample] = ()
    failures: Sequence[Failure] = ()
    author: Author = field(default_factory=Author)
    license: str | None = None
    """A licence id of the hub, where the author states one."""
    region: str | None = None
    """For the estimates of emissions; None for the recorded one."""
    hardware: Hardware | None = None
    """As the author states it, for runs that did not record it."""

    @property
    def data_sets(self) -> dict[str, DataSet]:
        """The data sets that any stage was trained on, including those of the base, by name."""
        names = [name for record in (self.base_record, self.record) if record for name in trained_on(record)]
        return {name: find_data_set(name) for name in dict.fromkeys(names)}

    @property
    def languages(self) -> tuple[str, ...]:
        """Language codes: those that an adapter declares, else those of its data."""
        if self.model.is_adapter and self.model.adapter_tasks.languages != AdapterTasks().languages:
            return self.model.adapter_tasks.languages
        codes = {code for data_set in self.data_sets.values() for code in data_set.languages}
        return tuple(code for code in LANGUAGES if code in codes)

    @property
    def license_id(self) -> str:
        """The licence as stated; else share-alike where a source requires it, else unknown."""
        shared = any(data_set.share_alike for data_set in self.data_sets.values())
        return self.license or ("cc-by-sa-4.0" if shared else "unknown")

    def emissions(self, stage: Stage) -> Emissions | None:
        """Give the emissions of one stage, as recorded unless a region is given; None where its hardware is unknown."""
        if stage.emissions and self.region is None:
            return stage.emissions
        hardware = stage.hardware or self.hardware
        return estimate(hardware, stage.hours, region=self.region or WORLD) if hardware else None


def trained_on(record: Record) -> list[str]:
    """List the names of the data sets with rows or a weight in any stage, in the order of their first use."""
    names: dict[str, None] = {}
    for stage in record.stages:
        if stage.weights:
            names |= dict.fromkeys(stage.weights)
        else:
            kinds = FINETUNING_KINDS if stage.kind == "finetuning" else KINDS
            used = (report.name for report in stage.cleaning if report.kept.get("train") and report.kind in kinds)
            names |= dict.fromkeys(used)
    return list(names)
