"""An answer among the least sure fifth of what was measured, and one that is not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.engine import GenerationOptions
from phi2demo.evaluation.caution import Caution, caution, cautioned
from phi2demo.evaluation.results import ReportValue, as_report
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.run import answer
from phi2demo.tasks.task import Request
from phi2demo.tasks.translation import TranslationOptions
from tests.evaluation.test_results import small
from tests.tasks.scripted import ScriptedEngine


def measured(name: str, n: int, *, there: float, high: float = 0.25) -> dict[str, Any]:
    told = small()["measures"][0]
    (figure,) = told["figures"]
    least = figure | {"scores": {**figure["scores"], "finetuned": {"score": there, "low": None, "high": None}}}
    part = {"by": "confidence", "n": n // 5, "enough": True}
    fifths = [
        part | {"name": "least sure", "figures": [least], "bounds": {"low": 0.1, "high": high}},
        part | {"name": "surest", "figures": [figure], "bounds": {"low": 0.9, "high": 1.0}},
    ]
    return told | {"name": name, "n": n, "slices": [*told["slices"], *fifths]}


def report_of(*measures: dict[str, Any]) -> ReportValue:
    return as_report(small() | {"measures": list(measures)})


@pytest.fixture
def receipt() -> Receipt:
    return answer(
        ScriptedEngine(), Request("translation", "A cat.", TranslationOptions("en", "de"), GenerationOptions())
    )[0].receipt


REPORT = report_of(measured("translation.x.en-de", 400, there=12.0), measured("translation.x.de-en", 900, there=13.0))


@pytest.mark.parametrize(("confidence", "told"), [(0.05, True), (0.25, True), (0.26, False), (1.0, False)])
def test_the_least_sure_fifth_is_told(receipt: Receipt, confidence: float, told: bool) -> None:
    expected = Caution("translation.x.en-de", "BLEU", 1, 12.0, 30.0)
    assert caution([REPORT], receipt, confidence) == (expected if told else None)


def test_the_largest_set_of_the_same_languages_says_it(receipt: Receipt) -> None:
    larger = report_of(measured("translation.y.en-de", 500, there=10.0, high=0.5))
    for reports in ([REPORT, larger], [larger, REPORT]):
        found = caution(reports, receipt, 0.4)
        assert found is not None
        assert (found.measure, found.score) == ("translation.y.en-de", 10.0)


def test_the_answer_of_measured_weights_has_a_note(tmp_path: Path) -> None:
    engine, asked = (
        ScriptedEngine(),
        Request("translation", "one two", TranslationOptions("en", "de"), GenerationOptions()),
    )
    results = answer(engine, asked)
    report = small() | {"measures": [measured("translation.x.en-de", 400, there=12.0, high=0.999)]}
    told = (
        "Of English to German, x, the fifth that it was least sure of has BLEU 12.0, all of it 30.0; "
        "on texts unlike those it may do worse."
    )
    for revision, notes in (
        (engine.info.base_revision, [f"The model is unsure of this. {told}"]),
        ("cccccccccccc", []),
    ):
        report["model"] |= {"base_revision": revision, "adapter_revision": engine.info.adapter_revision}
        (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
        (result,) = cautioned(results, engine.info, shelf=tmp_path)
        assert list(result.notes) == notes
        assert replace(result, notes=()) == results[0]
    assert cautioned(results, engine.info, shelf=tmp_path / "none") == results


def test_nothing_is_told_where_nothing_is_known(receipt: Receipt) -> None:
    assert caution([REPORT], receipt, None) is None
    assert caution([REPORT], replace(receipt, use="base"), 0.1) is None
    assert caution([REPORT], replace(receipt, task="summarization", options={"length": "sentence"}), 0.1) is None
    assert caution([REPORT], replace(receipt, options={"source": "en", "target": "fr"}), 0.1) is None
    assert caution([as_report(small())], receipt, 0.1) is None
    assert caution([], receipt, 0.1) is None


def test_another_strength_of_the_finetuning_is_another_model(receipt: Receipt) -> None:
    weaker = replace(receipt, generation=receipt.generation | {"adapter_strength": 0.5})
    assert caution([REPORT], weaker, 0.1) is None
    half = measured("translation.x.en-de", 400, there=12.0) | {"generation": {"adapter_strength": 0.5}}
    assert caution([report_of(half)], weaker, 0.1) is not None
    assert caution([report_of(half)], receipt, 0.1) is None
    none = measured("translation.x.en-de", 400, there=12.0) | {"generation": {"adapter_strength": 0.0}}
    assert caution([report_of(none)], receipt, 0.1) is None


def test_other_tasks_need_no_languages(receipt: Receipt) -> None:
    answers = report_of(measured("question_answering.q", 400, there=2.0) | {"task": "question_answering"})
    asked = replace(receipt, task="question_answering", options={"question": "Who?"})
    found = caution([REPORT, answers], asked, 0.2)
    assert found is not None
    assert found.measure == "question_answering.q"
