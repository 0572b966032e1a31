"""Read a folder of JSON-lines files as test sets: inputs for a model with reference answers. Knows no model.

Files, kinds of rows and splits are those of `training.corpus`, but every row counts here: texts are normalized, none is
left out. A file that cannot be used is a DataError with file, line and what to do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phi2demo.data.cleaning import clean
from phi2demo.data.corpus import FILE_NAME, KINDS, OWN, clean_row, is_well_formed, kind_of
from phi2demo.data.corpus import split_of as split_by_title
from phi2demo.data.documents import split_sentences
from phi2demo.data.files import sha256_of
from phi2demo.data.languages import LANGUAGES
from phi2demo.data.rows import Row, read_rows, sentiment_of, too_large
from phi2demo.errors import DataError, listed, quoted

EvaluationSplit = Literal["validation", "test"]

TASK_OF_KIND = {
    "translation": "translation",
    "summarization": "summarization",
    "question_answering": "question_answering",
    "sentiment": "sentiment",
    "prose": "prose",
    "continuation": "generation",
}
"""Kinds that are measured; prose is scored as it is, with no task around it, and once more as a text to be continued."""

MAX_BYTES = 100_000_000
"""Of a file, unpacked, that is measured as a whole: more would take days."""

MAX_CONTINUATION = 600
"""Characters of a continuation that are scored, from its start to a sentence end."""


@dataclass(frozen=True)
class Item:
    """One row to answer."""

    index: int
    """Place in its test set; together with the name of the set it names the item."""
    row: Row
    """Normalized; of a translation, `source` is what is asked and `target` what is wanted."""
    references: tuple[str, ...]
    """Good answers, at least one; of prose, the text itself."""


@dataclass(frozen=True)
class DataFile:
    """The file that the items of a test set are from."""

    name: str
    """Path below the data folder."""
    sha256: str
    split: str
    note: str = ""
    """How the split was found, where the file's name does not say it."""


@dataclass(frozen=True)
class TestSet:
    """The items that make one row of the report."""

    name: str
    """task.set, and the direction of a translation: `translation.tatoeba.en-de`."""
    kind: str
    """A key of KINDS; of rows of a declared task the task."""
    file: DataFile
    items: tuple[Item, ...]

    @property
    def task(self) -> str:
        """A key of TASKS, or `prose`."""
        return TASK_OF_KIND.get(self.kind, self.kind)


@dataclass(frozen=True)
class Skipped:
    """A data set that is not measured, and why."""

    name: str
    why: str


def read_test_sets(
    folder: Path, *, split: EvaluationSplit = "test", limit: int | None = None
) -> tuple[list[TestSet], list[Skipped]]:
    """Read the test sets below `folder`, of at most the first `limit` rows of each file.

    A set without a test file is measured on its validation file; a file without a split in its name on the part that
    `training.corpus` splits off. Raises DataError where there is nothing to measure, or a file cannot be used.
    """
    sets: dict[str, dict[str | None, Path]] = {}
    for path in sorted(folder.rglob("*.jsonl*")):
        if match := FILE_NAME.fullmatch(path.name):
            sets.setdefault(match["name"], {})[match["split"]] = path
    if not sets:
        raise DataError(
            f"No JSON-lines file (.jsonl, .jsonl.gz, .jsonl.xz) below {folder}. Give a folder that has some."
        )
    test_sets: list[TestSet] = []
    skipped: list[Skipped] = []
    for name, files in sets.items():
        choice = _choose(files, split)
        if isinstance(choice, str):
            skipped.append(Skipped(name, choice))
            continue
        path, used, note = choice
        rows = list(_rows(path, only=used if None in files and path == files[None] else None, limit=limit))
        if not rows:
            raise DataError(f"{path} holds no rows of the {used} split. Add some, or remove it.")
        kind = kind_of(rows[0][1], path)
        if kind not in (*TASK_OF_KIND, OWN):
            skipped.append(Skipped(name, f"{kind} is no task of this app"))
            continue
        file = DataFile(path.relative_to(folder).as_posix(), sha256_of(path), used, note)
        test_sets += _test_sets(name, kind, file, [_checked(row, number, kind, path) for number, row in rows])
    return test_sets, skipped


def select(test_sets: Sequence[TestSet], *, names: Sequence[str] = (), tasks: Sequence[str] = ()) -> list[TestSet]:
    """Those of the given names or tasks, all where neither is given; DataError for a name that none has."""
    known_tasks = sorted({test_set.task for test_set in test_sets})
    known_names = [test_set.name for test_set in test_sets]
    for chosen, known in ((names, known_names), (tasks, known_tasks)):
        for name in chosen:
            if name not in known:
                raise DataError(
                    f"There is nothing to measure as {quoted(name)} in this folder; known are {listed(known)}."
                )
    return [m for m in test_sets if not (names or tasks) or m.name in names or m.task in tasks]


