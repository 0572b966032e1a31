"""Report files: reading and checking one, listing those of a folder, and the items and answers beside them."""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from phi2demo.data.checks import first_problem
from phi2demo.data.test_sets import TestSet, read_test_sets
from phi2demo.engine.engine import ModelInfo
from phi2demo.errors import DataError
from phi2demo.evaluation.examples import Example, examples_of
from phi2demo.evaluation.outputs import SYSTEMS, SystemName, read_outputs
from phi2demo.evaluation.report import Report, TestSetResult
from phi2demo.settings import ASSETS, SHIPPED_SET
from phi2demo.tasks.declared import AdapterTasks

REPORTS_FOLDER = ASSETS / "evaluation"
SET_REPORT = "set_report/report.json"
"""Below REPORTS_FOLDER: the report on the shipped set, with its answers in `outputs` beside it."""


@dataclass(frozen=True)
class KeptReport:
    """A report and its file."""

    name: str
    """Path below the folder of reports."""
    path: Path
    report: Report

    @property
    def title(self) -> str:
        """What was measured, on how many items, and when."""
        data = "shipped set" if self.name == SET_REPORT else self.path.stem
        if data == "report":
            data = "test files"
        if limit := self.report.settings.limit:
            data += f", first {limit:,} of each"
        return f"{data[0].upper()}{data[1:]}: {self.report.items:,} items, {self.report.made_at[:10]}"


def kept_reports(folder: Path = REPORTS_FOLDER, *, info: ModelInfo | None = None) -> list[KeptReport]:
    """List the reports below a folder; other files are left out.

    Reports of the loaded weights come first, among them the report on the shipped set, then those with more items.
    """
    reports = []
    for path in (*sorted(folder.glob("*.json")), folder / SET_REPORT):
        if path.is_file():
            try:
                report = _load(path, path.stat().st_mtime_ns)
            except DataError:  # for example an audit, which is in the same folder
                continue
            reports.append(KeptReport(path.relative_to(folder).as_posix(), path, report))

    def place(kept: KeptReport) -> tuple[bool, bool, int]:
        return info is not None and not kept.report.is_of(info), kept.name != SET_REPORT, -kept.report.items

    return sorted(reports, key=place)


def shipped_test_sets(folder: Path = SHIPPED_SET) -> list[TestSet]:
    """Read the test sets of the shipped set; none where its folder does not exist."""
    return list(_test_sets(folder)) if folder.is_dir() else []


def known_test_sets(test_sets: Sequence[TestSet], adapter_tasks: AdapterTasks) -> tuple[TestSet, ...]:
    """Return the test sets whose task and languages the model was finetuned for."""

    def is_known(test_set: TestSet) -> bool:
        row = test_set.items[0].row
        codes = {row["source_lang"], row["target_lang"]} if test_set.kind == "translation" else set()
        return test_set.task in adapter_tasks.tasks and codes <= set(adapter_tasks.languages)

    return tuple(test_set for test_set in test_sets if test_set.items and is_known(test_set))


def examples_beside(kept: KeptReport, *, data: Path = SHIPPED_SET) -> list[Example]:
    """Read the items of `data` with the answers beside a report; none where either is missing.

    Only test sets whose file has the hash that the report names are used.
    """
    outputs = kept.path.parent / "outputs"
    if not outputs.is_dir() or not data.is_dir():
        return []
    test_sets = {test_set.name: test_set for test_set in _test_sets(data)}
    return [
        example
        for result in kept.report.test_sets
        if (test_set := test_sets.get(result.name)) and test_set.file.sha256 == result.data.sha256
        for example in examples_of(test_set, _answers(outputs, result))
    ]


def _answers(folder: Path, test_set: TestSetResult) -> dict[SystemName, dict[int, str]]:
    paths = {system: folder / f"{test_set.name}.{system}.jsonl" for system in SYSTEMS}
    return {system: read_outputs(path) for system, path in paths.items() if path.is_file()}


@lru_cache(maxsize=32)
def _load(path: Path, changed_ns: int) -> Report:
    return read_report(path)


@lru_cache(maxsize=2)
def _test_sets(folder: Path) -> Sequence[TestSet]:
    return tuple(read_test_sets(folder)[0])


def to_jsonl(examples: Sequence[Example]) -> str:
    """Write a line for each item: the text, good answers, and the answer of each system with its score."""
    return "".join(json.dumps(example.as_dict(), ensure_ascii=False) + "\n" for example in examples)


def to_zip(files: dict[str, str]) -> bytes:
    """Pack texts, by file name, into an archive; the same texts give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text, compress_type=zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def read_report(path: Path) -> Report:
    """Read a report file. DataError says what is wrong with it, and never names a folder: the page shows the message."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _no_report(path.name, (error.strerror or "it cannot be read").lower()) from error
    except ValueError as error:
        raise _no_report(path.name, "it is not JSON") from error
    except RecursionError as error:
        raise _no_report(path.name, "it is nested too deeply") from error
    return parse_report(value, name=path.name)


def parse_report(value: object, *, name: str = "The file") -> Report:
    """Check the JSON values of a report; DataError names the first field that is missing or wrong."""
    if not isinstance(value, dict) or not isinstance(value.get("test_sets"), list):
        raise _no_report(name, "it holds no list named test_sets")
    if value.get("format") == 1:
        raise DataError(f"{name} was made by an older version of this program. Run python -m phi2demo evaluate again.")
    try:
        return Report.model_validate(value)
    except ValidationError as error:
        raise _no_report(name, first_problem(error)) from error


def _no_report(name: str, why: str) -> DataError:
    return DataError(
        f"{name} is not an evaluation report: {why}. Give a report.json that python -m phi2demo evaluate wrote."
    )
