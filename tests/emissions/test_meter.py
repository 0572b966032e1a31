import threading
import time

import pytest

from phi2demo.emissions.footprint import Hardware
from phi2demo.emissions.meter import Meter, MeterReading, estimate_reading
from phi2demo.errors import SettingsError


class Clocks:
    """Wall and processor seconds, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.processor = 100.0
        monkeypatch.setattr("phi2demo.emissions.meter._clocks", lambda: (self.wall, self.processor))

    def run(self, wall: float, processor: float) -> None:
        self.wall += wall
        self.processor += processor


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_only_computing_is_counted(clocks: Clocks) -> None:
    meter = Meter()
    clocks.run(50, 10)
    with meter.computing():
        clocks.run(2, 7)
    clocks.run(50, 10)
    assert meter.reading == MeterReading(1, 2, 7)


def test_overlapping_contexts_count_their_time_once(clocks: Clocks) -> None:
    meter = Meter()
    with meter.computing():
        clocks.run(1, 1)
        with meter.computing():
            clocks.run(2, 4)
            assert meter.reading == MeterReading(0, 3, 5)
        assert meter.reading == MeterReading(1, 3, 5)
        clocks.run(1, 1)
    assert meter.reading == MeterReading(2, 4, 6)


def test_an_error_ends_the_counting_too(clocks: Clocks) -> None:
    meter = Meter()

    def fail() -> None:
        with meter.computing():
            clocks.run(1, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    clocks.run(5, 5)
    assert meter.reading == MeterReading(1, 1, 1)


def test_real_threads_are_seen_in_the_processor_time() -> None:
    meter = Meter()

    def burn() -> None:
        until = time.monotonic() + 0.2
        with meter.computing():
            while time.monotonic() < until:
                pass

    threads = [threading.Thread(target=burn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.reading.calls == 2
    assert 0.2 <= meter.reading.busy_s < 5
    assert 0 < meter.reading.processor_s <= meter.reading.busy_s * 4


def test_cores_count_by_their_seconds_a_gpu_by_the_time() -> None:
    computed = MeterReading(calls=3, busy_s=3600, processor_s=7200)
    on_cpu = estimate_reading(computed, Hardware("a CPU", cores=4, memory_gb=2), region="France", pue=1)
    assert on_cpu.energy_kwh * 1000 == pytest.approx(2 * 12 + 2 * 0.3725)
    assert on_cpu.co2e_kg == pytest.approx(on_cpu.energy_kwh * 0.056)
    on_gpu = estimate_reading(computed, Hardware("Tesla T4", cores=2, memory_gb=0, gpus=1), pue=1)
    assert on_gpu.energy_kwh * 1000 == pytest.approx(2 * 12 + 70)


def test_before_the_first_answer_it_is_nothing() -> None:
    assert estimate_reading(Meter().reading, Hardware("a CPU", cores=4, memory_gb=2)).co2e_kg == 0
    with pytest.raises(SettingsError, match="Atlantis"):
        estimate_reading(MeterReading(), Hardware("a CPU", cores=1, memory_gb=1), region="Atlantis")
