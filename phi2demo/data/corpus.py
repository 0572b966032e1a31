"""Read, clean and split the texts a model learns from. Knows nothing of tokens, models or prompts.

A corpus is a folder of JSON-lines files (plain, .gz or .xz) named `name.train.jsonl`, `name.validation.jsonl` and
`name.test.jsonl`; the fields of a row say what it is (see `KINDS`). A file without a split in its name is split here:
by title where rows have one, else by text, so that no title or text is on both sides.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from phi2demo.data.cleaning import clean
from phi2demo.data.languages import LANGUAGES
from phi2demo.data.rows import SENTIMENT_LABELS, Row, read_rows
from phi2demo.errors import DataError, listed, quoted

_WordList = tuple[frozenset[str], dict[str, list[tuple[str, ...]]]]
"""Single words, and phrases by their first word."""

_WORD_LISTS: dict[str, _WordList] = {}
"""Those read so far, by language."""


def is_inappropriate(text: str, *, language: str = "en") -> bool:
    """Return whether `text` contains a word or phrase of safetext's list for `language`.

    Training pairs are screened on their English side: what is crude there is crude in its translation too, and the
    French list holds everyday words ("faire", "chat").
    """
    return next(listed_words(text, language=language), None) is not None


def listed_words(text: str, *, language: str = "en") -> Iterator[str]:
    """Yield the words and phrases of safetext's list for `language` that are in `text`, in lower case, in order."""
    if language not in _WORD_LISTS:
        _WORD_LISTS[language] = _word_list(language)
    words, phrases = _WORD_LISTS[language]
    tokens = re.findall(r"\w+", text.casefold())
    for place, token in enumerate(tokens):
        if token in words:
            yield token
        for phrase in phrases.get(token, ()):
            if tuple(tokens[place : place + len(phrase)]) == phrase:
                yield " ".join(phrase)


