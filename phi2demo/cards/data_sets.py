"""What is known of data sets by the start of their names: title, licence, attribution. The table is data_sets.json."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

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
