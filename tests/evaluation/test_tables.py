"""The tables of a report, in Markdown and as CSV."""

import csv
import io
from typing import Any

import pytest

from phi2demo.evaluation.report import TestSetResult
from phi2demo.evaluation.tables import contamination_to_markdown, results_to_markdown, to_csv
from tests.evaluation.test_report import parse_report, small


def results(*changes: dict[str, Any]) -> list[TestSetResult]:
    """Test sets that are like the one of a small report, without slices, but for these changes."""
    (test_set,) = small()["test_sets"]
    test_sets = [test_set | {"n": 5, "figures": [FIGURE], "slices": []} | change for change in changes]
    return list(parse_report(small() | {"test_sets": test_sets}).test_sets)


FIGURE: dict[str, Any] = {
    "metric": "bleu",
    "title": "BLEU",
    "higher_is_better": True,
    "digits": 1,
    "scores": {
        "finetuned": {"score": 21.46, "low": 18.0, "high": 25.0},
        "base_template": {"score": 0.1, "low": 0.0, "high": 0.2},
        "base_plain": {"score": 16.64, "low": 9.8, "high": 23.7},
    },
    "baselines": {"xz": {"score": 2.0, "low": None, "high": None}},
    "base": "base_plain",
    "difference": {"value": 4.82, "low": 1.0, "high": 8.0, "p": 0.014},
}


def test_a_row_says_all_of_a_figure() -> None:
    test_sets = results({"name": "translation.tatoeba.en-de", "n": 1618})
    head, rule, row = results_to_markdown(test_sets).split("\n")
    assert head == ("| test set | metric | n | finetuned | base, template | base, plain | baselines | difference | p |")
    assert rule.count("---") == 9
    assert row == (
        "| translation.tatoeba.en-de | BLEU | 1,618 | 21.5 (18.0 to 25.0) | 0.1 (0.0 to 0.2) | 16.6 (9.8 to 23.7) | "
        "xz 2.0 | +4.8 (+1.0 to +8.0) to base, plain | 0.014 |"
    )


def test_what_was_not_asked_is_left_out() -> None:
    bare = FIGURE | {"scores": {"base_plain": FIGURE["scores"]["base_plain"]}, "baselines": {}}
    del bare["difference"]
    head, _, row = results_to_markdown(results({"name": "x", "figures": [bare]})).split("\n")
    assert head == "| test set | metric | n | base, plain |"
    assert row == "| x | BLEU | 5 | 16.6 (9.8 to 23.7) |"


def test_slices_have_a_second_table() -> None:
    slices = [
        {"by": "length", "name": "short", "n": 20, "enough": True, "figures": [FIGURE]},
        {"by": "genre", "name": "e-mail", "n": 19, "enough": False, "figures": [FIGURE]},
    ]
    test_sets = results({"name": "old"}, {"name": "x", "slices": slices})
    whole, sliced = results_to_markdown(test_sets, slices=True).split("\n\n")
    assert whole == results_to_markdown(test_sets)
    head, _, *rows = sliced.split("\n")
    scores = "21.5 (18.0 to 25.0) | 0.1 (0.0 to 0.2) | 16.6 (9.8 to 23.7)"
    assert head == (
        "| test set | slice | metric | n | finetuned | base, template | base, plain | baselines | difference | p |"
    )
    assert rows == [
        f"| x | length: short | BLEU | 20 | {scores} | xz 2.0 | +4.8 (+1.0 to +8.0) to base, plain | 0.014 |",
        f"| x | genre: e-mail | BLEU | 19 | {scores} | xz 2.0 | +4.8 (+1.0 to +8.0) to base, plain | too few |",
    ]


def test_what_may_have_been_seen_is_a_table_and_a_line() -> None:
    held = {"reviews.validation.jsonl": 795, "a|b.train.jsonl": 1}
    seen = {"in training": 1, "in validation": 795, "in neither": 76, "files": held}
    clean: dict[str, Any] = {"in training": 0, "in validation": 0, "in neither": 9, "files": {}}
    test_sets = results(
        {"name": "sentiment.sst2", "contamination": seen},
        {"name": "prose.tales", "contamination": clean},
        {"name": "own", "contamination": None},
        {"name": "old"},
    )
    table, line = contamination_to_markdown(test_sets).split("\n\n")
    assert table.split("\n")[0] == "| test set | in training | in validation | in neither | found in |"
    assert table.split("\n")[2:] == [
        r"| sentiment.sst2 | 1 | 795 | 76 | reviews.validation.jsonl 795; a\|b.train.jsonl 1 |"
    ]
    assert line == "In 1 of the 2 test sets that were looked up, no item appears there. Not looked up: own, old."
    only_clean = contamination_to_markdown(test_sets[1:2])
    assert only_clean == "In 1 of the 1 test sets that were looked up, no item appears there."
    assert contamination_to_markdown(test_sets[2:]) == ""
    together = contamination_to_markdown(results({"name": "x", "contamination": clean | {"in training": 2}}))
    assert "| x | 2 | 0 | 9 |  |" in together, "which several files hold only together"


def test_names_of_a_person_s_own_data_do_not_break_a_table() -> None:
    named = {"by": "genre", "name": "e|mail\nor\u2028not", "n": 19, "enough": False, "figures": [FIGURE]}
    test_sets = results({"name": "prose.a|b\u2029c", "slices": [named]})
    text = results_to_markdown(test_sets, slices=True)
    lines = [line for line in text.split("\n") if line]
    assert all(len(line.replace(r"\|", "").split("|")) in (11, 12) for line in lines), lines
    assert len(text.splitlines()) == 7
    assert r"| prose.a\|b c | genre: e\|mail or not |" in text


def test_without_slices_there_is_one_table() -> None:
    assert results_to_markdown(results({}), slices=True) == results_to_markdown(results({}))
    assert results_to_markdown([], slices=True) == ""


def test_a_table_says_where_less_is_more() -> None:
    bits = FIGURE | {"title": "bits per character", "higher_is_better": False}
    assert "| bits per character (lower is better) |" in results_to_markdown(results({"figures": [bits]}))


@pytest.mark.parametrize(
    ("value", "p", "n", "higher_is_better", "verdict"),
    [
        (4.8, 0.01, 20, True, "better"), (4.8, 0.01, 20, False, "worse"), (-4.8, 0.01, 20, True, "worse"),
        (4.8, 0.05, 20, True, "unclear"), (0.0, 0.01, 20, True, "unclear"), (4.8, 0.01, 19, True, "too few"),
    ],
)  # fmt: skip
def test_the_verdict_on_a_difference(value: float, p: float, n: int, higher_is_better: bool, verdict: str) -> None:
    difference = {"value": value, "low": -9.0, "high": 9.0, "p": p}
    changed = FIGURE | {"higher_is_better": higher_is_better, "difference": difference}
    (test_set,) = results({"figures": [changed]})
    assert test_set.figures[0].verdict(n) == verdict


def test_csv_has_a_line_for_each_figure_with_numbers_in_full() -> None:
    document = small()
    document["test_sets"][0]["name"] = "=cmd|' /C calc'!A0"
    rows = list(csv.DictReader(io.StringIO(to_csv(parse_report(document)))))
    assert [(row["slice_by"], row["slice"], row["n"]) for row in rows] == [("", "", "40"), ("length", "short", "3")]
    assert rows[0]["test_set"].startswith("'=")
    assert (rows[0]["finetuned"], rows[0]["difference"], rows[0]["p"]) == ("30.0", "10.0", "0.01")
