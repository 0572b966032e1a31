""""""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.errors import DataError
from phi2demo.evaluation.examples import examples_of, ordered
from phi2demo.evaluation.report import (
    ContaminationValue,
    as_report,
    contamination_to_markdown,
    load_report,
    read_report,
    to_markdown,
)
from phi2demo.evaluation.reports import (
    SET_REPORT,
    examples_beside,
    kept_reports,
    shipped_test_sets,
    to_csv,
    to_json,
    to_jsonl,
    to_zip,
)
from phi2demo.evaluation.run import EvaluationSettings, evaluate
from phi2demo.settings import ASSETS
from tests.tasks.scripted import INFO, ScriptedEngine


@pytest.fixture
def reports_folder(data: Path) -> Path:
    """A folder of reports: of the shipped set with its answers, of other data, of other weights, and an audit."""
    folder = data.parent / "reports_folder"
    folder.mkdir()
    data.rename(folder / "set")
    settings = EvaluationSettings(folder / "set", folder / "set_report", resamples=100, baselines=False)
    evaluate(ScriptedEngine(), settings, weights={})
    other = ScriptedEngine(info=replace(INFO, adapter_revision="cccccccccccc"))
    evaluate(other, replace(settings, output=folder / "other", limit=2), weights={})
    (folder / "other" / "report.json").rename(folder / "z.json")
    (folder / "audit.json").write_text('{"format": 1, "probes": []}', encoding="utf-8")
    (folder / "broken.json").write_text("{", encoding="utf-8")
    return folder


def small() -> dict[str, Any]:
    figure = {
        "metric": "bleu", "title": "BLEU", "higher_is_better": True, "digits": 1,
        "scores": {
            "finetuned": {"score": 30, "low": 25.0, "high": 35.0},
            "base_plain": {"score": 20.0, "low": None, "high": None},
        },
        "base": "base_plain", "difference": {"value": 10.0, "low": 5.0, "high": 15.0, "p": 0.01},
    }  # fmt: skip
    part = {"by": "length", "name": "short", "n": 3, "enough": False, "figures": [figure]}
    test_set = {
        "name": "translation.x.en-de", "task": "translation", "data": {"sha256": "00"}, "n": 40, "figures": [figure],
        "slices": [part],
    }  # fmt: skip
    model = {"base": "b", "base_revision": "aaaaaaaaaaaa", "adapter": "a", "adapter_revision": "bbbbbbbbbbbb",
             "device": "cpu", "dtype": "float32"}  # fmt: skip
    return {
        "made_at": "2026-11-24T00:45:07+00:00",
        "settings": {"limit": None},
        "model": model,
        "test_sets": [test_set],
    }


def test_contamination_is_read_where_it_was_looked_up() -> None:
    report = small()
    assert as_report(report).test_sets[0].contamination is None
    report["test_sets"][0]["contamination"] = {"in training": 2, "in validation": 5, "in neither": 33, "files": {}}
    assert as_report(report).test_sets[0].contamination == ContaminationValue(2, 5)
    report["test_sets"][0]["contamination"]["in training"] = "all"
    with pytest.raises(DataError, match=r"test_sets\[0\]\.contamination\.in training is 'all'"):
        as_report(report)


def test_the_bounds_of_a_fifth_are_read() -> None:
    report = small()
    part = report["test_sets"][0]["slices"][0]
    report["test_sets"][0]["slices"] = [
        part | {"by": "confidence", "name": "least sure", "bounds": {"low": 0.1, "high": 0.25}},
        part,
    ]
    assert [each.bounds for each in as_report(report).test_sets[0].slices] == [(0.1, 0.25), None]
    report["test_sets"][0]["slices"][0]["bounds"] = {"low": 0.1}
    with pytest.raises(DataError, match=r"bounds\.high is missing"):
        as_report(report)


def test_reports_of_this_project_read_back() -> None:
    paths = sorted((ASSETS / "evaluation").glob("*.json"))
    reports = [load_report(path) for path in paths if "test_sets" in json.loads(path.read_text(encoding="utf-8"))]
    assert reports
    for report in reports:
        assert report.items > 0
        assert "finetuned" in report.systems


