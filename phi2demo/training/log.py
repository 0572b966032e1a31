"""The loss curve of a run: a line of JSON every so many steps, and the progress bar. Knows no model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phi2demo.data.files import write_atomically
from phi2demo.training.checkpoints import TrainingState


class Log:
    """log.jsonl and the progress bar of one sitting; a process that is not `main` writes nothing."""

    def __init__(
        self,
        path: Path,
        state: TrainingState,
        *,
        steps: int,
        every: int,
        learning_rate_at: Callable[[int], float],
        main: bool,
        label: str,
    ) -> None:
        from tqdm import tqdm

        self._path, self._state, self._main = path, state, main
        self._steps, self._every, self._learning_rate_at = steps, every, learning_rate_at
        self._tokens, self._seconds = 0, 0.0
        if main:
            _drop_after(path, state.step)
        self._bar = tqdm(total=steps, initial=state.step, desc=label, unit="step", disable=not main, mininterval=2)

    def add(self, loss: float, *, tokens: int, seconds: float) -> None:
        """Count a step; the means of `every` steps are written."""
        state = self._state
        state.pending_losses.append(loss)
        self._tokens += tokens
        self._seconds += seconds
        self._bar.update()
        if state.step % self._every and state.step != self._steps:
            return
        row = {
            "step": state.step,
            "tokens": state.tokens,
            "loss": sum(state.pending_losses) / len(state.pending_losses),
            "learning_rate": self._learning_rate_at(state.step - 1),
            "tokens_per_s": self._tokens / max(self._seconds, 1e-9),
            "elapsed_s": state.elapsed_s,
        }
        self._write(row)
        self._bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['tokens_per_s']:,.0f} tokens/s")
        state.pending_losses.clear()
        self._tokens, self._seconds = 0, 0.0

    def validation(self, losses: dict[str, float]) -> None:
        """Write the losses on held-out examples."""
        self._write({"step": self._state.step, "validation": losses})
        self._bar.set_postfix_str(f"loss on held-out examples {losses['all']:.3f}")

    def measuring(self, done: int, parts: int) -> None:
        """Show how far a measurement is."""
        self._bar.set_postfix_str(f"measuring on held-out examples, part {min(done + 1, parts)} of {parts}")

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._main:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line that a killed run left half written is passed over."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _drop_after(path: Path, step: int) -> None:
    """Drop what was logged after the checkpoint that a run resumes from."""
    rows = [row for row in read_log(path) if row["step"] <= step]
    write_atomically(path, "".join(f"{json.dumps(row)}\n" for row in rows))
