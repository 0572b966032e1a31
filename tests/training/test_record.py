""""""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.corpus import CleaningReport
from phi2demo.emissions.footprint import Hardware
from phi2demo.errors import DataError, SettingsError
from phi2demo.training import record
from phi2demo.training.record import base_hashes, data_hashes, make_output
from tests.cards.reports import stage

from .conftest import write_rows

HARDWARE = Hardware("a CPU", cores=2, memory_gb=1.5)
TOLD = {"steps": 40, "tokens": 4000, "hours": 0.5, "processes": 1, "device": "cpu", "precision": "bf16"}
ROWS = [
    {"step": 20, "tokens": 2000, "loss": 5.0, "learning_rate": 0.003, "tokens_per_s": 90.0, "elapsed_s": 22.0},
    {"step": 20, "validation": {"all": 5.1, "tales": 5.2}},
    {"step": 40, "tokens": 4000, "loss": 4.0, "learning_rate": 0.001, "tokens_per_s": 80.0, "elapsed_s": 50.0},
    {"step": 40, "validation": {"all": 4.1, "tales": 4.2}},
]


def make(folder: Path, **changes: Any) -> record.Stage:
    log = write_rows(folder / "log.jsonl", ROWS)
    settings = {"data": Path("/some/where/texts"), "output": folder, "start": None, "learning_rate": 0.003}
    return record.make_stage(
        "pretraining",
        settings | changes,
        TOLD,
        log,
        hardware=HARDWARE,
        region="France",
        versions={"torch": "2.13"},
        weights={"tales": 3.0, "pairs": 1.0, "novels": 0.0},
        cleaning=(CleaningReport("tales", "prose", {"train": 9}, {"duplicate": 2}),),
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    stage = make(tmp_path)
    written = record.write(tmp_path, record.Record((stage, stage)))
    assert written.name == "pretraining.json"
    (tmp_path / "log.jsonl").unlink()
    assert record.read(tmp_path) == record.Record((stage, stage))


def test_a_stage_tells_all_of_a_run(tmp_path: Path) -> None:
    stage = make(tmp_path)
    assert stage.weights == {"tales": 0.75, "pairs": 0.25}
    assert [(point.tokens, point.loss) for point in stage.curve] == [(2000, 5.0), (4000, 4.0)]
    assert [each.losses["tales"] for each in stage.validations] == [5.2, 4.2]
    assert stage.emissions is not None
    assert (stage.emissions.region, stage.emissions.hours) == ("France", 0.5)
    assert stage.tokens_per_s == pytest.approx(4000 / 1800)
    both = record.Record((stage, stage))
    assert (both.tokens, both.hours) == (8000, 1.0)


@pytest.mark.parametrize(("model", "told"), [("microsoft/phi-2", "microsoft/phi-2"), ("/a/b/base", "base")])
def test_folders_are_told_by_their_last_names(tmp_path: Path, model: str, told: str) -> None:
    settings = make(tmp_path, model=model, start=Path("/some/where/first")).settings
    assert (settings["data"], settings["output"], settings["start"]) == ("texts", tmp_path.name, "first")
    assert settings["model"] == told


def write_flat(folder: Path, **settings: Any) -> Path:
    """As earlier versions wrote it."""
    write_rows(folder / "log.jsonl", ROWS)
    given = {"data": "/some/where/texts", "output": str(folder), "learning_rate": None, "device": "cpu"} | settings
    told = {"settings": given, "tokens": 4000, "hours": 0.5}
    (folder / "pretraining.json").write_text(json.dumps(told))
    (folder / "corpus").mkdir()
    (folder / "corpus" / "streams.json").write_text(json.dumps({"weights": {"tales": 1, "pairs": 3}, "tokens": {}}))
    (folder / "corpus" / "cleaning.json").write_text(json.dumps([{"name": "tales", "kind": "prose", "kept": {}}]))
    return folder


def test_the_flat_form_is_completed_from_the_files_beside_it(tmp_path: Path) -> None:
    told = record.read(write_flat(tmp_path))
    assert told is not None
    (stage,) = told.stages
    assert (stage.steps, stage.tokens, stage.hours) == (40, 4000, 0.5)
    assert stage.settings["learning_rate"] == 0.003
    assert stage.settings["data"] == "texts"
    assert stage.weights == {"tales": 0.25, "pairs": 0.75}
    assert stage.cleaning == (CleaningReport("tales", "prose"),)
    assert len(stage.curve) == len(stage.validations) == 2
    assert (stage.hardware, stage.emissions, stage.precision) == (None, None, None)


def test_a_flat_form_that_went_on_has_the_stages_before(tmp_path: Path) -> None:
    write_flat(tmp_path / "first")
    told = record.read(write_flat(tmp_path / "second", start=str(tmp_path / "first"), learning_rate=0.5))
    assert told is not None
    assert [stage.settings["learning_rate"] for stage in told.stages] == [0.003, 0.5]
    assert told.last.settings["start"] == "first"


def test_no_record(tmp_path: Path) -> None:
    assert record.read(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}', '{"stages": [{"kind": "pretraining"}]}'])
def test_a_malformed_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "pretraining.json").write_text(text)
    with pytest.raises(DataError, match=r"pretraining\.json is no training record"):
        record.read(tmp_path)


@pytest.mark.parametrize("tokens", [None, "380", 3.8e8, -5, float("nan")])
def test_a_record_whose_tokens_are_no_count(tmp_path: Path, tokens: object) -> None:
    record.write(tmp_path, record.Record((stage(),)))
    told = json.loads((tmp_path / "pretraining.json").read_text())
    told["stages"][0]["tokens"] = tokens
    (tmp_path / "pretraining.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"pretraining\.json is no training record .*tokens is"):
        record.read(tmp_path)


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 5000])
def test_a_thinned_curve_keeps_its_ends(count: int) -> None:
    points = [record.Point(step, step * 10, 1.0, 0.1) for step in range(count)]
    thinned = record.thin(points)
    assert len(thinned) == min(count, record.CURVE_POINTS)
    assert thinned[:1] + thinned[-1:] == tuple(points[:1] + points[-1:])
    assert sorted({point.step for point in thinned}) == [point.step for point in thinned]


def test_data_files_are_told_by_their_place_below_the_folder(tmp_path: Path) -> None:
    for name in ("b/x.train.jsonl", "a.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert data_hashes(tmp_path) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.jsonl", "b/x.train.jsonl")
    }


def test_a_base_is_told_by_what_it_computes_with(tiny_base: Path) -> None:
    assert base_hashes(tiny_base).keys() == {"config.json", "model.safetensors", "tokenizer.json"}


def test_a_folder_is_made_with_those_above_it_and_stays_empty(tmp_path: Path) -> None:
    for _ in range(2):
        make_output(tmp_path / "runs" / "base")
    assert list((tmp_path / "runs" / "base").iterdir()) == []


def test_what_cannot_be_written_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "base", Path("/proc/base"), tmp_path / ("long" * 99)):
        with pytest.raises(SettingsError, match=r"^--output .* is no folder that can be written into \(.+\)\. Give"):
            make_output(folder)
