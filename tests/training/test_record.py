""""""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from phi2demo.data.corpus import CleaningReport
from phi2demo.emissions.footprint import Hardware
from phi2demo.errors import DataError
from phi2demo.training import record
from phi2demo.training.checkpoints import TrainingState
from phi2demo.training.record import Log, read_log
from phi2demo.training.settings import FinetuneSettings, LoopSettings, make_accelerator
from tests.cards.reports import stage

from .conftest import write_rows

HARDWARE = Hardware("a CPU", cores=2, memory_gb=1.5)
LOG_ROWS = [
    {"step": 20, "tokens": 2000, "loss": 5.0, "learning_rate": 0.003, "tokens_per_s": 90.0, "elapsed_s": 22.0},
    {"step": 20, "validation": {"all": 5.1, "tales": 5.2}},
    {"step": 40, "tokens": 4000, "loss": 4.0, "learning_rate": 0.001, "tokens_per_s": 80.0, "elapsed_s": 50.0},
    {"step": 40, "validation": {"all": 4.1, "tales": 4.2}},
]


def make_stage(folder: Path, **changes: Any) -> record.Stage:
    write_rows(folder / "log.jsonl", LOG_ROWS)
    settings = FinetuneSettings(**{"data": Path("/some/where/texts"), "output": folder, "steps": 40, **changes})
    with patch.object(record, "detect_hardware", lambda device, processes: HARDWARE):
        return record.make_stage(
            "finetuning",
            settings,
            settings.loop(40, default_learning_rate=0.003),
            TrainingState(step=40, tokens=4000, elapsed_s=1800.0),
            make_accelerator("fp32", device="cpu"),
            further_settings={"emphasis": {"generation": 2.0}},
            weights={"tales": 3.0, "pairs": 1.0, "novels": 0.0},
            cleaning=(CleaningReport("tales", "prose", {"train": 9}, {"duplicate": 2}),),
        )


def test_a_written_record_is_read_back(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, targets=["fc1"])  # JSON has no tuples
    written = record.write_record(tmp_path, record.Record((stage, stage)))
    assert written.name == "finetuning.json"
    (tmp_path / "log.jsonl").unlink()
    assert record.read_record(tmp_path) == record.Record((stage, stage))


def test_a_stage_describes_a_run(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, region="France")
    assert (stage.steps, stage.tokens, stage.hours, stage.hardware) == (40, 4000, 0.5, HARDWARE)
    assert (stage.processes, stage.device, stage.precision) == (1, "cpu", "no")
    assert stage.versions.keys() > {"python", "torch"}
    assert (stage.settings["learning_rate"], stage.settings["emphasis"]) == (0.003, {"generation": 2.0})
    assert stage.weights == {"tales": 0.75, "pairs": 0.25}
    assert [(point.tokens, point.loss) for point in stage.curve] == [(2000, 5.0), (4000, 4.0)]
    assert [validation.losses["tales"] for validation in stage.validations] == [5.2, 4.2]
    assert stage.emissions is not None
    assert (stage.emissions.region, stage.emissions.hours) == ("France", 0.5)
    assert stage.tokens_per_s == pytest.approx(4000 / 1800)
    both = record.Record((stage, stage))
    assert (both.tokens, both.hours) == (8000, 1.0)


@pytest.mark.parametrize(("model", "recorded"), [("microsoft/phi-2", "microsoft/phi-2"), ("/a/b/base", "base")])
def test_folders_are_recorded_by_their_last_names(tmp_path: Path, model: str, recorded: str) -> None:
    settings = make_stage(tmp_path, model=model).settings
    assert (settings["data"], settings["output"], settings["model"]) == ("texts", tmp_path.name, recorded)


def write_flat(folder: Path, **settings: Any) -> Path:
    """Write a record in the earlier format."""
    write_rows(folder / "log.jsonl", LOG_ROWS)
    all_settings = {
        "data": "/some/where/texts",
        "output": str(folder),
        "learning_rate": None,
        "device": "cpu",
    } | settings
    content = {"settings": all_settings, "tokens": 4000, "hours": 0.5}
    (folder / "pretraining.json").write_text(json.dumps(content))
    (folder / "corpus").mkdir()
    (folder / "corpus" / "streams.json").write_text(json.dumps({"weights": {"tales": 1, "pairs": 3}, "tokens": {}}))
    (folder / "corpus" / "cleaning.json").write_text(json.dumps([{"name": "tales", "kind": "prose", "kept": {}}]))
    return folder


