import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi2demo.benchmark import generating, memory, startup
from phi2demo.commands import benchmark
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings

FEW = ["explain", "--shape", "small", "--texts", "1", "--max-evals", "16", "--device", "cpu"]
KEYS = {"ratio", "ours", "peer", "unit", "machine"}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = generating.Batch("one", ("The train",), GenerationOptions(max_new_tokens=3))
    monkeypatch.setattr(generating, "make_batches", lambda name: (batch,))


def test_json_is_one_object_with_all_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main("benchmark", [*FEW, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= {*KEYS, "max_difference", "texts"}
    assert result["max_difference"] < 1e-3
    assert result["unit"] == "seconds"
    assert result["texts"][0]["words"] == 21


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main("benchmark", FEW) == 0
    shown = capsys.readouterr()
    assert shown.out.split("\n")[1].startswith("stock")
    assert "text 1 of 1" in shown.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["explain", "--texts", "0"], "--texts 0"),
        (["explain", "--shape", "small", "--model", "x"], "leave --model"),
        (["explain", "--threads", "0"], "--threads 0"),
        (["decode", "--threads", "2", "--engine", "onnx"], "--threads limits transformers"),
        (["memory", "--threads", "2"], "--threads limits transformers"),
        (["decode", "--layers", "2"], "--layers is for --random-weights"),
        (["decode", "--random-weights", "--layers", "0"], "--layers 0: give a number from 1"),
        (["startup", "--random-weights"], "leave --random-weights"),
        (["memory", "--requests", "0"], "--requests 0"),
        (["generate"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        benchmark.main("benchmark", argv)


@pytest.mark.usefixtures("few")
def test_generation_is_compared(capsys: pytest.CaptureFixture[str], tiny_base: Path) -> None:
    assert benchmark.main("benchmark", ["batch", "--model", str(tiny_base), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "1/1" in shown.out
    assert "batch 1 of 1: one" in shown.err


@pytest.mark.usefixtures("few")
def test_the_engine_that_is_chosen_decodes_random_weights(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["decode", "--shape", "small", "--layers", "1", "--engine", "onnx", "--quantize", "int8", "--json"]
    assert benchmark.main("benchmark", argv) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= {*KEYS, "same", "batches"}
    assert result["engine"].startswith("ONNX Runtime GenAI")
    assert result["engine"].endswith("int8")
    assert result["model"] == "random weights in the shape small, 1 layers x 160"
    assert result["ours"] > 0
    assert result["peer"] > 0


@pytest.mark.parametrize(
    ("argv", "peer"),
    [
        (["--engine=onnx", "--quantize=int8"], ["--engine=transformers", "--quantize=none"]),
        (["--engine=transformers"], None),
    ],
)
def test_the_app_is_started_with_the_same_arguments(
    argv: list[str], peer: list[str] | None, monkeypatch: pytest.MonkeyPatch, tiny_base: Path, tiny_adapter: Path
) -> None:
    calls: list[tuple[Sequence[str], Sequence[str] | None, str]] = []

    def compare(ours: Sequence[str], peer: Sequence[str] | None, command: str, **_: Any) -> Any:
        calls.append((ours, peer, command))
        return SimpleNamespace(as_dict=dict)

    monkeypatch.setattr(startup, "compare", compare)
    assert benchmark.main("benchmark", ["startup", f"--adapter={tiny_adapter}", *argv, "--json"]) == 0
    ((ours, theirs, command),) = calls
    assert {f"--adapter={tiny_adapter}", *argv} <= set(ours)
    assert command == "generate"
    assert (theirs is None) == (peer is None)
    assert set(peer or ()) <= set(theirs or ())


def test_memory_is_measured_of_the_engine_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[ModelSettings, int]] = []

    def compare(settings: ModelSettings, *, requests: int, **_: Any) -> Any:
        calls.append((settings, requests))
        return SimpleNamespace(as_dict=dict)

    monkeypatch.setattr(memory, "compare", compare)
    assert benchmark.main("benchmark", ["memory", "--engine", "onnx", "--requests", "7", "--json"]) == 0
    ((settings, requests),) = calls
    assert (settings.engine, settings.device, settings.dtype, requests) == ("onnx", "cpu", "float32", 7)
