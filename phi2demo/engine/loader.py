"""Load an engine in the background, so that the page is up before the weights are. Knows nothing of torch."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from phi2demo.engine.engine import Engine
from phi2demo.errors import ModelError, NotReadyError, Phi2DemoError


@dataclass(frozen=True)
class LoadStatus:
    """How far the loading has come."""

    state: Literal["loading", "ready", "failed"]
    seconds: float
    """Since the start; of the whole loading once it has ended."""
    message: str = ""
    """Why it failed."""


class EngineLoader:
    """Runs `load` once, in a thread; `load` raises ModelError where the model cannot be used."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._engine: Engine | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._started = time.monotonic()
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="load weights", daemon=True)

    def start(self) -> "EngineLoader":
        """Begin loading; returns at once."""
        self._started = time.monotonic()
        self._thread.start()
        return self

    @property
    def status(self) -> LoadStatus:
        """Where the loading stands now."""
        if not self._ended.is_set():
            return LoadStatus("loading", time.monotonic() - self._started)
        if self._error is not None:
            return LoadStatus("failed", self._seconds, _reason(self._error))
        return LoadStatus("ready", self._seconds)

    def engine(self, *, timeout_s: float = 0.0) -> Engine:
        """The engine; waits for it at most `timeout_s`.

        Raises NotReadyError while it is loading, ModelError where it cannot be loaded.
        """
        self._ended.wait(timeout_s)
        status = self.status
        if status.state == "loading":
            raise NotReadyError(f"The model is still loading ({status.seconds:.0f} s so far). Try again in a moment.")
        if self._engine is None:
            raise ModelError(status.message) from self._error
        return self._engine

    def _run(self) -> None:
        try:
            self._engine = self._load()
        except Exception as error:  # a thread has no caller: whatever it was must reach the person
            self._error = error
        finally:
            self._seconds = time.monotonic() - self._started
            self._ended.set()


def _reason(error: Exception) -> str:
    if isinstance(error, Phi2DemoError):
        return str(error)
    return f"The model could not be loaded ({type(error).__name__}: {error}). The log of the app says more."
