""""""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.test_sets import read_test_sets
from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.processes import run_lock
from phi2demo.evaluation.reports import read_report
from phi2demo.evaluation.run import EvaluationSettings, compose, evaluate
from phi2demo.evaluation.slices import CONFIDENCE_QUINTILES
from phi2demo.evaluation.systems import make_system
from phi2demo.evaluation.tables import results_to_markdown
from tests.data.conftest import pair, review
from tests.tasks.scripted import BARE, ScriptedEngine

ROOT = Path(__file__).parents[2]
WEIGHTS = {"adapter/adapter_model.safetensors": "00"}


def settings_for(data: Path, **changes: Any) -> EvaluationSettings:
    return replace(EvaluationSettings(data, data.parent / "report", resamples=100, batch_size=4), **changes)


def run(data: Path, engine: ScriptedEngine | None = None, **changes: Any) -> dict[str, Any]:
    """The JSON values of the report."""
    return evaluate(engine or ScriptedEngine(), settings_for(data, **changes), weights=WEIGHTS).as_dict()


def figure(report: dict[str, Any], test_set: str, metric: str) -> dict[str, Any]:
    (result,) = [m for m in report["test_sets"] if m["name"] == test_set]
    (one,) = [f for f in result["figures"] if f["metric"] == metric]
    return dict(one)


def slice_of(test_set: dict[str, Any], by: str, name: str) -> dict[str, Any]:
    (result,) = [item for item in test_set["slices"] if (item["by"], item["name"]) == (by, name)]
    return dict(result)


def bare(figure: dict[str, Any]) -> dict[str, Any]:
    """Without what only a whole measure has."""
    return {key: value for key, value in figure.items() if key not in ("signature", "baselines")}


