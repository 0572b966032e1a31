import json
from pathlib import Path

import pytest

from phi2demo.training.checkpoints import TrainingState
from phi2demo.training.log import Log, read_log


def make(path: Path, state: TrainingState, *, main: bool = True) -> Log:
    return Log(path, state, steps=5, every=2, learning_rate_at=lambda step: step / 10, main=main, label="test")


def test_means_are_logged_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    state = TrainingState()
    log = make(tmp_path / "log.jsonl", state)
    for loss in (1.0, 2.0, 3.0, 5.0, 8.0):
        state.step += 1
        state.tokens += 10
        state.elapsed_s += 0.5
        log.add(loss, tokens=10, seconds=0.5)
    log.close()
    rows = read_log(tmp_path / "log.jsonl")
    assert [(row["step"], row["tokens"], row["loss"], row["learning_rate"]) for row in rows] == [
        (2, 20, 1.5, 0.1),
        (4, 40, 4.0, 0.3),
        (5, 50, 8.0, 0.4),
    ]
    assert rows[0]["tokens_per_s"] == 20
    assert rows[0]["elapsed_s"] == 1.0


def test_a_resumed_log_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"step": 2, "loss": 1}, {"step": 2, "validation": {"all": 1}}, {"step": 4, "loss": 2}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4, "validation": {"all": 1}')
    assert read_log(path) == rows
    make(path, TrainingState(step=3)).close()
    assert read_log(path) == rows[:2]


def test_losses_since_the_last_line_are_not_lost(tmp_path: Path) -> None:
    state = TrainingState(step=1, pending_losses=[1.0])
    log = make(tmp_path / "log.jsonl", state)
    state.step = 2
    log.add(3.0, tokens=1, seconds=1)
    log.close()
    assert read_log(tmp_path / "log.jsonl")[0]["loss"] == 2.0
    assert state.pending_losses == []


def test_the_bar_says_how_far_a_measurement_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = make(tmp_path / "log.jsonl", TrainingState())
    log.measuring(0, 3)
    log.validation({"all": 2.0})
    log.close()
    shown = capsys.readouterr().err
    assert "measuring on held-out examples, part 1 of 3" in shown
    assert shown.rstrip().endswith("loss on held-out examples 2.000]")


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    state = TrainingState(step=2)
    log = make(tmp_path / "log.jsonl", state, main=False)
    log.add(1.0, tokens=1, seconds=1)
    log.close()
    assert not (tmp_path / "log.jsonl").exists()
