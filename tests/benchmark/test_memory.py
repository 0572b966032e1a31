"""Memory over mixed requests, of a tiny model."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from phi2demo.benchmark import memory
from phi2demo.benchmark.memory import (
    Reading,
    Side,
    compare,
    measure_ours,
    measure_peer,
    mixed_requests,
    resident_mb,
)
from phi2demo.engine.local import LocalEngine
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_ADAPTER, ModelSettings
from tests.conftest import make_base


@pytest.mark.slow
def test_both_sides_are_read_after_loading_at_a_third_and_at_the_end(tmp_path: Path) -> None:
    lines: list[str] = []
    base = make_base(tmp_path / "base", context=1024)
    result = compare(ModelSettings(model=str(base), device="cpu"), requests=3, report=lines.append)
    for readings in (result.ours_readings, result.peer_readings):
        assert [reading.requests for reading in readings] == [0, 1, 3]
        assert all(50 < reading.mb < 5000 for reading in readings)
    assert (result.ours, result.peer) == (result.ours_readings[-1].mb, result.peer_readings[-1].mb)
    assert result.ratio == pytest.approx((result.peer or 0) / result.ours)
    assert result.ours_growth == pytest.approx(result.ours - result.ours_readings[1].mb)
    assert [line.partition(":")[0] for line in lines] == ["ours", "peer"]


def test_growth_is_told_from_a_third_of_the_requests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {measure_ours: (100.0, 150.0, 160.0), measure_peer: (100.0, 200.0, 320.0)}

    def side(measure: Any, settings: ModelSettings, requests: int) -> Side:
        numbers = zip((0, 10, 30), readings[measure], strict=True)
        return Side(tuple(Reading(count, mb) for count, mb in numbers), "model", "engine", "cpu")

    monkeypatch.setattr(memory, "_in_its_own_process", side)
    result = compare(ModelSettings(), requests=30)
    assert (result.ours, result.peer, result.ratio) == (160, 320, 2)
    assert (result.ours_growth, result.peer_growth) == (10, 120)
    assert len(result.table()) == 4


def test_the_memory_of_started_processes_counts() -> None:
    before = resident_mb()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        time.sleep(0.5)
        assert resident_mb() > before + 2
        child.kill()


def test_requests_are_of_all_tasks_in_turn_with_the_decoding_of_the_adapter(engine: LocalEngine) -> None:
    info = replace(engine.info, adapter_folder=EMBEDDED_ADAPTER)
    requests = list(islice(mixed_requests(info, quantized=False), 10))
    tasks = ["generation", "translation", "summarization", "sentiment", "question_answering"]
    assert [checked.request.task for checked in requests] == [*tasks, *tasks]
    assert requests[1].request.generation.num_beams == 6
    assert requests[2].request.generation.num_beams == 4
    assert requests[0].request.text != requests[5].request.text
    quantized = list(islice(mixed_requests(info, quantized=True), 5))
    assert [checked.request.generation.num_beams for checked in quantized[1:3]] == [6, 1]


def test_no_requests_are_refused() -> None:
    with pytest.raises(SettingsError, match="--requests 0: give a number from 1"):
        compare(ModelSettings(), requests=0)
