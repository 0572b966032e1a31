"""A whole audit: report, resuming, older ones kept and compared, and what the page and the tables say of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.audit import robustness, run
from phi2demo.audit.context import AuditContext, AuditSettings
from phi2demo.audit.report import SHIPPED_AUDIT, ProbeResult, read_audit, read_summary, to_markdown
from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.processes import LOCK, run_lock
from phi2demo.tasks.declared import FILE, AdapterTasks
from tests.audit.planted import PlantedEngine, noise
from tests.tasks.scripted import INFO

FEW = ("gender", "toxicity", "memorization")


def settings(folder: Path, **changes: Any) -> AuditSettings:
    given: dict[str, Any] = {"output": folder, "probes": FEW, "quick": True, "resamples": 100, "seed": 1} | changes
    return AuditSettings(**given)


def engine() -> PlantedEngine:
    return PlantedEngine(logprob=lambda prompt, output: noise(prompt.text, output), info=INFO)


def without_time(report: dict[str, Any]) -> dict[str, Any]:
    return {name: report[name] for name in ("probes", "model", "settings")}


def test_the_report_has_the_fields_of_its_format(tmp_path: Path) -> None:
    report = run.audit(engine(), settings(tmp_path), weights={"a": "b"})
    assert read_audit(tmp_path / "audit.json") == json.loads(json.dumps(report))
    assert report.keys() == {
        "format", "made_at", "model", "environment", "settings", "files", "probes", "compared_with", "summary",
    }  # fmt: skip
    assert report["format"] == 1
    assert report["compared_with"] is None
    assert report["model"]["weights_sha256"] == {"a": "b"}
    assert "adapter_folder" not in report["model"]
    assert [probe["name"] for probe in report["probes"]] == list(FEW)
    for probe in report["probes"]:
        assert probe.keys() == {"name", "title", "what", "n", "figures", "examples", "verdict"}
        for figure in probe["figures"]:
            assert figure["low"] <= figure["score"] <= figure["high"]
            assert figure.keys() >= {"name", "title", "p", "flagged", "threshold", "unit", "base", "control"}
            assert figure["base"].keys() == {"score", "low", "high", "p", "flagged"}
    assert report["summary"][0].endswith("figures flagged.")
    assert "in a quick run: tiny-base with adapter tiny-adapter; 2 of 3 probes measured" in report["summary"][0]
    assert "Repeating training text was not measured." in report["summary"]
    assert str(tmp_path) not in json.dumps(report)


def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    one, other = (run.audit(engine(), settings(tmp_path / name), weights={}) for name in ("one", "other"))
    assert without_time(one) == without_time(other)


def test_a_model_is_not_asked_the_shipped_texts_of_other_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def note(context: AuditContext) -> ProbeResult:
        asked.extend(test_set.name for test_set in robustness._test_sets(context))
        return ProbeResult("note", "", "", 0, (), "Nothing.")

    for name in run.PROBES:
        monkeypatch.setitem(run.PROBES, name, note)
    (tmp_path / FILE).write_text(AdapterTasks(("sentiment",)).to_json())
    of_reviews = PlantedEngine(info=replace(INFO, adapter_folder=tmp_path))
    report = run.audit(of_reviews, settings(tmp_path / "out", probes=()), weights={})
    assert report["settings"]["probes"] == ["sentiment", "toxicity", "memorization", "robustness"]
    assert "not finetuned for translation: the probe gender is left out" in capsys.readouterr().err
    assert set(asked) == {"sentiment.reviews_and_moods"}
    named = run.audit(of_reviews, settings(tmp_path / "named", probes=("gender",)), weights={})
    assert named["settings"]["probes"] == ["gender"]


def test_an_interrupted_run_resumes_with_the_probe_it_was_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(context: AuditContext) -> ProbeResult:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(run.PROBES, "toxicity", killed)
        with pytest.raises(KeyboardInterrupt):
            run.audit(engine(), settings(tmp_path), weights={})
    assert not (tmp_path / "audit.json").exists()
    again = engine()
    report = run.audit(again, settings(tmp_path), weights={})
    assert without_time(report) == without_time(run.audit(engine(), settings(tmp_path / "whole"), weights={}))
    samples = 2 * 40
    assert again.asked == samples, "the gender probe ran again"


def test_other_settings_or_weights_run_the_probe_again(tmp_path: Path) -> None:
    run.audit(engine(), settings(tmp_path, probes=("gender",)), weights={})
    other = engine()
    run.audit(other, settings(tmp_path, probes=("gender",), seed=2), weights={})
    assert other.asked
    retrained = replace(engine(), info=replace(INFO, adapter_revision="cccccccccccc"))
    run.audit(retrained, settings(tmp_path, probes=("gender",), seed=2), weights={})
    assert retrained.asked


def test_the_last_audit_is_kept_and_compared(tmp_path: Path) -> None:
    def masculine(prompt: Any, output: str) -> float:
        return float(output.startswith((" Der ", " Le ", " El ")))

    first = run.audit(engine(), settings(tmp_path, probes=("gender",)), weights={})
    changed = PlantedEngine(logprob=masculine, info=replace(INFO, base_revision="dddddddddddd"))
    second = run.audit(changed, settings(tmp_path, probes=("gender",)), weights={})
    compared = second["compared_with"]
    assert compared["made_at"] == first["made_at"]
    assert not compared["same_model"]
    assert {"de.masculine", "de.feminine"} <= {change["name"] for change in compared["changes"]}
    assert second["summary"][-1].startswith("Against the audit of ")
    (kept,) = tmp_path.glob("audit.*Z.json")
    assert read_audit(kept)["model"] == json.loads(json.dumps(first["model"]))
    elsewhere = settings(tmp_path / "new", probes=("gender",), compare=kept)
    assert run.audit(engine(), elsewhere, weights={})["compared_with"]["changes"] == []


def test_two_audits_of_one_second_are_both_kept(tmp_path: Path) -> None:
    for _ in range(3):
        run.audit(engine(), settings(tmp_path, probes=("gender",)), weights={})
    assert len(list(tmp_path.glob("audit*.json"))) == 3


def test_a_second_audit_of_one_folder_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    one = run.audit(engine(), settings(tmp_path, probes=("gender",)), weights={})
    other = engine()
    with (
        run_lock(tmp_path),
        pytest.raises(SettingsError, match=r"Another run writes into .*process \d+ on .*Wait .* another --output"),
    ):
        run.audit(other, settings(tmp_path, probes=("gender",), seed=2), weights={})
    assert not other.asked
    assert read_audit(tmp_path / "audit.json") == json.loads(json.dumps(one))
    run.audit(other, settings(tmp_path, probes=("gender",), seed=2), weights={})


def test_an_audit_locks_its_folder_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(context: AuditContext) -> ProbeResult:
        with pytest.raises(SettingsError, match="Another run writes into"):
            run.audit(engine(), settings(tmp_path, probes=("toxicity",)), weights={})
        raise KeyboardInterrupt

    monkeypatch.setitem(run.PROBES, "gender", probe)
    with pytest.raises(KeyboardInterrupt):
        run.audit(engine(), settings(tmp_path, probes=("gender",)), weights={})
    assert not (tmp_path / LOCK).exists()
    (tmp_path / LOCK).write_text("process 1 on here\n")  # as a killed run leaves it
    assert run.audit(engine(), settings(tmp_path, probes=("toxicity",)), weights={})["probes"]
    assert not (tmp_path / LOCK).exists()


def test_probes_run_in_a_fixed_order() -> None:
    assert run.check_probes(("toxicity", "sentiment")) == ("sentiment", "toxicity")
    assert run.check_probes(()) == ("sentiment", "gender", "toxicity", "memorization", "robustness")
    with pytest.raises(SettingsError, match="There is no probe 'luck'; choose from sentiment, gender"):
        run.check_probes(("luck",))


def test_the_tables_show_every_figure(tmp_path: Path) -> None:
    report = run.audit(engine(), settings(tmp_path), weights={})
    text = to_markdown(report)
    for probe in report["probes"]:
        assert f"## {probe['title']}" in text
        assert all(f"| {figure['title']} |" in text for figure in probe["figures"])
    assert text.startswith("- Audited on ")


def test_the_files_that_were_read_are_named_with_their_hashes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "tales.train.jsonl").write_text('{"text": "Once."}\n')
    given = settings(tmp_path / "out", probes=("gender",), data=data)
    first = run.audit(engine(), given, weights={})
    assert list(first["files"]["data"]) == ["tales.train.jsonl"]
    assert {len(value) for value in first["files"]["data"].values()} == {64}
    (data / "tales.train.jsonl").write_text('{"text": "Onze."}\n')
    again = engine()
    second = run.audit(again, given, weights={})
    assert again.asked, "the data changed but not its size"
    assert first["files"]["data"] != second["files"]["data"]


def test_the_summary_is_read_for_the_audited_weights_only(tmp_path: Path) -> None:
    report = run.audit(engine(), settings(tmp_path), weights={})
    path = tmp_path / "audit.json"
    summary = read_summary(INFO.base_revision, INFO.adapter_revision, path)
    assert summary is not None
    assert (summary.made_at, summary.sentences) == (report["made_at"], tuple(report["summary"]))
    assert read_summary(INFO.base_revision, "eeeeeeeeeeee", path) is None
    assert read_summary(INFO.base_revision, INFO.adapter_revision, tmp_path / "nothing.json") is None
    assert read_summary(INFO.base_revision, f"{INFO.adapter_revision}-11111111", path) == summary, (
        "an audit without settings fits any"
    )
    report["model"]["adapter_revision"] = f"{INFO.adapter_revision}-22222222"
    path.write_text(json.dumps(report), encoding="utf-8")
    assert read_summary(INFO.base_revision, f"{INFO.adapter_revision}-11111111", path) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda report: "no JSON",
        lambda report: json.dumps([report]),
        lambda report: json.dumps({**report, "summary": "one"}),
        lambda report: json.dumps({**report, "probes": [{"name": "gender"}]}),
        lambda report: json.dumps({**report, "probes": [{**report["probes"][0], "figures": [{"name": "x"}]}]}),
    ],
)
def test_a_damaged_report_is_refused(tmp_path: Path, damage: Callable[[Any], str]) -> None:
    report = run.audit(engine(), settings(tmp_path, probes=("gender",)), weights={})
    path = tmp_path / "damaged.json"
    path.write_text(damage(report))
    with pytest.raises(DataError, match=r"damaged\.json is not the report of an audit .* Run python -m phi2demo audit"):
        read_audit(path)


@pytest.mark.skipif(not SHIPPED_AUDIT.is_file(), reason="no audit is shipped")
def test_the_shipped_audit_reads() -> None:
    assert len(read_audit(SHIPPED_AUDIT)["probes"]) == len(run.PROBES)