def _choose(files: dict[str | None, Path], split: EvaluationSplit) -> tuple[Path, str, str] | str:
    """File, split and a note on it; or, where there is nothing to measure, why."""
    if split in files:
        return files[split], split, ""
    if None in files:
        return files[None], split, "split by title"
    if split == "test" and "validation" in files:
        return files["validation"], "validation", "no test file"
    return f"no {split} file"


def _rows(path: Path, *, only: str | None, limit: int | None) -> Iterator[tuple[int, Row]]:
    taken = 0
    if limit is None and path.stat().st_size > MAX_BYTES:
        raise DataError(too_large(path, MAX_BYTES))
    for number, row in read_rows(path, max_bytes=MAX_BYTES if limit is None else None):
        if only is None or split_by_title(row) == only:
            taken += 1
            yield number, row
            if taken == limit:
                return


def _checked(row: Row, number: int, kind: str, path: Path) -> Row:
    """The row, normalized; DataError where a field is missing or not what its kind needs."""
    where = f"{path}, line {number}"
    if missing := sorted(KINDS[kind] - row.keys()):
        raise DataError(f"{where}: a row of {kind} needs {', '.join(missing)} too. Add it or remove the row.")
    if not is_well_formed(row, kind) or (kind == "question_answering" and not row["answers"]):
        raise DataError(
            f"{where}: a field of this row of {kind} has a value that cannot be used: texts are strings, label is 0 "
            'or 1, answers is a list of objects as {"text": "..."}. Correct or remove the row.'
        )
    row = clean_row(row, kind)
    if empty := sorted(name for name in KINDS[kind] if row[name] == ""):
        raise DataError(f"{where}: {empty[0]} is empty. Fill it in or remove the row.")
    if kind == "translation":
        for name in ("source_lang", "target_lang"):
            if row[name] not in LANGUAGES:
                raise DataError(f"{where}: {name} is {quoted(row[name])}; use one of {', '.join(LANGUAGES)}.")
    return row


def _test_sets(name: str, kind: str, file: DataFile, rows: Sequence[Row]) -> Iterator[TestSet]:
    """One; of translations one for each direction of each pair of languages, of declared tasks one for each task."""
    if kind == OWN:
        for task in dict.fromkeys(row["task"] for row in rows):
            of_task = [row for row in rows if row["task"] == task]
            items = tuple(Item(index, row, (row["output"],)) for index, row in enumerate(of_task))
            yield TestSet(f"{task}.{name}", task, file, items)
        return
    if kind != "translation":
        items = tuple(Item(index, row, _references(row, kind)) for index, row in enumerate(rows))
        yield TestSet(f"{TASK_OF_KIND[kind]}.{name}", kind, file, items)
        if kind == "prose" and (continued := list(filter(None, map(_continued, rows)))):
            items = tuple(Item(index, row, (row["rest"],)) for index, row in enumerate(continued))
            yield TestSet(f"generation.{name}", "continuation", file, items)
        return
    for source, target in dict.fromkeys((row["source_lang"], row["target_lang"]) for row in rows):
        pair = [row for row in rows if (row["source_lang"], row["target_lang"]) == (source, target)]
        base = name.removesuffix(f".{source}-{target}")
        for direction, turned in ((f"{source}-{target}", pair), (f"{target}-{source}", [_turned(row) for row in pair])):
            items = tuple(Item(index, row, (row["target"],)) for index, row in enumerate(turned))
            yield TestSet(f"translation.{base}.{direction}", kind, file, items)


def _continued(row: Row) -> Row | None:
    """A text as its first sentence (`opening`) and what follows, with the white space before it (`rest`)."""
    opening, *sentences = split_sentences(row["text"][: 2 * MAX_CONTINUATION])
    rest = ""
    for sentence in sentences:
        if len(rest) + len(sentence) > MAX_CONTINUATION:
            break
        rest += sentence
    rest = opening[len(opening.rstrip()) :] + rest.rstrip()
    return {"opening": opening.rstrip(), "rest": rest} if rest.strip() else None


def _turned(row: Row) -> Row:
    ends = {"source": row["target"], "target": row["source"]}
    return row | ends | {"source_lang": row["target_lang"], "target_lang": row["source_lang"]}


def _references(row: Row, kind: str) -> tuple[str, ...]:
    if kind == "summarization":
        others = [clean(text) for text in row.get("references") or () if isinstance(text, str)]
        return tuple(dict.fromkeys((row["summary"], *filter(None, others))))
    if kind == "question_answering":
        return tuple(dict.fromkeys(clean(answer["text"]) for answer in row["answers"]))
    if kind == "sentiment":
        return (sentiment_of(row),)
    return (row["text"],)


_TEXT_FIELDS = {
    "translation": ("source",),
    "summarization": ("document",),
    "question_answering": ("context",),
    "sentiment": ("text",),
    "prose": ("text",),
    "continuation": ("opening", "rest"),
}


def text_of(row: Row, kind: str) -> str:
    """The person's text in a row: what is translated, summarized, judged, asked about, or gone on with."""
    return "".join(row[name] for name in _TEXT_FIELDS.get(kind, ("text",)))
