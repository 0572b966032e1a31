"""The audit command, with tiny weights, and what it refuses."""

import json
from pathlib import Path

import pytest

from phi2demo.commands import audit
from phi2demo.errors import DataError, SettingsError
from tests.tasks.scripted import ScriptedEngine


def test_the_table_and_the_report(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    argv = ["--output", str(out), "--model", str(tiny_base), "--adapter", str(tiny_adapter), "--device", "cpu"]
    argv += ["--probes", "memorization,gender", "--quick", "--resamples", "100"]
    assert audit.main("audit", argv) == 0
    table = capsys.readouterr().out
    assert "## Gender of occupations in translation" in table
    assert "| German: masculine where nothing says it |" in table
    assert audit.main("audit", [*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [probe["name"] for probe in report["probes"]] == ["gender", "memorization"]
    assert report["compared_with"]["changes"] == []
    assert report["compared_with"]["same_model"]
    assert sorted(report["model"]["weights_sha256"]) == [
        "tiny-adapter/adapter_model.safetensors", "tiny-base/model.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: --output"),
        (["--output", "x", "--data", "/nowhere"], "--data /nowhere is not a folder"),
        (["--output", "x", "--items", "/nowhere"], "--items /nowhere is not a folder"),
        (["--output", "x", "--probes", "luck"], "There is no probe 'luck'"),
        (["--output", "x", "--compare", "/nowhere"], "--compare /nowhere is not a file"),
        (["--output", "x", "--resamples", "9"], "resamples is 9"),
        (["--output", "x", "--seed", "few"], "invalid int value: 'few'"),
    ],
)
def test_refusals_come_before_a_model_is_loaded(argv: list[str], message: str) -> None:
    def load(settings: object) -> ScriptedEngine:
        pytest.fail("loaded")

    with pytest.raises(SettingsError, match=message):
        audit.main("audit", argv, load_engine=load)


def test_a_damaged_older_report_is_refused_before_a_model_is_asked(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    engine = ScriptedEngine()
    with pytest.raises(DataError, match=r"old\.json is not the report of an audit"):
        audit.main(
            "audit",
            ["--output", str(tmp_path / "out"), "--compare", str(tmp_path / "old.json")],
            load_engine=lambda settings: engine,
        )
    assert engine.batches == []
