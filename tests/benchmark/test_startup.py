"""Starts of the app: how they are compared, and one real start of a tiny model."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from phi2demo.benchmark import startup
from phi2demo.benchmark.startup import Start, compare, start_app
from phi2demo.errors import ModelError

RECEIPT = {"base": "phi", "engine": "ONNX", "dtype": "int8", "device": "cpu"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first argument of each start that was asked for; each takes a second longer than the one before."""
    names: list[str] = []

    def start(arguments: Sequence[str], command: str) -> Start:
        names.append(arguments[0])
        return Start(len(names), 10 * len(names), RECEIPT)

    monkeypatch.setattr(startup, "start_app", start)
    return names


def test_both_sides_start_in_turn_and_the_first_start_of_each_does_not_count(asked: list[str]) -> None:
    lines: list[str] = []
    result = compare(["a"], ["b"], "generate", repeats=2, report=lines.append)
    assert asked == ["a", "b", "a", "b", "a", "b"]
    assert (result.ours_page, result.peer_page) == (4, 5)
    assert (result.ours, result.peer, result.ratio) == (40, 50, 1.25)
    assert (result.model, result.engine) == ("phi", "ONNX, int8")
    assert len(lines) == 6


def test_without_another_engine_there_is_no_ratio(asked: list[str]) -> None:
    result = compare(["a"], None, "generate")
    assert asked == ["a", "a"]
    assert (result.ours, result.peer, result.peer_page, result.ratio) == (20, None, None, None)
    assert len(result.table()) == 2


@pytest.mark.slow
def test_a_real_start_serves_the_page_and_answers(tiny_base: Path, tiny_adapter: Path) -> None:
    start = start_app([f"--adapter={tiny_adapter}", "--device=cpu"], "generate")
    assert 0 < start.page_s < start.answer_s
    assert start.receipt["base"] == "tiny-base"
    assert start.receipt["generation"]["max_new_tokens"] == 16


def test_an_app_that_does_not_start_is_told() -> None:
    with pytest.raises(ModelError, match=r"The app did not start: error: .*nowhere"):
        start_app(["--adapter=/nowhere"], "generate")