def test_values_are_what_the_file_says() -> None:
    report = as_report(small())
    (figure,) = report.test_sets[0].figures
    assert figure.difference is not None
    assert (figure.scores["finetuned"].score, figure.difference.value, figure.difference.is_clear) == (30.0, 10.0, True)
    assert figure.gain == 10.0
    assert report.test_sets[0].slices[0].enough is False
    assert report.is_of(INFO)
    assert not report.is_of(replace(INFO, adapter_revision="cccccccccccc"))
    told = replace(report, adapter_revision="bbbbbbbbbbbb-11111111")
    assert report.is_of(replace(INFO, adapter_revision=told.adapter_revision)), "written before settings were told"
    assert told.is_of(replace(INFO, adapter_revision=told.adapter_revision))
    assert not told.is_of(replace(INFO, adapter_revision="bbbbbbbbbbbb-22222222"))


def test_less_is_a_gain_where_lower_is_better() -> None:
    changed = small()
    changed["test_sets"][0]["figures"][0]["higher_is_better"] = False
    assert as_report(changed).test_sets[0].figures[0].gain == -10.0


_MISSING = object()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["test_sets"], None), (["test_sets"], {}), (["test_sets", 0], 3), (["made_at"], _MISSING), (["model"], []),
        (["model", "base"], 3), (["model", "base"], "x" * 1000), (["test_sets", 0, "n"], -1), (["test_sets", 0, "n"], True),
        (["test_sets", 0, "data"], _MISSING), (["test_sets", 0, "figures", 0, "digits"], "1"),
        (["test_sets", 0, "figures", 0, "scores", "finetuned", "score"], float("nan")),
        (["test_sets", 0, "figures", 0, "scores", "finetuned"], None),
        (["test_sets", 0, "figures", 0, "scores", "finetuned", "score"], 10**400),
        (["test_sets", 0, "name"], "half of a pair \ud800"), (["test_sets", 0, "name"], "a\x00b"),
        (["test_sets", 0, "figures", 0, "base"], "<script>"),
        (["test_sets", 0, "figures", 0, "difference", "p"], "0"),
        (["test_sets", 0, "slices", 0, "by"], "mood"), (["settings", "limit"], "all"),
    ],
)  # fmt: skip
def test_a_report_with_a_wrong_field_is_refused_by_name(path: list[Any], value: object) -> None:
    wrong = copy.deepcopy(small())
    place: Any = wrong
    for key in path[:-1]:
        place = place[key]
    if value is _MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    named = next(key for key in reversed(path) if isinstance(key, str))
    with pytest.raises(DataError, match=f"no report of an evaluation.*{named}"):
        as_report(wrong)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"test_sets": 3}', b"\xff\xfe\x00", b"[" * 200_000])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some\.json is"):
        load_report(path)


def test_the_shelf_puts_the_loaded_weights_and_the_shipped_set_first(reports_folder: Path) -> None:
    kept = kept_reports(reports_folder, info=INFO)
    assert [each.name for each in kept] == [SET_REPORT, "z.json"]
    assert kept[0].title.startswith("Shipped set: ")
    assert "first 2 of each" in kept[1].title
    other = kept_reports(reports_folder, info=replace(INFO, adapter_revision="cccccccccccc"))
    assert [each.name for each in other] == ["z.json", SET_REPORT]
    assert kept_reports(reports_folder / "nowhere") == []


def test_examples_come_from_the_answers_beside_a_report(reports_folder: Path) -> None:
    kept = kept_reports(reports_folder, info=INFO)
    path = reports_folder / "set_report" / "outputs" / "translation.pairs.en-de.finetuned.jsonl"
    path.write_text(path.read_text("utf-8").replace(" OF 9", "\u2028OF\x859"), encoding="utf-8")
    examples = examples_beside(kept[0], data=reports_folder / "set")
    pairs = [example for example in examples if example.test_set == "translation.pairs.en-de"]
    assert len(pairs) == 11
    assert pairs[3].outputs["finetuned"] == "SENTENCE NUMBER 3\u2028OF\x859"
    assert pairs[3].scores["finetuned"] == pytest.approx(100)
    assert pairs[3].scores["base_template"] < 100
    assert pairs[3].change("base_template") > 0
    assert not [example for example in examples if example.kind in ("prose", "continuation")]
    assert examples_beside(kept[1], data=reports_folder / "set") == []  # its answers are elsewhere
    rows = (reports_folder / "set" / "sentiment" / "reviews.test.jsonl").read_text(encoding="utf-8")
    (reports_folder / "set" / "sentiment" / "reviews.test.jsonl").write_text(rows + rows, encoding="utf-8")
    changed = reports_folder.rename(reports_folder.parent / "changed")  # another folder, which is read anew
    again = examples_beside(kept_reports(changed, info=INFO)[0], data=changed / "set")
    assert {example.test_set for example in examples} - {example.test_set for example in again} == {"sentiment.reviews"}
    assert shipped_test_sets(reports_folder / "nowhere") == []


