"""Reports on disk, with the items and answers beside them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.evaluation.examples import examples_of, ordered
from phi2demo.evaluation.reports import (
    SET_REPORT,
    examples_beside,
    kept_reports,
    shipped_test_sets,
    to_jsonl,
    to_zip,
)
from phi2demo.evaluation.run import EvaluationSettings, evaluate
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


def test_the_reports_of_the_loaded_weights_and_the_shipped_set_come_first(reports_folder: Path) -> None:
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
    right = {index: item.references[0] for index, item in enumerate(test_set.items)}
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


def test_answers_and_an_archive_to_take_away(data: Path) -> None:
    import io
    import zipfile

    (test_set,) = [m for m in shipped_test_sets(data) if m.name == "sentiment.reviews"]
    (line,) = to_jsonl(examples_of(test_set, {"finetuned": {0: "negative"}})).splitlines()
    assert json.loads(line)["outputs"] == {"finetuned": "negative"}
    packed = to_zip({"a.txt": "ä"})
    assert packed == to_zip({"a.txt": "ä"})
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.read("a.txt").decode() == "ä"
