"""A data set of the Hugging Face hub as a folder of JSON-lines files. Knows what columns mean, and no model."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from phi2demo.data.corpus import KINDS
from phi2demo.data.rows import Row
from phi2demo.engine.hub import REACH_S, run_with_timeout
from phi2demo.errors import DataError, HubUnreachableError, SettingsError

FETCH_S = 1800.0
"""Until all rows are here."""
SOURCE = "source.json"

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_COLUMNS = {
    "document": ("document", "article", "dialogue", "text"),
    "summary": ("summary", "highlights", "abstract"),
    "text": ("text", "sentence", "content", "review"),
}
"""Columns that are taken for a field, the first that there is; every other field is the column of its name."""
_MEASURED = ("translation", "summarization", "question_answering", "sentiment", "prose")
_BESIDES = ("id", "title", "genre")


@dataclass(frozen=True)
class HubData:
    """Which rows of the hub are measured."""

    id: str
    """owner/name."""
    split: str = "test"
    config: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of a field, where its name does not say so."""
    limit: int | None = None
    """At most this many rows, from the first on."""
    revision: str | None = None
    """The commit that was read; known once it was."""


def is_hub_id(text: str) -> bool:
    """Whether `text` could be the id of a data set, as owner/name."""
    return _HUB_ID.fullmatch(text) is not None


def fetch(wanted: HubData, folder: Path, *, token: str | None = None) -> HubData:
    """Write the rows into `folder`, which `read_test_sets` reads; gives `wanted` with its revision.

    What was fetched before is not fetched again. Raises SettingsError where `datasets` is not installed or the folder
    holds other data, DataError where the hub is not reached in time or has no such rows.
    """
    kept = folder / SOURCE
    if kept.is_file():
        had = HubData(**json.loads(kept.read_text(encoding="utf-8")))
        if replace(had, revision=None) != replace(wanted, revision=None):
            raise SettingsError(f"{folder} holds rows of {had.id}, or other ones. Give another --output.")
        return had
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"--data {wanted.id} is no folder here. To read it from the hub, pip install datasets."
        ) from error
    try:
        found = replace(wanted, revision=run_with_timeout(REACH_S, lambda: revision_of(wanted.id, token)))
        rows = run_with_timeout(FETCH_S, lambda: list(_rows(found, token)))
    except HubUnreachableError as error:
        raise DataError(
            f"There is no folder {wanted.id}, and the hub was not reached ({error}). Give a folder, or try again."
        ) from error
    except DataError:
        raise
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        raise DataError(
            f"The hub's data set {wanted.id} (config {wanted.config}, split {wanted.split}) cannot be read: "
            f"{' '.join(str(error).split())[:400]} Check --data, --hub-config and --hub-split."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "_", "_".join(filter(None, (wanted.id, wanted.config, wanted.split))))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.test.jsonl").write_text(lines, encoding="utf-8")
    kept.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def revision_of(repo_id: str, token: str | None) -> str | None:
    """The commit that the hub's main branch is at."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(repo_id, token=token, timeout=REACH_S).sha


def _rows(found: HubData, token: str | None) -> Iterator[Row]:
    """Read as they come, so that a limit fetches little."""
    from datasets import load_dataset

    rows = load_dataset(found.id, found.config, split=found.split, revision=found.revision, token=token, streaming=True)
    label = getattr((rows.features or {}).get(found.columns.get("label", "label")), "names", None)
    for number, raw in enumerate(islice(rows, found.limit), 1):
        yield to_row(raw, columns=found.columns, label_names=label, where=f"{found.id}, row {number}")


def to_row(raw: Row, *, columns: Mapping[str, str], label_names: list[str] | None = None, where: str = "") -> Row:
    """A row as the kinds of `training.corpus` have it; DataError, which says how to map, where it is of none."""
    if absent := [column for column in columns.values() if column not in raw]:
        raise DataError(f"{where}: there is no column {absent[0]!r}; there are {', '.join(raw)}. Mend --hub-columns.")
    pair = raw.get("translation")
    if isinstance(pair, dict) and len(pair) == 2:
        (source_lang, source), (target_lang, target) = pair.items()
        return {"source": source, "target": target, "source_lang": source_lang, "target_lang": target_lang}
    for kind in _MEASURED:
        found = {name: _column(name, raw, columns) for name in sorted(KINDS[kind])}
        if all(found.values()) and len(set(found.values())) == len(found):
            row = {name: raw[column] for name, column in found.items() if column}
            row |= {name: raw[name] for name in _BESIDES if isinstance(raw.get(name), str)}
            if "answers" in row:
                row["answers"] = _answers(row["answers"])
            if "label" in row and label_names is not None:
                row["label"] = _label(row["label"], label_names)
            return row
    wanted = "; ".join(f"{kind}: {', '.join(sorted(KINDS[kind]))}" for kind in _MEASURED)
    raise DataError(
        f"{where}: the columns {', '.join(raw)} are of no known kind. Say which is which, as --hub-columns "
        f"document=story,summary=gist. Known are {wanted}."
    )


def _column(name: str, raw: Row, columns: Mapping[str, str]) -> str | None:
    if name in columns:
        return columns[name]
    return next((column for column in _COLUMNS.get(name, (name,)) if column in raw), None)


def _answers(value: Any) -> Any:
    """SQuAD's columns keep the texts of all answers in one list."""
    texts = value.get("text") if isinstance(value, dict) else value
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return [{"text": text} for text in texts]
    return value


def _label(value: Any, names: list[str]) -> Any:
    """1 for positive, whatever its number is in the data set."""
    kinds = [name.lower()[:3] for name in names]
    if sorted(kinds) == ["neg", "pos"] and value in (0, 1):
        return int(kinds[value] == "pos")
    return value
