import re
from typing import Any

import pytest

from phi2demo.evaluation.reports import parse_report
from phi2demo.evaluation.slices import CONFIDENCE_QUINTILES
from phi2demo.ui import report_view, slice_table
from phi2demo.ui.evaluate_reports import differing
from tests.evaluation.test_report import environment, small
from tests.tasks.scripted import INFO


def with_figure(**changes: Any) -> Any:
    report = small()
    report["test_sets"][0]["figures"][0] |= changes
    return parse_report(report)


def test_dots_and_whiskers_stand_where_their_numbers_are() -> None:
    plot = report_view.plot(parse_report(small()))
    assert 'x="75.00%"' in plot  # 30 on a scale to 40
    assert 'x1="62.50%" x2="87.50%"' in plot  # 25 to 35
    assert 'x="50.00%"' in plot  # 20, without an interval
    assert plot.count("<line x1=") == 1
    assert "finetuned 30.0 (25.0 to 35.0); base, plain 20.0" in plot
    assert "+10.0, better" in plot


@pytest.mark.parametrize(
    ("changes", "n", "kind", "words"),
    [
        ({}, 40, "better", "+10.0, better"),
        ({"higher_is_better": False}, 40, "worse", "+10.0, worse"),
        ({"difference": {"value": -0.04, "low": -2.0, "high": 1.0, "p": 0.6}}, 40, "unclear", "0.0, could be chance"),
        ({}, 19, "unclear", "+10.0, too few to tell"),
        ({"difference": None}, 40, "", ""),
    ],
)
def test_a_difference_in_words(changes: dict[str, Any], n: int, kind: str, words: str) -> None:
    assert report_view.verdict(with_figure(**changes).test_sets[0].figures[0], n) == (kind, words)


@pytest.mark.parametrize(("n", "p"), [(19, "too few"), (20, "0.010")])
def test_a_few_items_have_no_p(n: int, p: str) -> None:
    report = small()
    report["test_sets"][0] |= {"n": n}
    report["test_sets"][0]["figures"][0]["difference"] |= {"p": 0.01}
    assert f'<td class="number" data-label="p">{p}</td>' in report_view.table(parse_report(report))


@pytest.mark.parametrize(("highest", "top"), [(0.0, 1.0), (1.4, 2.0), (41.0, 60.0), (100.0, 100.0), (101.0, 200.0)])
def test_scales_end_at_round_numbers(highest: float, top: float) -> None:
    assert report_view.nice_top(highest) == top


def test_what_is_better_when_lower_has_a_scale_of_its_own() -> None:
    report = small()
    prose = {"title": "bits per character", "higher_is_better": False, "digits": 3}
    figure = report["test_sets"][0]["figures"][0] | prose
    report["test_sets"].append(report["test_sets"][0] | {"name": "prose.x", "figures": [figure]})
    assert report_view.plot(parse_report(report)).count('class="plot"') == 2


def test_slices_are_coloured_by_gain_and_small_ones_are_grey() -> None:
    report = small()
    part = report["test_sets"][0]["slices"][0]
    figure = part["figures"][0]
    worse = figure | {"difference": {"value": -5.0, "low": -8.0, "high": -1.0, "p": 0.01}}
    report["test_sets"][0]["slices"] = [
        part | {"by": "genre", "name": "<b>odd</b>"},
        part | {"by": "length", "name": "long", "n": 30, "enough": True, "figures": [worse]},
        part | {"by": "length", "name": "short", "n": 40, "enough": True},
    ]
    table = slice_table.heat(parse_report(report))
    cells = re.findall(r'<td class="([^"]*)"([^>]*)>(.*?)</td>', table)
    assert [cell[0].split()[:2] for cell in cells] == [["cell", "more"], ["cell", "less"], ["few", "first"]]
    assert "--v:1.000" in cells[0][1]
    assert "--v:0.500" in cells[1][1]
    assert "<strong>−5.0</strong>" in cells[1][2]
    assert "too few to rank" in cells[2][2]
    assert "<b>odd" not in table
    assert slice_table.heat(parse_report(small() | {"test_sets": []})).startswith('<p class="note')


def test_quintiles_of_confidence_tell_what_it_is_worth_and_are_not_in_the_heat_table() -> None:
    report = small()
    assert slice_table.scores(parse_report(report)) == ""
    test_set = report["test_sets"][0]
    part = test_set["slices"][0]
    quintiles = [
        part | {"by": "confidence", "name": name, "n": 80, "bounds": {"low": high - 0.1, "high": high}}
        for name, high in zip(CONFIDENCE_QUINTILES, (0.4, 0.6, 0.8, 0.9, 1.0), strict=True)
    ]
    report["test_sets"] = [test_set | {"slices": [part, *quintiles[:-1]]}, test_set | {"name": "prose.x"}]
    table = slice_table.scores(parse_report(report))
    cells = re.findall(r'<td class="number"[^>]*>(.*?)</td>', table)
    assert cells == [*(f"30.0 <small>to {share}%</small>" for share in (40, 60, 80, 90)), ""]
    assert table.count("<tr>") == 2
    heat = slice_table.heat(parse_report(report))
    assert "least sure" not in heat
    assert "short" in heat


def test_slices_of_what_was_seen_before_say_how_many_sets_are_clean() -> None:
    report = small()
    assert "Contamination" not in slice_table.heat(parse_report(report))
    test_set = report["test_sets"][0]
    part = test_set["slices"][0]
    seen = {"in training": 2, "in validation": 0, "in neither": 38, "files": {"x": 2}}
    report["test_sets"] = [
        test_set | {"contamination": seen, "slices": [part | {"by": "contamination", "name": "in training"}, part]},
        test_set | {"name": "prose.x", "contamination": seen | {"in training": 0, "files": {}}},
        test_set | {"name": "prose.y"},
    ]
    table = slice_table.heat(parse_report(report))
    assert table.index(">Length</th>") < table.index(">Contamination</th>")
    assert "in training" in table
    assert "In 1 of 2 test sets that were checked, none does." in table


@pytest.mark.parametrize(
    ("text", "references", "marked"),
    [
        ("The cat sleeps.", ["The cat sleeps."], []),
        ("The dog sleeps well.", ["The cat sleeps well."], ["dog"]),
        ("a b c d", ["x"], ["a b c d"]),
        ("one two", ["three", "one two"], []),
        ("one two three <b>four", ["one two three"], ["&lt;b&gt;four"]),
        ("it is e\u0301 👩‍🚀 now ?", ["it is e\u0301 👩‍🚀 now !"], ["?"]),
    ],
)
def test_words_that_the_good_answer_lacks_are_marked(text: str, references: list[str], marked: list[str]) -> None:
    from html import escape

    shown = differing(text, references)
    assert re.findall(r"<mark>(.*?)</mark>", shown, re.S) == marked
    assert re.sub(r"</?mark>", "", shown) == escape(text)


def test_the_page_shows_how_a_report_was_made() -> None:
    told = parse_report(small() | {"environment": environment(note="Half <b>elsewhere</b>.")})
    assert "Half &lt;b&gt;elsewhere&lt;/b&gt;." in report_view.about(told, info=INFO)