def test_the_worst_the_best_and_the_biggest_change(data: Path) -> None:
    (test_set,) = [m for m in shipped_test_sets(data) if m.name == "sentiment.reviews"]
    right = {at: item.references[0] for at, item in enumerate(test_set.items)}
    finetuned = right | {4: "neither"}
    base = right | {4: "neither", 2: "neither"}
    examples = examples_of(test_set, {"finetuned": finetuned, "base_plain": base})
    assert ordered(examples, "worst", base="base_plain")[0].index == 4
    assert ordered(examples, "best", base="base_plain")[-1].index == 4
    assert ordered(examples, "change", base="base_plain")[0].index == 2
    assert ordered(examples, "change", base=None)[0].index == 4
    assert examples[0].labels["length"] == "short"


def test_item_scores_are_those_of_the_libraries(data: Path) -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import sentence_chrf

    test_sets = {test_set.name: test_set for test_set in shipped_test_sets(data)}
    pairs = test_sets["translation.pairs.en-de"]
    (example, *_) = examples_of(pairs, {"base_plain": {0: "Satz 0 und mehr"}})
    assert example.scores["base_plain"] == pytest.approx(
        sentence_chrf("Satz 0 und mehr", list(example.references)).score
    )
    (paper, *_) = examples_of(test_sets["summarization.papers"], {"base_plain": {1: "1 cat sleeps"}})
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    wanted = max(scorer.score(text, "1 cat sleeps")["rougeL"].fmeasure for text in paper.references)
    assert paper.scores["base_plain"] == pytest.approx(100 * wanted)


def test_files_to_take_away(data: Path) -> None:
    import csv
    import io
    import zipfile

    document = small()
    document["test_sets"][0]["name"] = "=cmd|' /C calc'!A0"
    report = as_report(document)
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [(row["slice_by"], row["slice"], row["n"]) for row in rows] == [("", "", "40"), ("length", "short", "3")]
    assert rows[0]["test_set"].startswith("'=")
    assert (rows[0]["finetuned"], rows[0]["difference"], rows[0]["p"]) == ("30.0", "10.0", "0.01")
    assert json.loads(to_json(document)) == document
    (test_set,) = [m for m in shipped_test_sets(data) if m.name == "sentiment.reviews"]
    (line,) = to_jsonl(examples_of(test_set, {"finetuned": {0: "negative"}})).splitlines()
    assert json.loads(line)["outputs"] == {"finetuned": "negative"}
    packed = to_zip({"a.txt": "ä"})
    assert packed == to_zip({"a.txt": "ä"})
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.read("a.txt").decode() == "ä"


def test_how_a_report_was_made_is_read_where_it_says_so() -> None:
    assert as_report(small()).note == as_report(small() | {"environment": {"threads": 2}}).note == ""
    assert as_report(small() | {"environment": {"note": "Half of it elsewhere."}}).note == "Half of it elsewhere."
    with pytest.raises(DataError, match="note"):
        as_report(small() | {"environment": {"note": 5}})


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
    report = {"test_sets": [{"name": "translation.tatoeba.en-de", "n": 1618, "figures": [FIGURE]}]}
    head, rule, row = to_markdown(report).split("\n")
    assert head == (
        "| test set | metric | n | finetuned | base, template | base, plain form | baselines | difference | p |"
    )
    assert rule.count("---") == 9
    assert row == (
        "| translation.tatoeba.en-de | BLEU | 1,618 | 21.5 (18.0 to 25.0) | 0.1 (0.0 to 0.2) | 16.6 (9.8 to 23.7) | "
        "xz 2.0 | +4.8 to base, plain form | 0.014 |"
    )


