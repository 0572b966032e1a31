"""What a card is written from: the model as it is, its training record, reports. Reads no file itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from phi2demo.cards.examples import Failure, Sample
from phi2demo.data.corpus import KINDS
from phi2demo.data.languages import LANGUAGES
from phi2demo.emissions.footprint import WORLD, Emissions, Hardware, estimate
from phi2demo.evaluation.report import Report
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.training.instructions import KINDS_TAUGHT
from phi2demo.training.record import Record, Stage

NOT_STATED = "Not stated"
GAP_SENTENCES = "gap_sentences."
"""Before the name of the set that the summaries were made from."""


@dataclass(frozen=True)
class DataSet:
    """Where texts are from, and what may be done with them."""

    title: str
    licence: str = NOT_STATED
    attribution: str = NOT_STATED
    note: str = ""
    share_alike: bool = False
    """Whether what is made from it has to be shared alike."""
    languages: tuple[str, ...] = ()
    hub_id: str | None = None
    """On the Hugging Face hub."""


def find_data_set(name: str) -> DataSet:
    """The first in the table whose prefix `name` starts with; one with nothing but its name where there is none."""
    if name.startswith(GAP_SENTENCES):
        source = find_data_set(name.removeprefix(GAP_SENTENCES))
        note = "gap sentences: the sentence that overlaps most with the rest is taken out as its summary"
        return DataSet(source.title, source.licence, source.attribution, note, source.share_alike, source.languages)
    for row in _table():
        if name.startswith(row["prefix"]):
            known = {key: value for key, value in row.items() if key != "prefix"}
            return DataSet(**known | {"languages": tuple(row["languages"])})
    return DataSet(name)


@cache
def _table() -> list[dict[str, Any]]:
    text = resources.files("phi2demo.cards").joinpath("data_sets.json").read_text(encoding="utf-8")
    table: list[dict[str, Any]] = json.loads(text)
    return table


AUTHOR = "The phi2demo authors"


@dataclass(frozen=True)
class ModelFacts:
    """A base, or an adapter on it, as its files are."""

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
    """Of the files that the card is about, in millions of bytes."""
    is_adapter: bool = False
    adapter_parameters: int | None = None
    rank: int | None = None
    alpha: int | None = None
    targets: tuple[str, ...] = ()
    adapter_tasks: AdapterTasks = field(default_factory=AdapterTasks)
    """What the adapter says it was finetuned for."""
    hub_id: str | None = None
    """Where it is on the hub."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What an adapter says it was finetuned for; empty where it does not say."""
        return () if self.adapter_tasks == AdapterTasks() else self.adapter_tasks.tasks


@dataclass(frozen=True)
class Author:
    """Who stands for the model."""

    name: str = AUTHOR
    """A person as "Family, Given", several with " and ", or a group's name; empty where nobody is known."""
    contact: str = "Through the repository that this card lies in."
    year: int | None = 2026
    """Of the citation; None where it is not known."""


@dataclass(frozen=True)
class Facts:
    """All that a card says; what was not measured is None or empty."""

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
    """Tables: rows, each by column, with an optional note."""
    samples: Sequence[Sample] = ()
    failures: Sequence[Failure] = ()
    author: Author = field(default_factory=Author)
    license: str | None = None
    """A licence id of the hub, where the author states one."""
    region: str | None = None
    """Of the estimates of emissions; as recorded where not given."""
    hardware: Hardware | None = None
    """As the author states it, for runs that did not record theirs."""

    @property
    def data_sets(self) -> dict[str, DataSet]:
        """Those that any stage, of the base too, was trained on, by name."""
        names = [name for record in (self.base_record, self.record) if record for name in trained_on(record)]
        return {name: find_data_set(name) for name in dict.fromkeys(names)}

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes: an adapter's declared ones, else those of the data."""
        if self.model.is_adapter and self.model.adapter_tasks.languages != AdapterTasks().languages:
            return self.model.adapter_tasks.languages
        found = {code for each in self.data_sets.values() for code in each.languages}
        return tuple(code for code in LANGUAGES if code in found)

    @property
    def license_id(self) -> str:
        """As stated; else share-alike where a source asks for it, else unknown."""
        shared = any(each.share_alike for each in self.data_sets.values())
        return self.license or ("cc-by-sa-4.0" if shared else "unknown")

    def emissions(self, stage: Stage) -> Emissions | None:
        """Of one stage, as recorded unless a region is given; None where nobody knows its hardware."""
        if stage.emissions and self.region is None:
            return stage.emissions
        hardware = stage.hardware or self.hardware
        return estimate(hardware, stage.hours, region=self.region or WORLD) if hardware else None


def trained_on(record: Record) -> list[str]:
    """Names of the data sets with rows or a weight in any stage, in the order of their first use."""
    names: dict[str, None] = {}
    for stage in record.stages:
        if stage.weights:
            names |= dict.fromkeys(stage.weights)
        else:
            kinds = KINDS_TAUGHT if stage.kind == "finetuning" else KINDS
            used = (report.name for report in stage.cleaning if report.kept.get("train") and report.kind in kinds)
            names |= dict.fromkeys(used)
    return list(names)
