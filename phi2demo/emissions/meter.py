"""Meter of the computing time of the running app, and an estimate of its energy. Knows no engine."""

import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from phi2demo.emissions.footprint import WORLD, Emissions, Hardware, estimate_from_power

METHOD = (
    "Green Algorithms (Lannelongue et al. 2021). The processor time that this process used while the model computed "
    "counts as busy cores; a GPU counts as fully busy in that time; memory counts as held in that time. "
    "Waiting between answers and loading the weights are not counted."
)


@dataclass(frozen=True)
class MeterReading:
    """The computing time that a meter has counted."""

    calls: int = 0
    """Number of batches that were generated or scored."""
    busy_s: float = 0.0
    """Seconds during which at least one batch was computed."""
    processor_s: float = 0.0
    """CPU seconds of the whole process in that time, over all cores."""


class Meter:
    """Counts the computing time of the app since its start, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._since = (0.0, 0.0)
        self._done = MeterReading()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Count the time inside this context; time in overlapping contexts counts once."""
        with self._lock:
            if self._active == 0:
                self._since = _clocks()
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1
                done = self._done
                self._done = MeterReading(done.calls + 1, done.busy_s, done.processor_s)
                if self._active == 0:
                    self._done = self._with_running()

    @property
    def reading(self) -> MeterReading:
        """Return the computing time so far, including what runs now."""
        with self._lock:
            return self._with_running() if self._active else self._done

    def _with_running(self) -> MeterReading:
        busy, processor = (now - then for now, then in zip(_clocks(), self._since, strict=True))
        done = self._done
        return MeterReading(done.calls, done.busy_s + busy, done.processor_s + processor)


def estimate_reading(
    reading: MeterReading, hardware: Hardware, *, region: str = WORLD, pue: float | None = None
) -> Emissions:
    """Estimate energy and CO2e of the counted computing on `hardware`. Raises SettingsError for an unknown region."""
    core_s = reading.busy_s * hardware.cores
    watts = hardware.watts(1.0, core_usage=reading.processor_s / core_s if core_s else 0.0)
    return estimate_from_power(
        watts, reading.busy_s / 3600, region=region, pue=pue, hardware=str(hardware), method=METHOD
    )


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def detect_hardware(device: str, processes: int) -> Hardware:
    """Detect the hardware of `processes` processes like this one; call it at the end of a run, when memory is in use.

    On "cuda" or "mps", each process is assumed to have one GPU and to keep one CPU core busy.
    """
    import psutil
    import torch

    memory_gb = psutil.Process().memory_info().rss * processes / 1e9
    if device == "cuda":
        return Hardware(torch.cuda.get_device_name(), processes, memory_gb, gpus=processes)
    if device == "mps":
        return Hardware(cpu_name(), processes, memory_gb, gpus=processes)
    return Hardware(cpu_name(), torch.get_num_threads() * processes, memory_gb)


def cpu_name() -> str:
    """Return the model name of the CPU: from Linux, elsewhere what Python knows."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