def test_what_was_not_asked_is_left_out() -> None:
    bare = FIGURE | {"scores": {"base_plain": FIGURE["scores"]["base_plain"]}, "baselines": {}}
    del bare["difference"]
    head, _, row = to_markdown({"test_sets": [{"name": "x", "n": 5, "figures": [bare]}]}).split("\n")
    assert head == "| test set | metric | n | base, plain form | baselines | difference | p |"
    assert row == "| x | BLEU | 5 | 16.6 (9.8 to 23.7) |  |  |  |"


def test_slices_are_told_in_a_table_of_their_own() -> None:
    slices = [
        {"by": "length", "name": "short", "n": 20, "enough": True, "figures": [FIGURE]},
        {"by": "genre", "name": "e-mail", "n": 19, "enough": False, "figures": [FIGURE]},
    ]
    old = {"name": "old", "n": 5, "figures": [FIGURE]}
    report = {"test_sets": [old, old | {"name": "x", "slices": slices}]}
    whole, sliced = to_markdown(report, slices=True).split("\n\n")
    assert whole == to_markdown(report)
    head, _, *rows = sliced.split("\n")
    scores = "21.5 (18.0 to 25.0) | 0.1 (0.0 to 0.2) | 16.6 (9.8 to 23.7)"
    assert head == (
        "| test set | slice | metric | n | finetuned | base, template | base, plain form | difference | p |"
    )
    assert rows == [
        f"| x | length: short | BLEU | 20 | {scores} | +4.8 to base, plain form | 0.014 |",
        f"| x | genre: e-mail | BLEU | 19 | {scores} | too few to rank |  |",
    ]


def test_what_may_have_been_seen_is_a_table_and_a_line() -> None:
    held = {"reviews.validation.jsonl": 795, "a|b.train.jsonl": 1}
    seen = {"in training": 1, "in validation": 795, "in neither": 76, "files": held}
    clean: dict[str, Any] = {"in training": 0, "in validation": 0, "in neither": 9, "files": {}}
    test_sets = [
        {"name": "sentiment.sst2", "contamination": seen},
        {"name": "prose.tales", "contamination": clean},
        {"name": "own", "contamination": None},
        {"name": "old"},
    ]
    table, line = contamination_to_markdown(test_sets).split("\n\n")
    assert table.split("\n")[0] == "| test set | in training | in validation | in neither | held by |"
    assert table.split("\n")[2:] == [
        r"| sentiment.sst2 | 1 | 795 | 76 | reviews.validation.jsonl 795; a\|b.train.jsonl 1 |"
    ]
    assert line == "Of 1 of the 2 measures that were looked up no item stands there. Not looked up: own, old."
    assert (
        contamination_to_markdown(test_sets[1:2]) == "Of 1 of the 1 measures that were looked up no item stands there."
    )
    assert contamination_to_markdown(test_sets[2:]) == ""
    together = contamination_to_markdown([{"name": "x", "contamination": clean | {"in training": 2}}])
    assert "| x | 2 | 0 | 9 |  |" in together, "which several files hold only together"


def test_names_of_a_person_s_own_data_do_not_break_a_table() -> None:
    named = {"by": "genre", "name": "e|mail\nor\u2028not", "n": 19, "enough": False, "figures": [FIGURE]}
    measured = {"name": "prose.a|b\rc", "n": 5, "figures": [FIGURE], "slices": [named]}
    text = to_markdown({"test_sets": [measured]}, slices=True)
    lines = [line for line in text.split("\n") if line]
    assert all(len(line.replace(r"\|", "").split("|")) in (11, 10) for line in lines), lines
    assert len(text.splitlines()) == 7
    assert r"| prose.a\|b c | genre: e\|mail or not |" in text


def test_a_report_from_before_there_were_slices_still_reads() -> None:
    report = {"test_sets": [{"name": "x", "n": 5, "figures": [FIGURE]}]}
    assert to_markdown(report, slices=True) == to_markdown(report)


def test_a_table_says_where_less_is_more() -> None:
    bits = FIGURE | {"title": "bits per character", "higher_is_better": False}
    assert "| bits per character (lower is better) |" in to_markdown(
        {"test_sets": [{"name": "x", "n": 5, "figures": [bits]}]}
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not JSON"), (b"\xff\xfe", "it is not JSON"), (b"[]", "it has no list of measures"),
        (b"{}", "it has no list of measures"), (b'{"test_sets": 5}', "it has no list of measures"),
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
