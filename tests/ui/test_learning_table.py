import json
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.evaluation.results import ReportValue, TrainingValue, load_report
from phi2demo.evaluation.shelf import SHELF, earlier_reports, kept_reports
from phi2demo.ui.learning_table import growth


@pytest.fixture(scope="module")
def report() -> ReportValue:
    return load_report(SHELF / "flores.json")


@pytest.fixture
def earlier(report: ReportValue) -> ReportValue:
    return replace(report, base_revision="before", training=TrainingValue(1000, 1000, 1000))


def test_pictures_and_a_row_for_each_measure(report: ReportValue, earlier: ReportValue) -> None:
    html = growth(report, [earlier])
    wide, narrow = (
        b64decode(data).decode() for data in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", html)[::-1]
    )
    assert wide.count("<g ") == narrow.count("<g ") == html.count('<th scope="row">') == len(report.measures)
    assert 'width="760"' in wide
    assert 'width="380"' in narrow
    assert "1.0e7" in html
    assert "English to German, flores101_devtest" in html


def test_nothing_is_said_where_nothing_compares(report: ReportValue, earlier: ReportValue) -> None:
    assert growth(report, []) == ""
    assert growth(replace(report, training=None), [earlier]) == ""
    html = growth(replace(report, measures=report.measures[:1]), [earlier, replace(earlier, base_revision="first")])
    assert html.count('<th scope="row">') == 1  # not what only the earlier ones have
    assert growth(report, [replace(earlier, measures=())]) == ""


def test_earlier_reports_lie_below_the_shelf_and_are_no_choice_there(tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    told = json.loads((SHELF / "flores.json").read_text(encoding="utf-8"))
    (tmp_path / "earlier" / "first.json").write_text(json.dumps(told), encoding="utf-8")
    (tmp_path / "earlier" / "second.json").write_text("{}", encoding="utf-8")
    assert len(earlier_reports(tmp_path)) == 1
    assert kept_reports(tmp_path) == []
    assert earlier_reports(tmp_path / "nowhere") == []