def _word_list(language: str) -> _WordList:
    lines = resources.files("safetext").joinpath(f"languages/{language}/words.txt").read_text(encoding="utf-8")
    entries = [tuple(re.findall(r"\w+", line.casefold())) for line in lines.splitlines() if line.strip()]
    phrases: dict[str, list[tuple[str, ...]]] = {}
    for entry in entries:
        if len(entry) > 1:
            phrases.setdefault(entry[0], []).append(entry)
    return frozenset(entry[0] for entry in entries if len(entry) == 1), phrases


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a row."""

    reason: str
    """What it is counted as."""
    why: str
    """The field and its value, and what it should be."""


def flaw_of(row: Mapping[str, Any], kind: str, fields: Set[str]) -> Flaw | None:
    """The first flaw of a row of `kind`, which needs `fields`; None where it can be used."""
    if missing := sorted(fields - row.keys()):
        return Flaw("incomplete", f"a row of {kind} needs {', '.join(missing)} too")
    if why := malformed(row, kind, fields):
        return Flaw("malformed", why)
    if empty := sorted(name for name in fields if row[name] == ""):
        return Flaw("empty", f"{empty[0]} is empty")
    for name in ("source_lang", "target_lang") if kind == "translation" else ():
        if row[name] not in LANGUAGES:
            return Flaw("unknown language", f"{name} is {quoted(row[name])}; use one of {', '.join(LANGUAGES)}")
    if kind == "translation" and row["source_lang"] == row["target_lang"]:
        return Flaw(
            "one language", f"source_lang and target_lang are both {quoted(row['source_lang'])}; a pair needs two"
        )
    return None


def malformed(row: Mapping[str, Any], kind: str, fields: Set[str]) -> str | None:
    """Which field of a complete row is not what its kind needs: texts are strings, a label is 0 or 1, answers objects."""
    if kind == "sentiment" and row["label"] not in range(len(SENTIMENT_LABELS)):
        return f"label is {quoted(row['label'])}; give 0 or 1"
    if kind == "question_answering" and not _are_answers(row["answers"]):
        return f'answers is {quoted(row["answers"])}; give a list of objects as {{"text": "..."}}'
    texts = sorted(fields - {"label", "answers"})
    return next(
        (f"{name} is {quoted(row[name])}; give a text" for name in texts if not isinstance(row[name], str)), None
    )


def _are_answers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(a, dict) and isinstance(a.get("text"), str) for a in value)


Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

OWN = "own_task"
"""Kind of the rows of tasks that a tasks.json declares; they may have further fields."""
KINDS: dict[str, frozenset[str]] = {
    OWN: frozenset({"task", "text", "output"}),
    "translation": frozenset({"source", "target", "source_lang", "target_lang"}),
    "summarization": frozenset({"document", "summary"}),
    "question_answering": frozenset({"context", "question", "answers"}),
    "simplification": frozenset({"source", "target"}),
    "sentiment": frozenset({"text", "label"}),
    "prose": frozenset({"text"}),
}
"""The fields that make a row of each kind; the first kind whose fields a row has is its kind."""

TEXT_FIELDS = ("source", "target", "document", "summary", "context", "question", "text")
"""Of a row of any kind, that hold texts."""
FILE_NAME = re.compile(r"(?P<name>.+?)(?:\.(?P<split>train|validation|test))?\.jsonl(?:\.(?:gz|xz))?")
"""Of a data file: the set, and the split where the name says one."""
MAX_NAMED = 5
"""Rows that cannot be used and are named with their lines."""
_LOOSE_PUNCTUATION = re.compile(r" (?=[.,!?;:)\]]|n't\b|'(?:s|re|ve|ll|d|m)\b)|(?<=[(\[]) ")


@dataclass(frozen=True)
class Source:
    """One cleaned data set."""

    name: str
    kind: str
    rows: dict[Split, tuple[Row, ...]]


@dataclass
class CleaningReport:
    """What cleaning took out of one data set, for the log and the model card."""

    name: str
    kind: str
    kept: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    unusable: str = ""
    """The first rows that could not be used: line, file and why."""

    def remove(self, reason: str) -> None:
        """Count one row that is left out."""
        self.removed[reason] = self.removed.get(reason, 0) + 1

    def __str__(self) -> str:
        wrong = f". Correct or remove what cannot be used: {self.unusable}" if self.unusable else ""
        return f"{self.name}: kept {self.kept}, removed {self.removed}{wrong}"


@dataclass(frozen=True, slots=True)
class _Line:
    """A row, and where it stands."""

    path: Path
    number: int
    row: Row
    flaw: Flaw | None = None

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"


@dataclass(frozen=True)
class _Set:
    """One data set as it was read: every row normalized and judged, none taken out."""

    name: str
    kind: str
    lines: dict[Split, list[_Line]]
    unusable: str
    """See `CleaningReport`."""


def read_corpus(folder: Path) -> tuple[list[Source], list[CleaningReport]]:
    """Read every JSON-lines file below `folder`, cleaned.

    Raises DataError where the folder holds no such file, a file is not JSON lines of a known kind, a set has rows of
    several kinds, or a file has no row that can be used.
    """
    files: dict[str, list[tuple[Split | None, Path]]] = {}
    for path in sorted(folder.rglob("*.jsonl*")):
        match = FILE_NAME.fullmatch(path.name)
        if match:
            split: Any = match["split"]
            files.setdefault(match["name"], []).append((split, path))
    if not files:
        raise DataError(
            f"No JSON-lines file (.jsonl, .jsonl.gz, .jsonl.xz) below {folder}. Give a folder that has some."
        )
    sets = [_read_set(name, parts) for name, parts in files.items()]
    held_out = _HeldOut()
    for data_set in sets:
        for split in ("validation", "test"):
            for line in data_set.lines[split]:
                if not line.flaw:
                    held_out.add(line.row, data_set.kind)
    cleaned = [_cleaned(data_set, held_out) for data_set in sets]
    return [source for source, _ in cleaned], [report for _, report in cleaned]


def fingerprint(text: str) -> bytes:
    """A key under which texts that differ only in case, punctuation or spacing are the same."""
    return hashlib.blake2b(" ".join(re.findall(r"\w+", text.casefold())).encode(), digest_size=12).digest()


def _read_set(name: str, parts: list[tuple[Split | None, Path]]) -> _Set:
    splits = _read_splits(parts)
    kind = _kind(name, splits, parts[0][1])
    for lines in splits.values():
        for place, line in enumerate(lines):
            lines[place] = _judge(line, kind)  # in its place, lest every text be held twice
    return _Set(name, kind, splits, _unusable(splits))


def _read_splits(parts: list[tuple[Split | None, Path]]) -> dict[Split, list[_Line]]:
    splits: dict[Split, list[_Line]] = {split: [] for split in SPLITS}
    for split, path in parts:
        for number, row in read_rows(path):
            splits[split or split_of(row)].append(_Line(path, number, row))
    return splits


def split_of(row: Row) -> Split:
    """The split of a row of a file that names none: by its title, else by its first text."""
    key = next((str(row[name]) for name in ("title", *TEXT_FIELDS) if row.get(name)), "")
    share = hashlib.blake2b(key.encode(), digest_size=2).digest()[0] / 256
    return "train" if share < 0.7 else "validation" if share < 0.8 else "test"


def _kind(name: str, splits: dict[Split, list[_Line]], path: Path) -> str:
    """That of the first row. A row that only lacks fields of it is incomplete; one of another kind is a DataError."""
    lines = _by_number(splits)
    if not lines:
        raise DataError(f"{path} holds no rows. Add some, or remove it.")
    kind = kind_of(lines[0].row, path)
    for line in lines:
        other = _kind_by_fields(line.row)
        if other and other != kind and not KINDS[other] < KINDS[kind]:
            raise DataError(
                f"{line}: a row of {other}, by its fields {', '.join(sorted(KINDS[other]))}, but the set {quoted(name)} begins "
                f"with one of {kind} ({lines[0]}). Correct the rows, or give each kind a file of another name."
            )
    return kind


def _by_number(splits: dict[Split, list[_Line]]) -> list[_Line]:
    """The first line of every file before the second of any."""
    return sorted((line for split in SPLITS for line in splits[split]), key=lambda line: line.number)


def _judge(line: _Line, kind: str) -> _Line:
    row = clean_row(line.row, kind)
    return _Line(line.path, line.number, row, flaw_of(row, kind, KINDS[kind]))


def _unusable(splits: dict[Split, list[_Line]]) -> str:
    """The first few with line, file and why; empty where all can be used. DataError where none of a file can."""
    lines = _by_number(splits)
    usable = {line.path for line in lines if not line.flaw}
    flawed = [(line, line.flaw) for line in lines if line.flaw]
    for line, flaw in flawed:
        if line.path not in usable:
            raise DataError(f"{line}: {flaw.why}. No row of this file can be used; correct its rows, or remove it.")
    named = "; ".join(f"line {line.number} of {line.path.name}: {flaw.why}" for line, flaw in flawed[:MAX_NAMED])
    return named + (f"; and {len(flawed) - MAX_NAMED} more" if len(flawed) > MAX_NAMED else "")


def kind_of(row: Row, path: Path) -> str:
    """The first kind whose fields a row has; DataError, which names the file, where there is none."""
    if kind := _kind_by_fields(row):
        return kind
    known = "; ".join(f"{kind}: {', '.join(sorted(fields))}" for kind, fields in KINDS.items())
    raise DataError(f"{path}: rows with the fields {listed(sorted(row))} are of no known kind. Known are {known}.")


def _kind_by_fields(row: Row) -> str | None:
    return next((kind for kind, fields in KINDS.items() if fields <= row.keys()), None)


def _cleaned(read: _Set, held_out: "_HeldOut") -> tuple[Source, CleaningReport]:
    report = CleaningReport(read.name, read.kind, unusable=read.unusable)
    rows: dict[Split, tuple[Row, ...]] = {
        split: tuple(_clean(read.lines[split], report, held_out if split == "train" else None)) for split in SPLITS
    }
    report.kept = {split: len(rows[split]) for split in SPLITS}
    return Source(read.name, read.kind, rows), report


def _clean(lines: list[_Line], report: CleaningReport, held_out: "_HeldOut | None") -> Iterator[Row]:
    seen: set[bytes] = set()
    for line in lines:
        if line.flaw:
            report.remove(line.flaw.reason)
            continue
        row = line.row
        texts = [row[name] for name in TEXT_FIELDS if isinstance(row.get(name), str)]
        is_own = report.kind == OWN
        key = fingerprint(json.dumps(row, sort_keys=True) if is_own else "\n".join(texts))
        if key in seen:
            report.remove("duplicate")
        elif held_out is not None and held_out.has(row, report.kind):
            report.remove("in validation or test")
        elif held_out is not None and not is_own and any(map(is_inappropriate, texts)):
            report.remove("inappropriate")
        else:
            seen.add(key)
            yield row


def is_well_formed(row: Row, kind: str) -> bool:
    """Texts are strings, a label is 0 or 1, answers are objects with a text."""
    return malformed(row, kind, KINDS[kind]) is None


def clean_row(row: Row, kind: str) -> Row:
    """The row with its texts cleaned, as a text that is asked about is; of prose the indentation stays.

    A review also loses the spaces that a tokenizer left before its commas.
    """
    keep = kind == "prose"
    row = {name: clean(value, keep_layout=keep) if isinstance(value, str) else value for name, value in row.items()}
    if kind == "sentiment" and isinstance(row.get("text"), str):
        row["text"] = _LOOSE_PUNCTUATION.sub("", row["text"])
    return row


class _HeldOut:
    """Fingerprints of validation and test texts. Short answers and labels are no texts: they may recur."""

    def __init__(self) -> None:
        self._keys: dict[str, set[bytes]] = {}

    def add(self, row: Row, kind: str) -> None:
        self._keys.setdefault(kind, set()).update(fingerprint(text) for text in self._texts(row, kind))

    def has(self, row: Row, kind: str) -> bool:
        keys = self._keys.get(kind, set())
        return any(fingerprint(text) in keys for text in self._texts(row, kind))

    @staticmethod
    def _texts(row: Row, kind: str) -> list[str]:
        """What must not be shared: a pair as a whole (one sentence has several translations), else the text itself."""
        if kind == "translation":
            return [f"{row['source']}\n{row['target']}"]
        fields = {"summarization": "document", "question_answering": "context", "simplification": "source"}
        return [str(row[fields.get(kind, "text")])]