def test_the_flat_format_is_completed_from_the_files_beside_it(tmp_path: Path) -> None:
    read = record.read_record(write_flat(tmp_path))
    assert read is not None
    (stage,) = read.stages
    assert (stage.steps, stage.tokens, stage.hours) == (40, 4000, 0.5)
    assert stage.settings["learning_rate"] == 0.003
    assert stage.settings["data"] == "texts"
    assert stage.weights == {"tales": 0.25, "pairs": 0.75}
    assert stage.cleaning == (CleaningReport("tales", "prose"),)
    assert len(stage.curve) == len(stage.validations) == 2
    assert (stage.hardware, stage.emissions, stage.precision) == (None, None, None)


def test_a_flat_record_that_continues_another_has_its_stages(tmp_path: Path) -> None:
    write_flat(tmp_path / "first")
    read = record.read_record(write_flat(tmp_path / "second", start=str(tmp_path / "first"), learning_rate=0.5))
    assert read is not None
    assert [stage.settings["learning_rate"] for stage in read.stages] == [0.003, 0.5]
    assert read.last.settings["start"] == "first"


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    assert record.read_record(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"settings": {}}', '{"stages": [{"kind": "pretraining"}]}', '{"stages": []}']
)
def test_a_malformed_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pretraining.json").write_text(text)
    with pytest.raises(DataError, match=r"pretraining\.json is no training record"):
        record.read_record(tmp_path)


@pytest.mark.parametrize("tokens", [None, "380", 3.8e8, -5, float("nan")])
def test_a_record_whose_tokens_are_no_count_is_refused(tmp_path: Path, tokens: object) -> None:
    record.write_record(tmp_path, record.Record((stage(),)))
    content = json.loads((tmp_path / "pretraining.json").read_text())
    content["stages"][0]["tokens"] = tokens
    (tmp_path / "pretraining.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"pretraining\.json is no training record \(stages\[0\]\.tokens is"):
        record.read_record(tmp_path)


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 5000])
def test_a_thinned_curve_keeps_its_ends(count: int) -> None:
    points = [record.CurvePoint(step, step * 10, 1.0, 0.1) for step in range(count)]
    thinned = record.thin(points)
    assert len(thinned) == min(count, record.CURVE_POINTS)
    assert thinned[:1] + thinned[-1:] == tuple(points[:1] + points[-1:])
    assert sorted({point.step for point in thinned}) == [point.step for point in thinned]


SETTINGS = LoopSettings(steps=5, learning_rate=0.5, warmup_share=1.0, log_every=2)
"""The learning rate rises by 0.1 in each step."""


def make_log(path: Path, state: TrainingState, *, is_main: bool = True) -> Log:
    return Log(path, state, SETTINGS, is_main=is_main, label="test")


def test_means_are_logged_at_intervals_and_at_the_end(tmp_path: Path) -> None:
    state = TrainingState()
    log = make_log(tmp_path / "log.jsonl", state)
    for loss in (1.0, 2.0, 3.0, 5.0, 8.0):
        state.step += 1
        state.tokens += 10
        state.elapsed_s += 0.5
        log.add(loss, tokens=10, seconds=0.5)
    log.close()
    rows = read_log(tmp_path / "log.jsonl")
    assert [(row["step"], row["tokens"], row["loss"], row["learning_rate"]) for row in rows] == [
        (2, 20, 1.5, 0.2),
        (4, 40, 4.0, 0.4),
        (5, 50, 8.0, 0.5),
    ]
    assert rows[0]["tokens_per_s"] == 20
    assert rows[0]["elapsed_s"] == 1.0


def test_a_resumed_log_drops_the_rows_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"step": 2, "loss": 1}, {"step": 2, "validation": {"all": 1}}, {"step": 4, "loss": 2}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4, "validation": {"all": 1}')
    assert read_log(path) == rows
    make_log(path, TrainingState(step=3)).close()
    assert read_log(path) == rows[:2]


def test_losses_since_the_last_line_are_kept(tmp_path: Path) -> None:
    state = TrainingState(step=1, pending_losses=[1.0])
    log = make_log(tmp_path / "log.jsonl", state)
    state.step = 2
    log.add(3.0, tokens=1, seconds=1)
    log.close()
    assert read_log(tmp_path / "log.jsonl")[0]["loss"] == 2.0
    assert state.pending_losses == []


def test_the_bar_shows_the_progress_of_a_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = make_log(tmp_path / "log.jsonl", TrainingState())
    log.show_validation(0, 3)
    log.add_validation({"all": 2.0})
    log.close()
    shown = capsys.readouterr().err
    assert "validation, part 1 of 3" in shown
    assert shown.rstrip().endswith("validation loss 2.000]")


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    state = TrainingState(step=2)
    log = make_log(tmp_path / "log.jsonl", state, is_main=False)
    log.add(1.0, tokens=1, seconds=1)
    log.close()
    assert not (tmp_path / "log.jsonl").exists()
