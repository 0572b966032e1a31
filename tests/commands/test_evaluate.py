"""The evaluate command, with a scripted engine and with tiny weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.commands import evaluate
from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.reports import known_test_sets, shipped_test_sets
from phi2demo.settings import ASSETS, EMBEDDED_ADAPTER
from phi2demo.tasks.declared import FILE, AdapterTasks, read_adapter_tasks, register_declared
from tests.tasks.own_tasks import urgency
from tests.tasks.scripted import INFO, ScriptedEngine


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"text": f"The train leaves at {n}.", "label": n % 2} for n in range(6)]
    (folder / "reviews.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [
        {"source": f"Cat {n}.", "target": f"Katze {n}.", "source_lang": "en", "target_lang": "de"} for n in range(3)
    ]
    (folder / "cats.en-de.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return folder


def test_the_table_and_the_report(
    data: Path, tiny_base: Path, tiny_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--data", str(data), "--output", str(tmp_path / "out"), "--model", str(tiny_base), "--resamples", "100"]
    argv += ["--adapter", str(tiny_adapter), "--device", "cpu", "--seed", "1", "--limit", "5"]
    assert evaluate.main("evaluate", argv) == 0
    table = capsys.readouterr().out
    assert "| sentiment.reviews | accuracy | 5 |" in table
    assert "| translation.cats.de-en | chrF | 3 |" in table
    assert evaluate.main("evaluate", [*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["limit"] == 5
    assert {len(digest) for digest in report["model"]["weights_sha256"].values()} == {64}
    assert sorted(report["model"]["weights_sha256"]) == [
        "tiny-adapter/adapter_model.safetensors", "tiny-base/model.safetensors",
    ]  # fmt: skip


def test_what_may_have_been_seen_is_told_beside_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for split, count in (("test", 6), ("train", 4)):
        rows = [{"text": f"a good thing number {number}", "label": 1} for number in range(count)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (data / f"films.{split}.jsonl").write_text(text, encoding="utf-8")
    argv = ["--data", str(data), "--output", str(tmp_path / "report"), "--resamples", "100"]
    assert evaluate.main("evaluate", argv, load_engine=lambda settings: ScriptedEngine()) == 0
    assert "| sentiment.films | 4 | 0 | 2 | films.train.jsonl 4 |" in capsys.readouterr().out
    assert evaluate.main("evaluate", [*argv, "--no-contamination"], load_engine=lambda settings: ScriptedEngine()) == 0
    assert "in training" not in capsys.readouterr().out


def test_the_shipped_set_is_measured_where_no_data_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--output", str(tmp_path), "--tasks", "sentiment", "--resamples", "100", "--slices"]
    assert evaluate.main("evaluate", argv, load_engine=lambda settings: ScriptedEngine()) == 0
    table = capsys.readouterr().out
    assert "| sentiment.reviews_and_moods | accuracy | 54 |" in table
    assert "| sentiment.reviews_and_moods | genre: e-mail | accuracy | 9 |" in table
    assert "| too few |" in table


def engine_of(folder: Path, declared: AdapterTasks) -> ScriptedEngine:
    folder.mkdir()
    (folder / FILE).write_text(declared.to_json())
    return ScriptedEngine(info=replace(INFO, adapter_folder=folder))


def test_of_the_shipped_set_an_adapter_is_asked_what_it_was_finetuned_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = engine_of(tmp_path / "adapter", AdapterTasks(("sentiment", "translation"), languages=("en", "de")))
    argv = ["--output", str(tmp_path / "out"), "--resamples", "100", "--limit", "3", "--json"]
    assert evaluate.main("evaluate", argv, load_engine=lambda settings: engine) == 0
    report = json.loads(capsys.readouterr().out)
    names = [test_set["name"] for test_set in report["test_sets"]]
    assert names == ["translation.everyday.en-de", "translation.everyday.de-en", "sentiment.reviews_and_moods"]
    skipped = {test_set["name"]: test_set["why"] for test_set in report["skipped"]}
    assert skipped["summarization.summaries"] == "the model was not finetuned for the task or the languages"
    assert evaluate.main("evaluate", [*argv, "--tasks", "summarization"], load_engine=lambda settings: engine) == 0
    assert [test_set["task"] for test_set in json.loads(capsys.readouterr().out)["test_sets"]] == ["summarization"]


def test_an_adapter_of_other_tasks_is_not_asked_the_shipped_set(tmp_path: Path) -> None:
    engine = engine_of(tmp_path / "adapter", AdapterTasks(("urgency",), own=(urgency(),)))
    register_declared(tmp_path / "adapter")
    told = (
        "The model was finetuned for urgency, of which the shipped test set has nothing. Give --data with rows of these"
    )
    with pytest.raises(DataError, match=told):
        evaluate.main("evaluate", ["--output", str(tmp_path / "out")], load_engine=lambda settings: engine)


@pytest.mark.parametrize(
    "adapter", [EMBEDDED_ADAPTER, ASSETS / "adapters" / "smollm2-135m"], ids=lambda path: path.name
)
def test_the_shipped_adapters_are_asked_all_that_they_were_finetuned_for(adapter: Path) -> None:
    declared = read_adapter_tasks(adapter)
    asked = {test_set.task for test_set in known_test_sets(shipped_test_sets(), declared)}
    assert asked == set(declared.tasks) - {"generation"}, "the shipped set has no texts to continue"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: --output"),
        (["--data", "/nowhere", "--output", "x"], "--data /nowhere is no folder"),
        (["--data", "a/b", "--output", "x", "--hub-columns", "text"], "field=column"),
        (["--data", "tests", "--output", "x", "--hub-config", "c"], "--hub-config is for a data set of the hub, and"),
        (["--data", "tests", "--output", "x", "--hub-columns", "a=b"], "or leave --hub-columns out"),
        (["--output", "x", "--hub-split", "test"], "--hub-split is for a data set of the hub"),
        (["--data", ".", "--output", "x"], "The output folder x lies in ."),
        (["--data", "tests", "--output", "x", "--limit", "0"], "limit is 0"),
        (["--data", ".", "--output", "x", "--split", "train"], "invalid choice: 'train'"),
        (["--data", "tests", "--output", "x", "--systems", "best"], "no system 'best'"),
    ],
)
def test_refusals_come_before_a_model_is_loaded(argv: list[str], message: str) -> None:
    def load(settings: object) -> ScriptedEngine:
        pytest.fail("loaded")

    with pytest.raises(SettingsError, match=message):
        evaluate.main("evaluate", argv, load_engine=load)
