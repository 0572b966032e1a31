"""The log of a run: its loss curve as lines of JSON, and the progress bar. Knows no model."""

import json
from pathlib import Path
from typing import Any

from phi2demo.data.files import write_atomically
from phi2demo.training.checkpoints import TrainingState
from phi2demo.training.settings import LoopSettings


class Log:
    """Writes `log.jsonl` and shows the progress bar until a run ends or is stopped; writes nothing unless `is_main`."""

    def __init__(self, path: Path, state: TrainingState, settings: LoopSettings, *, is_main: bool, label: str) -> None:
        from tqdm import tqdm

        self._path, self._state, self._settings, self._is_main = path, state, settings, is_main
        self._tokens, self._seconds = 0, 0.0
        if is_main:
            _drop_after(path, state.step)
        self._bar = tqdm(
            total=settings.steps, initial=state.step, desc=label, unit="step", disable=not is_main, mininterval=2
        )

    def add(self, loss: float, *, tokens: int, seconds: float) -> None:
        """Count a step; the mean of every `log_every` steps is written."""
        state, settings = self._state, self._settings
        state.pending_losses.append(loss)
        self._tokens += tokens
        self._seconds += seconds
        self._bar.update()
        if state.step % settings.log_every and state.step != settings.steps:
            return
        row = {
            "step": state.step,
            "tokens": state.tokens,
            "loss": sum(state.pending_losses) / len(state.pending_losses),
            "learning_rate": settings.learning_rate_at(state.step - 1),
            "tokens_per_s": self._tokens / max(self._seconds, 1e-9),
            "elapsed_s": state.elapsed_s,
        }
        self._write(row)
        self._bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['tokens_per_s']:,.0f} tokens/s")
        state.pending_losses.clear()
        self._tokens, self._seconds = 0, 0.0

    def add_validation(self, losses: dict[str, float]) -> None:
        """Write the losses on held-out examples."""
        self._write({"step": self._state.step, "validation": losses})
        self._bar.set_postfix_str(f"validation loss {losses['all']:.3f}")

    def show_validation(self, done: int, parts: int) -> None:
        """Show the progress of a validation."""
        self._bar.set_postfix_str(f"validation, part {min(done + 1, parts)} of {parts}")

    def close(self) -> None:
        """Stop updating the progress bar."""
        self._bar.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._is_main:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log, without a last line that is incomplete because the run was killed."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _drop_after(path: Path, step: int) -> None:
    """Drop the rows after the checkpoint from which a run resumes."""
    rows = [row for row in read_log(path) if row["step"] <= step]
    write_atomically(path, "".join(f"{json.dumps(row)}\n" for row in rows))
