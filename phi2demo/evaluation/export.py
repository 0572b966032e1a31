"""Figures and answers as files: report, answers, table, and all of them in one archive. Knows no page."""

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from phi2demo.evaluation.examples import Example
from phi2demo.evaluation.results import ReportValue

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run."""


def to_json(report: dict[str, Any]) -> str:
    """The report as `evaluate` writes it."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def to_jsonl(examples: Sequence[Example]) -> str:
    """An item a line: what was asked, good answers, what each form made of it and its score."""
    return "".join(json.dumps(example.as_dict(), ensure_ascii=False) + "\n" for example in examples)


def to_csv(report: ReportValue) -> str:
    """A row for each measure and metric, and one for each of its slices; numbers in full."""
    forms = report.forms
    head = ["measure", "slice_by", "slice", "metric", "n", "higher_is_better"]
    for form in forms:
        head += [form, f"{form}_low", f"{form}_high"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*head, "base", "difference", "difference_low", "difference_high", "p"])
    for measure in report.measures:
        parts = [("", "", measure.n, measure.figures)]
        parts += [(part.by, part.name, part.n, part.figures) for part in measure.slices]
        for by, name, n, figures in parts:
            for figure in figures:
                row = [_plain(measure.name), by, _plain(name), _plain(figure.title), n, figure.higher_is_better]
                for form in forms:
                    score = figure.scores.get(form)
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


def _plain(text: str) -> str:
    """A name from a file must not become a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
