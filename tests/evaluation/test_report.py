"""A report is checked as it is read, and written as it was read."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.errors import DataError
from phi2demo.evaluation.environment import describe_environment, describe_model
from phi2demo.evaluation.report import Bounds, ContaminationCounts, Environment, ModelDescription, Slicing
from phi2demo.evaluation.reports import parse_report, read_report
from phi2demo.evaluation.slices import describe_slicing
from phi2demo.settings import ASSETS
from tests.tasks.scripted import INFO, ScriptedEngine


def environment(**changes: Any) -> dict[str, Any]:
    return {"python": "3.11.7", "system": "Linux x86_64", "threads": 2, "versions": {"torch": "2.13.0"}} | changes


def small() -> dict[str, Any]:
    """The JSON values of a report, at their smallest."""
    figure = {
        "metric": "bleu", "title": "BLEU", "higher_is_better": True, "digits": 1,
        "scores": {
            "finetuned": {"score": 30, "low": 25.0, "high": 35.0},
            "base_plain": {"score": 20.0, "low": None, "high": None},
        },
        "base": "base_plain", "difference": {"value": 10.0, "low": 5.0, "high": 15.0, "p": 0.01},
    }  # fmt: skip
    part = {"by": "length", "name": "short", "n": 3, "enough": False, "figures": [figure]}
    test_set = {
        "name": "translation.x.en-de", "task": "translation", "n": 40,
        "data": {"name": "x.en-de.test.jsonl", "sha256": "00", "split": "test", "note": ""}, "figures": [figure],
        "slices": [part],
    }  # fmt: skip
    model = {"base": "b", "base_revision": "aaaaaaaaaaaa", "adapter": "a", "adapter_revision": "bbbbbbbbbbbb",
             "device": "cpu", "dtype": "float32"}  # fmt: skip
    settings = {"limit": None, "systems": ["finetuned", "base_plain"], "batch_size": 4, "seed": 1, "resamples": 100}
    return {
        "format": 2,
        "made_at": "2026-11-24T00:45:07+00:00",
        "settings": settings,
        "test_sets": [test_set],
        "model": model,
        "environment": environment(),
    }


def test_contamination_is_read_where_it_was_looked_up() -> None:
    report = small()
    assert parse_report(report).test_sets[0].contamination is None
    report["test_sets"][0]["contamination"] = {"in training": 2, "in validation": 5, "in neither": 33, "files": {}}
    assert parse_report(report).test_sets[0].contamination == ContaminationCounts.model_validate(
        report["test_sets"][0]["contamination"]
    )
    report["test_sets"][0]["contamination"]["in training"] = "all"
    with pytest.raises(DataError, match=r"test_sets\[0\]\.contamination\.in training is 'all'"):
        parse_report(report)


def test_the_bounds_of_a_quintile_are_read() -> None:
    report = small()
    part = report["test_sets"][0]["slices"][0]
    report["test_sets"][0]["slices"] = [
        part | {"by": "confidence", "name": "least sure", "bounds": {"low": 0.1, "high": 0.25}},
        part,
    ]
    assert [part.bounds for part in parse_report(report).test_sets[0].slices] == [Bounds(low=0.1, high=0.25), None]
    report["test_sets"][0]["slices"][0]["bounds"] = {"low": 0.1}
    with pytest.raises(DataError, match=r"bounds\.high is missing"):
        parse_report(report)


@pytest.mark.parametrize("name", ["report.json", "flores.json", "set_report/report.json"])
def test_a_shipped_report_is_written_as_it_was_read(name: str) -> None:
    path = ASSETS / "evaluation" / name
    report = read_report(path)
    assert report.items > 0
    assert "finetuned" in report.systems
    assert report.to_json() == path.read_text(encoding="utf-8")


def test_a_report_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(small() | {"format": 1}), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"old\.json was made by an older version.*Run python -m phi2demo evaluate again"
    ):
        read_report(path)


def test_a_report_has_a_field_for_all_that_a_run_describes() -> None:
    model, environment = describe_model(ScriptedEngine()), describe_environment()
    assert model.keys() <= ModelDescription.model_fields.keys()
    assert environment.keys() <= Environment.model_fields.keys()
    written = Slicing.model_validate(describe_slicing()).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written == describe_slicing()


def test_values_are_what_the_file_says() -> None:
    report = parse_report(small())
    (figure,) = report.test_sets[0].figures
    assert figure.difference is not None
    assert (figure.scores["finetuned"].score, figure.difference.value, figure.difference.is_clear) == (30.0, 10.0, True)
    assert figure.gain == 10.0
    assert report.test_sets[0].slices[0].enough is False
    assert report.is_of(INFO)
    assert not report.is_of(replace(INFO, adapter_revision="cccccccccccc"))
    values = small()
    values["model"]["adapter_revision"] = "bbbbbbbbbbbb-11111111"
    with_settings = parse_report(values)
    same, other = (replace(INFO, adapter_revision=f"bbbbbbbbbbbb-{digits}") for digits in ("11111111", "22222222"))
    assert report.is_of(same), "a report that does not name the settings fits all of them"
    assert with_settings.is_of(same)
    assert not with_settings.is_of(other)


def test_less_is_a_gain_where_lower_is_better() -> None:
    changed = small()
    changed["test_sets"][0]["figures"][0]["higher_is_better"] = False
    assert parse_report(changed).test_sets[0].figures[0].gain == -10.0


_MISSING = object()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["test_sets"], None), (["test_sets"], {}), (["test_sets", 0], 3), (["made_at"], _MISSING), (["model"], []),
        (["model", "base"], 3), (["model", "base"], "x" * 1000), (["test_sets", 0, "n"], -1), (["test_sets", 0, "n"], True),
        (["test_sets", 0, "data"], _MISSING), (["test_sets", 0, "figures", 0, "digits"], "1"),
        (["test_sets", 0, "figures", 0, "scores", "finetuned", "score"], float("nan")),
        (["test_sets", 0, "figures", 0, "scores", "finetuned"], None),
        (["test_sets", 0, "figures", 0, "scores", "finetuned", "score"], 10**400),
        (["test_sets", 0, "name"], "half of a pair \ud800"), (["test_sets", 0, "name"], "a\x00b"),
        (["test_sets", 0, "figures", 0, "base"], "<script>"),
        (["test_sets", 0, "figures", 0, "difference", "p"], "0"),
        (["test_sets", 0, "slices", 0, "by"], "mood"), (["settings", "limit"], "all"), (["format"], 3),
        (["test_sets", 0, "figures", 0, "digits"], 10**9), (["test_sets", 0, "figures", 0, "scores", "gpt"], {"score": 1}),
        (["test_sets", 0, "slices"], [{}] * 1000), (["test_sets", 0, "generation"], {"num_beams": {"a": 1}}),
    ],
)  # fmt: skip
def test_a_report_with_a_wrong_field_is_refused_by_name(path: list[Any], value: object) -> None:
    wrong = copy.deepcopy(small())
    place: Any = wrong
    for key in path[:-1]:
        place = place[key]
    if value is _MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    named = next(key for key in reversed(path) if isinstance(key, str))
    with pytest.raises(DataError, match=f"not an evaluation report.*{named}"):
        parse_report(wrong)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"test_sets": 3}', b"\xff\xfe\x00", b"[" * 200_000])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some\.json is"):
        read_report(path)


def test_how_a_report_was_made_is_read_where_it_says_so() -> None:
    assert parse_report(small()).environment.note == ""
    noted = parse_report(small() | {"environment": environment(note="Half of it elsewhere.")})
    assert noted.environment.note == "Half of it elsewhere."
    with pytest.raises(DataError, match=r"environment\.note is 5"):
        parse_report(small() | {"environment": environment(note=5)})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not JSON"), (b"\xff\xfe", "it is not JSON"), (b"[]", "it holds no list named test_sets"),
        (b"{}", "it holds no list named test_sets"), (b'{"test_sets": 5}', "it holds no list named test_sets"),
        (None, "no such file or directory"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_in_words_and_without_its_folder(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^report\.json is not an evaluation report: {why}\. Give a report\.json"):
        read_report(path)