def test_every_test_set_has_its_figures(data: Path) -> None:
    report = run(data)
    assert read_report(data.parent / "report" / "report.json").as_dict() == report
    bleu = figure(report, "translation.pairs.en-de", "bleu")
    assert bleu["scores"].keys() == {"finetuned", "base_template", "base_plain"}
    assert bleu["scores"]["finetuned"]["score"] > bleu["scores"]["base_template"]["score"] > 0
    assert bleu["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    best = max(("base_template", "base_plain"), key=lambda system: bleu["scores"][system]["score"])
    assert bleu["base"] == best
    assert bleu["difference"]["value"] == pytest.approx(
        bleu["scores"]["finetuned"]["score"] - bleu["scores"][best]["score"]
    )
    assert figure(report, "summarization.papers", "rouge1")["baselines"]["first_sentence"]["score"] > 0
    for test_set in report["test_sets"]:
        for item in test_set["figures"]:
            for score in item["scores"].values():
                assert score["low"] <= score["score"] + 1e-9
                assert score["score"] <= score["high"] + 1e-9
    assert report["model"]["weights_sha256"] == WEIGHTS
    assert str(data) not in json.dumps(report)
    assert {item["name"] for item in report["skipped"]} == {"simple", "other.en-fr"}
    assert report["speed"]["median_tokens_per_s"] > 0


def test_a_slice_has_the_figures_of_its_items_alone(data: Path) -> None:
    """As a run would give over a folder that holds only these items."""
    path = data / "sentiment" / "reviews.test.jsonl"
    genres = ["e-mail", "story", "story"] * 20
    rows = [review(number) | {"genre": genre} for number, genre in enumerate(genres)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [pair(number) | {"source": f"word {number} " * (1 + number % 7)} for number in range(40)]
    translations = data / "translation" / "pairs.en-de.test.jsonl"
    (data / "translation" / "pairs.en-de.test.jsonl.xz").unlink()
    translations.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    chosen = {"tasks": ("sentiment", "translation"), "baselines": False}
    report = run(data, **chosen)
    whole = {test_set["name"]: test_set for test_set in report["test_sets"]}
    assert report["slicing"]["least_to_rank"] == 20
    stories = slice_of(whole["sentiment.reviews"], "genre", "story")
    assert (stories["n"], stories["enough"]) == (40, True)
    assert slice_of(whole["sentiment.reviews"], "length", "short")["n"] == 60
    long = slice_of(whole["translation.pairs.en-de"], "length", "medium")
    assert 0 < long["n"] < 40
    for test_set in whole.values():
        for by in ("length", "complexity"):
            assert sum(item["n"] for item in test_set["slices"] if item["by"] == by) == test_set["n"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row["genre"] == "story"))
    kept = [row for row in pairs if 9 <= len(row["source"].split()) <= 20]
    translations.write_text("".join(json.dumps(row) + "\n" for row in kept))
    alone = {m["name"]: m for m in run(data, **chosen, output=data.parent / "alone")["test_sets"]}
    for result, test_set in ((stories, "sentiment.reviews"), (long, "translation.pairs.en-de")):
        assert [bare(item) for item in alone[test_set]["figures"]] == result["figures"]


def test_what_may_have_been_seen_is_counted_and_scored_apart(data: Path) -> None:
    seen = [review(number) for number in range(6)]
    path = data / "sentiment" / "reviews.validation.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in seen))
    (reviews,) = run(data, tasks=("sentiment",), baselines=False)["test_sets"]
    held = {"sentiment/reviews.validation.jsonl": 6}
    assert reviews["contamination"] == {"in training": 0, "in validation": 6, "in neither": 3, "files": held}
    clean = slice_of(reviews, "contamination", "in neither")
    assert clean["n"] == 3
    (data / "sentiment" / "reviews.test.jsonl").write_text(
        "".join(json.dumps(review(number)) + "\n" for number in range(6, 9))
    )
    (alone,) = run(data, tasks=("sentiment",), baselines=False, output=data.parent / "alone")["test_sets"]
    assert [bare(item) for item in alone["figures"]] == clean["figures"]
    assert alone["contamination"]["in neither"] == 3
    assert not [item for item in alone["slices"] if item["by"] == "contamination"]
    left = run(data, tasks=("sentiment",), baselines=False, contamination=False, output=data.parent / "alone")[
        "test_sets"
    ][0]
    assert left["contamination"] is None


def test_answers_have_a_confidence_and_are_scored_by_its_quintiles(data: Path) -> None:
    path = data / "translation" / "pairs.en-de.test.jsonl"
    (data / "translation" / "pairs.en-de.test.jsonl.xz").unlink()
    rows = [pair(number) | {"source": f"{'word ' * (number % 11)}number {number}"} for number in range(110)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    test_sets = {item["name"]: item for item in run(data, baselines=False)["test_sets"]}
    for name in ("translation.pairs.en-de", "question_answering.questions", "sentiment.reviews"):
        for system in ("finetuned", "base_plain"):
            lines = (data.parent / "report" / "outputs" / f"{name}.{system}.jsonl").read_text().splitlines()[1:]
            assert all(0 < json.loads(line)["confidence"] <= 1 for line in lines), (name, system)
    parts = [item for item in test_sets["translation.pairs.en-de"]["slices"] if item["by"] == "confidence"]
    assert [item["name"] for item in parts] == list(CONFIDENCE_QUINTILES)
    assert [item["n"] for item in parts] == [22] * 5
    assert all(low["bounds"]["high"] <= high["bounds"]["low"] for low, high in pairwise(parts))
    assert all({"finetuned", "base_plain"} <= item["figures"][0]["scores"].keys() for item in parts)
    assert "confidence" not in {item["by"] for item in test_sets["sentiment.reviews"]["slices"]}, "too few"


def test_the_base_better_by_fewer_bits_is_chosen(data: Path) -> None:
    bits = figure(run(data), "prose.tales", "bits_per_character")
    assert bits["base"] == "base_plain"
    assert not bits["higher_is_better"]


def test_a_rerun_asks_nothing_and_gives_the_same_figures(data: Path) -> None:
    first = run(data)
    engine = ScriptedEngine(lambda prompt: pytest.fail("asked again") if "Once upon" not in prompt.text else " a")
    again = run(data, engine)
    assert again["test_sets"] == first["test_sets"]
    fresh = run(data, output=data.parent / "other")
    for one, other in zip(fresh["test_sets"], first["test_sets"], strict=True):
        assert one["figures"] == other["figures"]


KILLED = """
import os, signal, sys
from pathlib import Path
from phi2demo.evaluation.run import EvaluationSettings, evaluate
from tests.tasks.scripted import ScriptedEngine, shout

class Killed(ScriptedEngine):
    def stream(self, prompts, options, *, cancel=None):
        if len(self.batches) >= int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().stream(prompts, options, cancel=cancel)

data = Path(sys.argv[1])
evaluate(Killed(), EvaluationSettings(data, data.parent / "report", resamples=100, batch_size=4), weights={})
"""


def test_kill_9_and_rerun(data: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(data), "12"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    answered = sum(len(p.read_bytes().splitlines()) - 1 for p in (data.parent / "report" / "outputs").iterdir())
    assert answered > 0
    engine = ScriptedEngine()
    report = run(data, engine)
    fresh_engine = ScriptedEngine()
    fresh = run(data, fresh_engine, output=data.parent / "other")
    assert [m["figures"] for m in report["test_sets"]] == [m["figures"] for m in fresh["test_sets"]]
    assert 0 < sum(map(len, engine.batches)) < sum(map(len, fresh_engine.batches))
    for path in (data.parent / "other" / "outputs").iterdir():
        ours = [json.loads(line) for line in (data.parent / "report" / "outputs" / path.name).read_text().splitlines()]
        theirs = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(o.get("index"), o.get("output")) for o in ours] == [(o.get("index"), o.get("output")) for o in theirs]


def test_two_runs_in_one_folder_are_refused(data: Path) -> None:
    with run_lock(data.parent / "report"), pytest.raises(SettingsError, match="Another run writes into"):
        run(data)
    assert run(data)["environment"]["processes"] == 1


def test_another_model_or_limit_is_not_mixed_in(data: Path) -> None:
    run(data)
    other = ScriptedEngine(info=replace(ScriptedEngine().info, adapter_revision="cccccccccccc"))
    with pytest.raises(SettingsError, match=r"finetuned\.jsonl holds answers to other questions"):
        run(data, other)
    with pytest.raises(SettingsError, match="holds answers to other questions"):
        run(data, limit=2)


def test_a_base_without_adapter_is_evaluated_alone(data: Path) -> None:
    report = run(data, ScriptedEngine(info=BARE))
    for test_set in report["test_sets"]:
        for item in test_set["figures"]:
            assert "finetuned" not in item["scores"]
            assert "difference" not in item
    assert "finetuned" not in results_to_markdown(read_report(data.parent / "report" / "report.json").test_sets)


def test_selections(data: Path) -> None:
    report = run(data, tasks=("sentiment",), systems=("finetuned", "base_plain"), limit=3, baselines=False)
    (test_set,) = report["test_sets"]
    assert (test_set["name"], test_set["n"]) == ("sentiment.reviews", 3)
    assert test_set["figures"][0]["scores"].keys() == {"finetuned", "base_plain"}
    with pytest.raises(DataError, match="nothing to measure as 'sentimental'"):
        run(data, tasks=("sentimental",))


def test_a_name_that_cannot_stand_in_a_report_is_refused_before_anything_is_asked(data: Path) -> None:
    (data / "sentiment" / "reviews.test.jsonl").rename(data / "sentiment" / "re\x07views.test.jsonl")
    engine = ScriptedEngine()
    with pytest.raises(DataError, match="Rename the file"):
        run(data, engine)
    assert not engine.batches


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"batch_size": 0}, {"resamples": 5}, {"seed": -1}, {"systems": ("x",)}]
)
def test_settings_out_of_range(data: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong)).rstrip("s")):
        settings_for(data, **wrong)


