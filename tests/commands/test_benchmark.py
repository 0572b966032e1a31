import json
from pathlib import Path

import pytest

from phi2demo.benchmark import generating
from phi2demo.commands import benchmark
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import SettingsError

FEW = ["explain", "--shape", "small", "--texts", "1", "--max-evals", "16", "--device", "cpu"]
KEYS = {
    "ratio", "max_difference", "ours_seconds", "baseline_seconds", "texts", "machine",
}  # fmt: skip


def test_json_is_one_object_with_all_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main("benchmark", [*FEW, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= KEYS
    assert result["max_difference"] < 1e-3
    assert result["machine"]["dtype"] == "float32"
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
        (["generate", "--shape", "small"], "for explain alone"),
        (["sort"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        benchmark.main("benchmark", argv)


def test_generation_is_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_base: Path
) -> None:
    few = generating.Batch("one", ("The train",), GenerationOptions(max_new_tokens=3))
    monkeypatch.setattr(generating, "make_batches", lambda: (few,))
    assert benchmark.main("benchmark", ["generate", "--model", str(tiny_base), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "1/1" in shown.out
    assert "batch 1 of 1: one" in shown.err
