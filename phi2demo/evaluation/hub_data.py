"""A data set of the Hugging Face hub, written as a folder of JSON-lines files. Knows no model."""

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
from phi2demo.errors import DataError, HubUnreachableError, SettingsError, listed, quoted

FETCH_S = 1800.0
"""Time limit for all rows."""
SOURCE = "source.json"

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_COLUMNS = {
    "document": ("document", "article", "dialogue", "text"),
    "summary": ("summary", "highlights", "abstract"),
    "text": ("text", "sentence", "content", "review"),
}
"""Columns that may hold a field, in order of preference; every other field is the column of its name."""
_MEASURED = ("translation", "summarization", "question_answering", "sentiment", "prose")
_BESIDES = ("id", "title", "genre")


@dataclass(frozen=True)
class HubData:
    """The rows of the hub that are measured."""

    id: str
    """owner/name."""
    split: str = "test"
    config: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of a field, where the column has another name."""
    limit: int | None = None
    """At most this many rows, from the first on."""
    revision: str | None = None
    """The commit that was read; None before."""


def is_hub_id(text: str) -> bool:
    """Say whether `text` could be the id of a data set, such as owner/name."""
    return _HUB_ID.fullmatch(text) is not None


def fetch(source: HubData, folder: Path, *, token: str | None = None) -> HubData:
    """Write the rows into `folder` for `read_test_sets`, and return `source` with its revision.

    Rows that are there already are not fetched again. Raises SettingsError where `datasets` is not installed or the
    folder holds other data, DataError where the hub is not reached in time or has no such rows.
    """
    record = folder / SOURCE
    if record.is_file():
        fetched = HubData(**json.loads(record.read_text(encoding="utf-8")))
        if replace(fetched, revision=None) != replace(source, revision=None):
            raise SettingsError(f"{folder} holds other rows, of {fetched.id}. Give another --output.")
        return fetched
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"--data {source.id} is no folder here. To read it from the hub, pip install datasets."
        ) from error
    try:
        source = replace(source, revision=run_with_timeout(REACH_S, lambda: revision_of(source.id, token)))
        rows = run_with_timeout(FETCH_S, lambda: list(_rows(source, token)))
    except HubUnreachableError as error:
        raise DataError(
            f"There is no folder {source.id}, and the hub was not reached ({error}). Give a folder, or try again."
        ) from error
    except DataError:
        raise
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        raise DataError(
            f"The hub's data set {source.id} (config {source.config}, split {source.split}) cannot be read: "
            f"{' '.join(str(error).split())[:400]} Check --data, --hub-config and --hub-split."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "_", "_".join(filter(None, (source.id, source.config, source.split))))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.test.jsonl").write_text(lines, encoding="utf-8")
    record.write_text(json.dumps(asdict(source)), encoding="utf-8")
    return source


def revision_of(repo_id: str, token: str | None) -> str | None:
    """Look up the commit of the hub's main branch."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(repo_id, token=token, timeout=REACH_S).sha


def _rows(source: HubData, token: str | None) -> Iterator[Row]:
    """Stream the rows, so that little is fetched where there is a limit."""
    from datasets import load_dataset

    rows = load_dataset(
        source.id, source.config, split=source.split, revision=source.revision, token=token, streaming=True
    )
    label = getattr((rows.features or {}).get(source.columns.get("label", "label")), "names", None)
    for number, raw in enumerate(islice(rows, source.limit), 1):
        yield to_row(raw, columns=source.columns, label_names=label, where=f"{source.id}, row {number}")


def to_row(raw: Row, *, columns: Mapping[str, str], label_names: list[str] | None = None, where: str = "") -> Row:
    """Turn a row of the hub into one of a kind in KINDS; DataError, which says how to map columns, where it fits none."""
    if absent := [column for column in columns.values() if column not in raw]:
        raise DataError(
            f"{where}: there is no column {quoted(absent[0])}; there are {listed(raw)}. Correct --hub-columns."
        )
    pair = raw.get("translation")
    if isinstance(pair, dict) and len(pair) == 2:
        (source_lang, source), (target_lang, target) = pair.items()
        return {"source": source, "target": target, "source_lang": source_lang, "target_lang": target_lang}
    for kind in _MEASURED:
        fields = {name: _column(name, raw, columns) for name in sorted(KINDS[kind])}
        if all(fields.values()) and len(set(fields.values())) == len(fields):
            row = {name: raw[column] for name, column in fields.items() if column}
            row |= {name: raw[name] for name in _BESIDES if isinstance(raw.get(name), str)}
            if "answers" in row:
                row["answers"] = _answers(row["answers"])
            if "label" in row and label_names is not None:
                row["label"] = _label(row["label"], label_names)
            return row
    kinds = "; ".join(f"{kind}: {', '.join(sorted(KINDS[kind]))}" for kind in _MEASURED)
    raise DataError(
        f"{where}: the columns {listed(raw)} are of no known kind. Say which column is which field, for example "
        f"--hub-columns document=story,summary=gist. Known are {kinds}."
    )


def _column(name: str, raw: Row, columns: Mapping[str, str]) -> str | None:
    if name in columns:
        return columns[name]
    return next((column for column in _COLUMNS.get(name, (name,)) if column in raw), None)


def _answers(value: Any) -> Any:
    """Convert SQuAD's column, which keeps the texts of all answers in one list."""
    texts = value.get("text") if isinstance(value, dict) else value
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return [{"text": text} for text in texts]
    return value


def _label(value: Any, names: list[str]) -> Any:
    """Give 1 for positive, whatever its number is in the data set."""
    kinds = [name.lower()[:3] for name in names]
    if sorted(kinds) == ["neg", "pos"] and value in (0, 1):
        return int(kinds[value] == "pos")
    return value