def test_batches_hold_each_item_once_by_length(data: Path) -> None:
    (test_set,) = [m for m in read_test_sets(data)[0] if m.name == "translation.pairs.en-de"]
    system = make_system("finetuned", ScriptedEngine(), test_set, seed=0)
    assert system is not None
    batches = compose(system, len(test_set.items), size=4)
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(11))
    assert list(map(len, batches)) == [4, 4, 3]
    lengths = [len(system.prompt(test_set.items[index])) for index in order]
    assert lengths == sorted(lengths, reverse=True)


def test_unanswered_items_count(data: Path) -> None:
    path = data / "qa" / "questions.test.jsonl"
    row = {"context": "much too long " * 300, "question": "What?", "answers": [{"text": "long"}]}
    (data / "qa" / "questions.jsonl").unlink()
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"context": "long"}) + "\n")
    (test_set,) = run(data, tasks=("question_answering",))["test_sets"]
    assert test_set["n"] == 2
    assert set(test_set["unanswered"].values()) == {1}
    assert test_set["figures"][0]["scores"]["base_plain"]["score"] <= 50


HASH = """
import sys
from dataclasses import replace
from pathlib import Path
from phi2demo.data.test_sets import read_test_sets
from phi2demo.evaluation.run import _hash_prompts
from phi2demo.evaluation.systems import make_system
from tests.tasks.scripted import INFO, ScriptedEngine

engine = ScriptedEngine(info=replace(INFO, template="chatml"))
system = make_system("finetuned", engine, read_test_sets(Path(sys.argv[1]))[0][0], seed=1)
print(_hash_prompts(system, "finetuned", batch_size=4))
"""


def test_another_process_continues_answers_to_a_template_with_special_tokens(data: Path) -> None:
    """Each process marks special tokens in its own way, which is no part of what was asked."""
    hashes = {
        subprocess.run(
            [sys.executable, "-c", HASH, str(data)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
        ).stdout
        for _ in range(2)
    }
    assert len(hashes) == 1
