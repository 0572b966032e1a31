"""Read a person's own pairs as a test set: pasted or uploaded CSV or JSON lines, or rows of a program. Knows no model.

Lines that cannot be used raise one InputError that names the first few by their numbers.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, create_model

from phi2demo.data.checks import check_choice, check_text
from phi2demo.data.corpus import OWN, clean_row
from phi2demo.data.languages import LANGUAGES
from phi2demo.data.rows import SENTIMENT_LABELS, Row, sentiment_of
from phi2demo.data.test_sets import TASK_OF_KIND, DataFile, Item, TestSet
from phi2demo.errors import InputError, SettingsError, listed, quoted

MAX_ROWS = 100
MAX_BYTES = 1024 * 1024
MAX_FIELD = 20_000
"""Characters of one text."""
MAX_SAID = 5
"""Bad lines that a message names."""

FIELDS: dict[str, tuple[str, ...]] = {
    "translation": ("source", "target"),
    "summarization": ("document", "summary"),
    "sentiment": ("text", "label"),
    "question_answering": ("context", "question", "answer"),
}
"""Columns by task: what is asked first, the good answer last."""
TASKS_WITH_PAIRS = tuple(FIELDS)

_KINDS = {task: kind for kind, task in TASK_OF_KIND.items() if task in FIELDS}
_SAMPLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "translation": (("The train leaves at eight.", "Der Zug fährt um acht ab."), ("Where is it?", "Wo ist es?")),
    "summarization": (
        ("The library opens at ten. On Sundays it stays closed.", "The library opens at ten except on Sundays."),
        ("It rained all day. The match was put off.", "Rain put off the match."),
    ),
    "sentiment": (("A warm, funny film.", "positive"), ("Dull, and far too long.", "negative")),
    "question_answering": (
        ("The shop opens at nine.", "When does the shop open?", "at nine"),
        ("Anna lives in Rome.", "Where does Anna live?", "in Rome"),
    ),
}


_Text = Annotated[str, Field(min_length=1, max_length=MAX_FIELD)]
_ROWS: dict[str, type[BaseModel]] = {
    task: create_model(task, **dict.fromkeys(names, _Text))  # type: ignore[call-overload]
    for task, names in FIELDS.items()
}


@dataclass(frozen=True)
class OwnColumns:
    """The columns of pairs of a task that an adapter declares: `text`, its fields, which may be left out, and `output`."""

    fields: tuple[str, ...]
    samples: tuple[tuple[str, ...], ...]
    """Rows that show how, with a value for each column."""
    accept: Callable[[Row], Row]
    """Gives a row with its numbers as numbers; Phi2DemoError where the task does not take it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all columns."""
        return ("text", *self.fields, "output")


_OWN_ROW = create_model("own", text=_Text, output=_Text)


@dataclass(frozen=True)
class _Line:
    """A row as it was found, with its place in words."""

    place: str
    fields: Mapping[str, Any]


def template(task: str, *, as_json: bool = False, own: OwnColumns | None = None) -> str:
    """A file to fill in, with rows that show how; `own` are the columns of a task that an adapter declares."""
    names, samples = (own.names, own.samples) if own else (FIELDS[task], _SAMPLES[task])
    if as_json:
        rows = (dict(zip(names, row, strict=True)) for row in samples)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(samples)
    return file.getvalue()


def read_pairs(
    text: str,
    *,
    task: str,
    source: str = "en",
    target: str = "de",
    own: OwnColumns | None = None,
    labels: Sequence[str] = SENTIMENT_LABELS,
) -> TestSet:
    """Read pasted CSV (a first line with the names of the columns) or JSON lines as a test set.

    `own` are the columns of a task that an adapter declares, `labels` those of sentiment. Raises InputError with the
    numbers of the lines that cannot be used, SettingsError for an unknown task or language.
    """
    names = own.names if own else _columns(task)
    size = len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        raise InputError(f"The pairs have {size / 2**20:.1f} MB; at most {MAX_BYTES // 2**20} MB are read. Give fewer.")
    if not text.strip():
        columns = listed(names)
        raise InputError(f"There are no pairs. Paste CSV with the columns {columns}, or JSON lines with these fields.")
    text = check_text(text.removeprefix("\ufeff"), what="list of pairs").replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip().startswith("["):
        return pairs_of(_json_list(text), task=task, source=source, target=target, own=own, labels=labels)
    required = ("text", "output") if own else names
    lines = _json_lines(text) if text.lstrip().startswith("{") else _csv_lines(text, required)
    return _test_set(lines, task, source, target, own, labels)


def pairs_of(
    rows: object,
    *,
    task: str,
    source: str = "en",
    target: str = "de",
    own: OwnColumns | None = None,
    labels: Sequence[str] = SENTIMENT_LABELS,
) -> TestSet:
    """Read rows of a program, objects with the same fields, as a test set; raises as `read_pairs`."""
    if own is None:
        _columns(task)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"The rows are {type(rows).__name__}; give a list of objects, at least one.")

    def lines() -> Iterator[_Line | str]:
        for number, row in enumerate(rows, 1):
            yield _Line(f"row {number}", row) if isinstance(row, dict) else f"row {number}: it is no object"

    return _test_set(lines(), task, source, target, own, labels)


def _columns(task: str) -> tuple[str, ...]:
    check_choice("task", task, TASKS_WITH_PAIRS)
    return FIELDS[task]


def _test_set(
    lines: Iterator[_Line | str], task: str, source: str, target: str, own: OwnColumns | None, labels: Sequence[str]
) -> TestSet:
    """Strings among the lines are what was wrong with them."""
    languages = {}
    if task == "translation":
        check_choice("source", source, LANGUAGES)
        check_choice("target", target, LANGUAGES)
        if source == target:
            raise SettingsError(f"source and target are both {quoted(source)}; choose two languages.")
        languages = {"source_lang": source, "target_lang": target}
    items: list[Item] = []
    wrong: list[str] = []
    for line in lines:
        if len(items) + len(wrong) >= MAX_ROWS:
            raise InputError(
                f"There are more than {MAX_ROWS} pairs; give at most {MAX_ROWS}, and the rest in another run."
            )
        item = line if isinstance(line, str) else _item(line, len(items), task, languages, own, labels)
        if isinstance(item, str):
            wrong.append(item)
        else:
            items.append(item)
    if wrong:
        raise InputError(_said(wrong))
    if not items:
        raise InputError("There are names of columns, and no pair below them. Add at least one line.")
    name = f"{task}.own" + (f".{source}-{target}" if languages else "")
    digest = hashlib.sha256(json.dumps([item.row for item in items], ensure_ascii=False).encode()).hexdigest()
    return TestSet(name, task if own else _KINDS[task], DataFile("own pairs", digest, "test"), tuple(items))


def _item(
    line: _Line, index: int, task: str, languages: Row, own: OwnColumns | None, labels: Sequence[str]
) -> Item | str:
    """The item, or what is wrong with its line."""
    try:
        if own:
            return _own_item(line, index, task, own)
        values = {name: _value(line.fields, name) for name in FIELDS[task]}
        row: Row = _ROWS[task].model_validate(values, strict=True).model_dump()
        for name in FIELDS[task]:
            check_text(values[name], what=f'field "{name}"')
        if task == "sentiment":
            row["output"] = _label(row.pop("label"), labels)
    except ValidationError as error:
        return f"{line.place}: {_problem(error, labels)}"
    except (InputError, SettingsError) as error:
        return f"{line.place}: {str(error).removesuffix('.')}"
    if task == "question_answering":
        row["answers"] = [{"text": row.pop("answer")}]
    row = clean_row(row | languages, _KINDS[task])
    return Item(index, row, (_reference(row, task),))


def _own_item(line: _Line, index: int, task: str, own: OwnColumns) -> Item:
    values = {name: line.fields.get(name) for name in ("text", "output")}
    row: Row = _OWN_ROW.model_validate(values, strict=True).model_dump()
    for name, text in row.items():
        check_text(text, what=f'field "{name}"')
    further = {name: value for name, value in line.fields.items() if name not in row and value not in (None, "")}
    row = own.accept(clean_row({"task": task} | row | further, OWN))
    return Item(index, row, (row["output"],))


def _label(typed: str, labels: Sequence[str]) -> str:
    """The label that a word or a number stands for; InputError where it is none."""
    numbers = {str(number): label for number, label in enumerate(SENTIMENT_LABELS)}
    name = {label.lower(): label for label in labels}.get(typed.strip().lower()) or numbers.get(typed.strip())
    if name is None:
        raise InputError(f"label is {quoted(typed)}; give {_choices(labels)}")
    return name


def _choices(labels: Sequence[str]) -> str:
    return ", or ".join(
        f"{label} or {SENTIMENT_LABELS.index(label)}" if label in SENTIMENT_LABELS else label for label in labels
    )


def _problem(error: ValidationError, labels: Sequence[str]) -> str:
    """What is wrong with the first field that cannot be used."""
    problem = error.errors(include_url=False)[0]
    name, value = problem["loc"][0], problem["input"]
    if value is None or value == "":
        return f"{name} is missing"
    if problem["type"] == "string_too_long":
        return f"{name} has {len(value):,} characters; at most {MAX_FIELD:,} are read"
    return f"{name} is {quoted(value)}; give {_choices(labels) if name == 'label' else 'a text'}"


def _value(fields: Mapping[str, Any], name: str) -> Any:
    """Of a field; of `answer` also the first of `answers`, of a label also a number."""
    value = fields.get(name)
    if value is None and name == "answer" and isinstance(answers := fields.get("answers"), list) and answers:
        value = answers[0].get("text") if isinstance(answers[0], dict) else answers[0]
    if name == "label" and isinstance(value, int | float) and value in range(len(SENTIMENT_LABELS)):
        return str(int(value))
    return value


def _reference(row: Row, task: str) -> str:
    if task == "sentiment":
        return sentiment_of(row)
    if task == "question_answering":
        return str(row["answers"][0]["text"])
    return str(row[FIELDS[task][-1]])


def _json_lines(text: str) -> Iterator[_Line | str]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # the former also where a number has too many digits
                column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                yield f"line {number}: not JSON{column}"
                continue
            yield _Line(f"line {number}", row) if isinstance(row, dict) else f"line {number}: no JSON object"


def _json_list(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"The list is not JSON: line {error.lineno}, column {error.colno}. Correct it there."
        ) from error
    except ValueError as error:
        raise InputError("The list is not JSON: it has a number of too many digits. Give texts and labels.") from error
    except RecursionError as error:
        raise InputError("The list is nested too deeply. Give a list of objects.") from error


def _csv_lines(text: str, names: Sequence[str]) -> Iterator[_Line | str]:
    """Separated by comma, semicolon or tab, whichever the first line has."""
    head = text.lstrip("\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    begins = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {begins}: not CSV ({error}); put a text that holds a quote or a line break in quotes"
            return
        place, begins = f"line {begins}", reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = [cell.strip().lower() for cell in cells]
            if missing := [name for name in names if name not in columns]:
                raise InputError(
                    f"The first line has to name the columns {listed(names)}; it is {quoted(head)}, without "
                    f"{listed(missing)}. Download the template to see how."
                )
        elif len(cells) != len(columns):
            yield f"{place}: {len(cells)} columns instead of {len(columns)}; put a text that holds {delimiter!r} in quotes"
        else:
            yield _Line(place, {name: cell.strip() for name, cell in zip(columns, cells, strict=True)})


def _said(wrong: Sequence[str]) -> str:
    more = f" and {len(wrong) - MAX_SAID} more" if len(wrong) > MAX_SAID else ""
    named = "; ".join(wrong[:MAX_SAID])
    lines = "1 pair" if len(wrong) == 1 else f"{len(wrong)} pairs"
    return (
        f"{lines} cannot be used. {named[0].upper()}{named[1:]}{more}. Correct or remove what is named, and run again."
    )
