import json
from pathlib import Path

import pytest

from phi2demo.training.checkpoints import TrainingState
from phi2demo.training.log import Log, read_log
from phi2demo.training.settings import LoopSettings

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
