from pathlib import Path
from typing import Any

import pytest

from phi2demo.errors import DataError
from phi2demo.evaluation.report import contamination_to_markdown, read_report, to_markdown

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
    "peers": {"xz": {"score": 2.0, "low": None, "high": None}},
    "base": "base_plain",
    "difference": {"value": 4.82, "low": 1.0, "high": 8.0, "p": 0.014},
}


def test_a_row_says_all_of_a_figure() -> None:
    report = {"measures": [{"name": "translation.tatoeba.en-de", "n": 1618, "figures": [FIGURE]}]}
    head, rule, row = to_markdown(report).split("\n")
    assert head == ("| measure | metric | n | finetuned | base, template | base, plain form | peers | difference | p |")
    assert rule.count("---") == 9
    assert row == (
        "| translation.tatoeba.en-de | BLEU | 1,618 | 21.5 (18.0 to 25.0) | 0.1 (0.0 to 0.2) | 16.6 (9.8 to 23.7) | "
        "xz 2.0 | +4.8 to base, plain form | 0.014 |"
    )


def test_what_was_not_asked_is_left_out() -> None:
    bare = FIGURE | {"scores": {"base_plain": FIGURE["scores"]["base_plain"]}, "peers": {}}
    del bare["difference"]
    head, _, row = to_markdown({"measures": [{"name": "x", "n": 5, "figures": [bare]}]}).split("\n")
    assert head == "| measure | metric | n | base, plain form | peers | difference | p |"
    assert row == "| x | BLEU | 5 | 16.6 (9.8 to 23.7) |  |  |  |"


def test_slices_are_told_in_a_table_of_their_own() -> None:
    slices = [
        {"by": "length", "name": "short", "n": 20, "enough": True, "figures": [FIGURE]},
        {"by": "genre", "name": "e-mail", "n": 19, "enough": False, "figures": [FIGURE]},
    ]
    old = {"name": "old", "n": 5, "figures": [FIGURE]}
    report = {"measures": [old, old | {"name": "x", "slices": slices}]}
    whole, sliced = to_markdown(report, slices=True).split("\n\n")
    assert whole == to_markdown(report)
    head, _, *rows = sliced.split("\n")
    scores = "21.5 (18.0 to 25.0) | 0.1 (0.0 to 0.2) | 16.6 (9.8 to 23.7)"
    assert head == ("| measure | slice | metric | n | finetuned | base, template | base, plain form | difference | p |")
    assert rows == [
        f"| x | length: short | BLEU | 20 | {scores} | +4.8 to base, plain form | 0.014 |",
        f"| x | genre: e-mail | BLEU | 19 | {scores} | too few to rank |  |",
    ]


def test_what_may_have_been_seen_is_a_table_and_a_line() -> None:
    held = {"reviews.validation.jsonl": 795, "a|b.train.jsonl": 1}
    seen = {"in training": 1, "in validation": 795, "in neither": 76, "files": held}
    clean: dict[str, Any] = {"in training": 0, "in validation": 0, "in neither": 9, "files": {}}
    measures = [
        {"name": "sentiment.sst2", "contamination": seen},
        {"name": "prose.tales", "contamination": clean},
        {"name": "own", "contamination": None},
        {"name": "old"},
    ]
    table, line = contamination_to_markdown(measures).split("\n\n")
    assert table.split("\n")[0] == "| measure | in training | in validation | in neither | held by |"
    assert table.split("\n")[2:] == [
        r"| sentiment.sst2 | 1 | 795 | 76 | reviews.validation.jsonl 795; a\|b.train.jsonl 1 |"
    ]
    assert line == "Of 1 of the 2 measures that were looked up no item stands there. Not looked up: own, old."
    assert (
        contamination_to_markdown(measures[1:2]) == "Of 1 of the 1 measures that were looked up no item stands there."
    )
    assert contamination_to_markdown(measures[2:]) == ""
    together = contamination_to_markdown([{"name": "x", "contamination": clean | {"in training": 2}}])
    assert "| x | 2 | 0 | 9 |  |" in together, "which several files hold only together"


def test_names_of_a_person_s_own_data_do_not_break_a_table() -> None:
    named = {"by": "genre", "name": "e|mail\nor\u2028not", "n": 19, "enough": False, "figures": [FIGURE]}
    measured = {"name": "prose.a|b\rc", "n": 5, "figures": [FIGURE], "slices": [named]}
    text = to_markdown({"measures": [measured]}, slices=True)
    lines = [line for line in text.split("\n") if line]
    assert all(len(line.replace(r"\|", "").split("|")) in (11, 10) for line in lines), lines
    assert len(text.splitlines()) == 7
    assert r"| prose.a\|b c | genre: e\|mail or not |" in text


def test_a_report_from_before_there_were_slices_still_reads() -> None:
    report = {"measures": [{"name": "x", "n": 5, "figures": [FIGURE]}]}
    assert to_markdown(report, slices=True) == to_markdown(report)


def test_a_table_says_where_less_is_more() -> None:
    bits = FIGURE | {"title": "bits per character", "higher_is_better": False}
    assert "| bits per character (lower is better) |" in to_markdown(
        {"measures": [{"name": "x", "n": 5, "figures": [bits]}]}
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not JSON"), (b"\xff\xfe", "it is not JSON"), (b"[]", "it has no list of measures"),
        (b"{}", "it has no list of measures"), (b'{"measures": 5}', "it has no list of measures"),
        (None, "no such file or directory"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_in_words_and_without_its_folder(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^report\.json is no report of an evaluation: {why}\. Give a report\.json"):
        read_report(path)
