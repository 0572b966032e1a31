"""Ctrl-C and SIGTERM during training: the step is finished and a checkpoint saved before the run ends."""

import signal
import threading
from types import FrameType
from typing import Any, Self

from phi2demo.errors import Phi2DemoError


class StoppedError(Phi2DemoError):
    """A run was told to stop; it can be gone on with."""


class Interruption:
    """Notes the first SIGINT or SIGTERM while it is entered; the second has its usual effect, at once.

    Does nothing outside the main thread, where Python does not let signals be handled.
    """

    def __init__(self) -> None:
        self.asked = False
        self._usual: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._usual = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._usual = {}
