"""The smallest training runs; as a script, `python tiny_runs.py pretrain|finetune JSON` runs one in its own process.

JSON holds the settings to change, and `kill_at`: the step at whose start the process kills itself.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phi2demo.training.checkpoints import Checkpoints, TrainingState
from phi2demo.training.finetune import finetune
from phi2demo.training.mixture import Mixture
from phi2demo.training.pretrain import PhasedBlocks, pretrain
from phi2demo.training.settings import FinetuneSettings, PretrainSettings

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 24
SAVED_EVERY = 4
PRETRAIN_TOKENS = 12_000
"""24 steps of the preset `tiny`."""


def run_pretrain(data: Path, output: Path, **changes: Any) -> Path:
    return pretrain(
        PretrainSettings(**{"data": data, "output": output, "preset": "tiny", "tokens": PRETRAIN_TOKENS} | changes)
    )


def run_finetune(data: Path, output: Path, model: Path, **changes: Any) -> Path:
    arguments: dict[str, Any] = {"data": data, "output": output, "model": str(model)}
    defaults = {"steps": STEPS, "batch_size": 4, "rank": 4, "part_tokens": 400, "learning_rate": 3e-3}
    return finetune(FinetuneSettings(**arguments | defaults | changes))


def curve(folder: Path) -> list[dict[str, Any]]:
    """Return the log without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("tokens_per_s", "elapsed_s")} for row in rows]


def assert_similar(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Check that two curves are the same except for rounding."""
    assert len(ours) == len(theirs) == 2
    for a, b in zip(ours, theirs, strict=True):
        assert (a["step"], a.get("tokens")) == (b["step"], b.get("tokens"))
        assert a.get("loss", 0) == pytest.approx(b.get("loss", 0), rel=1e-4)
        assert a.get("validation", {}) == pytest.approx(b.get("validation", {}), rel=1e-4)


def run_process(kind: str, arguments: dict[str, Any], *, processes: int = 1) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *launcher, __file__, kind, json.dumps(arguments, default=str)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def _save_at_few_steps() -> None:
    save = Checkpoints.save

    def save_sometimes(self: Checkpoints, state: TrainingState) -> None:
        if state.step % SAVED_EVERY == 0:
            save(self, state)

    Checkpoints.save = save_sometimes  # type: ignore[method-assign]


def _kill_at(batches: Any, kill_at: int) -> None:
    batch = batches.batch

    def batch_or_die(self: Any, step: int) -> Any:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(self, step)

    batches.batch = batch_or_die


def main() -> None:
    kind, arguments = sys.argv[1], json.loads(sys.argv[2])
    if (kill_at := arguments.pop("kill_at", None)) is not None:
        arguments["checkpoint_minutes"] = 1e-9
        _save_at_few_steps()
        _kill_at(PhasedBlocks if kind == "pretrain" else Mixture, kill_at)
    for name in ("data", "output"):
        arguments[name] = Path(arguments[name])
    (run_pretrain if kind == "pretrain" else run_finetune)(**arguments)


if __name__ == "__main__":
    main()
