"""How sure a model is of an answer, by the fifths of what was measured."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.engine import GenerationOptions
from phi2demo.evaluation.confidence import judged, sureness
from phi2demo.evaluation.report import Report
from phi2demo.evaluation.reports import parse_report
from phi2demo.evaluation.slices import CONFIDENCE_QUINTILES
from phi2demo.tasks.confidence import Sureness
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import answer
from phi2demo.tasks.translation import TranslationOptions
from tests.evaluation.test_report import small
from tests.tasks.scripted import ScriptedEngine

SCORES = (12.0, 25.0, 30.0, 41.0, 70.0)


def measured(name: str, n: int, *, scores: tuple[float, ...] = SCORES, metric: str = "bleu") -> dict[str, Any]:
    """A set in fifths that end at 0.2, 0.4, 0.6, 0.8 and 1."""
    told = small()["test_sets"][0]
    figure = told["figures"][0] | {"metric": metric}
    quintiles = []
    for at, (quintile, score) in enumerate(zip(CONFIDENCE_QUINTILES, scores, strict=True)):
        part = figure | {"scores": {**figure["scores"], "finetuned": {"score": score, "low": None, "high": None}}}
        bounds = {"low": at / 5, "high": (at + 1) / 5}
        quintiles.append(
            {"by": "confidence", "n": n // 5, "enough": True, "name": quintile, "figures": [part], "bounds": bounds}
        )
    return told | {"name": name, "n": n, "figures": [figure], "slices": [*told["slices"], *quintiles]}


def report_of(*test_sets: dict[str, Any]) -> Report:
    return parse_report(small() | {"test_sets": list(test_sets)})


@pytest.fixture
def receipt() -> Receipt:
    return answer(
        ScriptedEngine(), Request("translation", "A cat.", TranslationOptions("en", "de"), GenerationOptions())
    )[0].receipt


REPORT = report_of(measured("translation.x.en-de", 400), measured("translation.x.de-en", 900, scores=(0.0,) * 5))


@pytest.mark.parametrize(
    ("probability", "word", "score"),
    [
        *((0.0, "unsure", 12.0), (0.2, "unsure", 12.0), (0.21, "fairly sure", 25.0), (0.6, "fairly sure", 30.0)),
        *((0.61, "sure", 41.0), (0.9, "sure", 70.0), (1.0, "sure", 70.0)),
    ],
)
def test_the_quintile_of_an_answer_gives_the_word(
    receipt: Receipt, probability: float, word: Any, score: float
) -> None:
    assert sureness([REPORT], receipt, probability) == Sureness(
        word,
        f"On the test set, answers with a similar probability score {score} in BLEU; all answers score 30.0 "
        "(English to German, x)",
    )


@pytest.mark.parametrize(
    ("right", "words"),
    [
        ((5.0, 9.0, 15.0, 21.0, 38.0), ["unsure"] * 4 + ["fairly sure"]),
        ((60.0, 74.0, 84.0, 90.0, 95.0), ["unsure", "fairly sure", "fairly sure", "sure", "sure"]),
        ((60.0, 60.0, 60.0, 60.0, 95.0), ["unsure", "fairly sure", "fairly sure", "fairly sure", "sure"]),
    ],
)
@pytest.mark.parametrize("metric", ["accuracy", "exact_match"])
def test_a_word_is_true_of_how_many_answers_were_right(
    receipt: Receipt, metric: str, right: tuple[float, ...], words: list[str]
) -> None:
    report = report_of(measured("translation.x.en-de", 400, scores=right, metric=metric))
    found = [sureness([report], receipt, at / 5 + 0.1) for at in range(5)]
    assert [each and each.word for each in found] == words


def test_the_largest_set_of_the_same_languages_says_it(receipt: Receipt) -> None:
    larger = report_of(measured("translation.y.en-de", 500, scores=(99.0,) * 5))
    for reports in ([REPORT, larger], [larger, REPORT]):
        found = sureness(reports, receipt, 0.4)
        assert found is not None
        assert "score 99.0 in BLEU; all answers score 30.0 (English to German, y)" in found.measured


def test_an_answer_that_measured_weights_are_unsure_of_has_a_note(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    results = answer(engine, Request("translation", "One.", TranslationOptions("en", "de"), GenerationOptions()))
    assert results[0].mean_probability is not None
    (result,) = (replace(results[0], piece_probabilities=(0.1,), notes=("another",)),)
    report = small() | {"test_sets": [measured("translation.x.en-de", 400)]}
    report["model"] |= {
        "base_revision": engine.info.base_revision,
        "adapter_revision": engine.info.adapter_revision,
    }
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (unsure,) = judged((result,), engine.info, reports_folder=tmp_path)
    assert unsure.sureness is not None
    assert unsure.notes == ("another", f"The model is unsure of this. {unsure.sureness.measured}.")
    (sure,) = judged((replace(result, piece_probabilities=(0.9,)),), engine.info, reports_folder=tmp_path)
    assert (sure.sureness and sure.sureness.word, sure.notes) == ("sure", ("another",))
    assert sure.as_dict()["sureness"]["word"] == "sure"
    withheld = replace(result, withheld="Rome")
    assert judged((withheld,), engine.info, reports_folder=tmp_path) == (withheld,)
    report["model"] |= {"base_revision": "cccccccccccc"}
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert judged((result,), engine.info, reports_folder=tmp_path) == (result,)
    assert judged((result,), engine.info, reports_folder=tmp_path / "none") == (result,)


def test_without_measurements_there_is_no_word(receipt: Receipt) -> None:
    assert sureness([REPORT], receipt, None) is None
    assert sureness([REPORT], replace(receipt, variant="base"), 0.1) is None
    assert sureness([REPORT], replace(receipt, task="summarization", options={"length": "sentence"}), 0.1) is None
    assert sureness([REPORT], replace(receipt, options={"source": "en", "target": "fr"}), 0.1) is None
    assert sureness([parse_report(small())], receipt, 0.1) is None
    assert sureness([], receipt, 0.1) is None


def test_another_strength_of_the_finetuning_is_another_model(receipt: Receipt) -> None:
    weaker = replace(receipt, generation=receipt.generation | {"adapter_strength": 0.5})
    assert sureness([REPORT], weaker, 0.1) is None
    half = measured("translation.x.en-de", 400) | {"generation": {"adapter_strength": 0.5}}
    assert sureness([report_of(half)], weaker, 0.1) is not None
    assert sureness([report_of(half)], receipt, 0.1) is None
    none = measured("translation.x.en-de", 400) | {"generation": {"adapter_strength": 0.0}}
    assert sureness([report_of(none)], receipt, 0.1) is None


def test_other_tasks_need_no_languages(receipt: Receipt) -> None:
    answers = report_of(measured("question_answering.q", 400) | {"task": "question_answering"})
    asked = replace(receipt, task="question_answering", options={"question": "Who?"})
    found = sureness([REPORT, answers], asked, 0.2)
    assert found is not None
    assert "score 12.0 in BLEU" in found.measured
