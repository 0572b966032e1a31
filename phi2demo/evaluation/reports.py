"""Reports that lie on disk: which there are, and the items and answers beside them. Knows no model and no page."""

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from phi2demo.data.files import csv_text
from phi2demo.data.test_sets import TestSet, read_test_sets
from phi2demo.engine.engine import ModelInfo
from phi2demo.errors import DataError
from phi2demo.evaluation.examples import Example, examples_of
from phi2demo.evaluation.outputs import read_outputs
from phi2demo.evaluation.report import ReportValue, TestSetResult, load_report
from phi2demo.evaluation.systems import SYSTEMS, SystemName
from phi2demo.settings import ASSETS

REPORTS_FOLDER = ASSETS / "evaluation"
SHIPPED_SET = REPORTS_FOLDER / "set"
"""Items that come with the project."""
SET_REPORT = "set_report/report.json"
"""Below the shelf: the report on the shipped set, with its answers in `outputs` beside it."""


@dataclass(frozen=True)
class KeptReport:
    """A report and where it lies."""

    name: str
    """Path below the shelf."""
    path: Path
    report: ReportValue

    @property
    def title(self) -> str:
        """To choose it by: what was asked, how much, when."""
        what = "shipped set" if self.name == SET_REPORT else self.path.stem
        if what == "report":
            what = "test files"
        if self.report.limit:
            what += f", first {self.report.limit:,} of each"
        return f"{what[0].upper()}{what[1:]}: {self.report.items:,} items, {self.report.made_at[:10]}"


def kept_reports(folder: Path = REPORTS_FOLDER, *, info: ModelInfo | None = None) -> list[KeptReport]:
    """The reports below a folder, what is no report left out.

    Those of the loaded weights come first, among them that of the shipped set, then the one of most items.
    """
    found = []
    for path in (*sorted(folder.glob("*.json")), folder / SET_REPORT):
        if path.is_file():
            try:
                report = _load(path, path.stat().st_mtime_ns)
            except DataError:  # an audit, which lies here too
                continue
            found.append(KeptReport(path.relative_to(folder).as_posix(), path, report))

    def place(kept: KeptReport) -> tuple[bool, bool, int]:
        return info is not None and not kept.report.is_of(info), kept.name != SET_REPORT, -kept.report.items

    return sorted(found, key=place)


def shipped_test_sets(folder: Path = SHIPPED_SET) -> list[TestSet]:
    """The measures of the shipped set; none where it is not there."""
    return list(_test_sets(folder)) if folder.is_dir() else []


def examples_beside(kept: KeptReport, *, data: Path = SHIPPED_SET) -> list[Example]:
    """Items with the answers that lie beside a report; none where answers or items are not at hand.

    Items count only where their file is the one that the report names by its hash.
    """
    outputs = kept.path.parent / "outputs"
    if not outputs.is_dir() or not data.is_dir():
        return []
    test_sets = {test_set.name: test_set for test_set in _test_sets(data)}
    return [
        example
        for each in kept.report.test_sets
        if (test_set := test_sets.get(each.name)) and test_set.file.sha256 == each.data_sha256
        for example in examples_of(test_set, _answers(outputs, each))
    ]


def _answers(folder: Path, test_set: TestSetResult) -> dict[SystemName, dict[int, str]]:
    found: dict[SystemName, dict[int, str]] = {}
    for system in SYSTEMS:
        path = folder / f"{test_set.name}.{system}.jsonl"
        if path.is_file():
            found[system] = read_outputs(path)
    return found


@lru_cache(maxsize=32)
def _load(path: Path, changed_ns: int) -> ReportValue:
    return load_report(path)


@lru_cache(maxsize=2)
def _test_sets(folder: Path) -> Sequence[TestSet]:
    return tuple(read_test_sets(folder)[0])


def to_json(report: dict[str, Any]) -> str:
    """The report as `evaluate` writes it."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def to_jsonl(examples: Sequence[Example]) -> str:
    """An item a line: what was asked, good answers, what each form made of it and its score."""
    return "".join(json.dumps(example.as_dict(), ensure_ascii=False) + "\n" for example in examples)


def to_csv(report: ReportValue) -> str:
    """A row for each measure and metric, and one for each of its slices; numbers in full."""
    systems = report.systems
    head = ["test_set", "slice_by", "slice", "metric", "n", "higher_is_better"]
    for system in systems:
        head += [system, f"{system}_low", f"{system}_high"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*head, "base", "difference", "difference_low", "difference_high", "p"])
    for test_set in report.test_sets:
        parts = [("", "", test_set.n, test_set.figures)]
        parts += [(part.by, part.name, part.n, part.figures) for part in test_set.slices]
        for by, name, n, figures in parts:
            for figure in figures:
                row = [csv_text(test_set.name), by, csv_text(name), csv_text(figure.title), n, figure.higher_is_better]
                for system in systems:
                    score = figure.scores.get(system)
                    row += [score.score, score.low, score.high] if score else [None] * 3
                difference = figure.difference
                row += [figure.base, *asdict(difference).values()] if difference else [None] * 5
                writer.writerow(row)
    return file.getvalue()


def to_zip(files: dict[str, str]) -> bytes:
    """An archive of texts by name; the same texts give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text, compress_type=zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
