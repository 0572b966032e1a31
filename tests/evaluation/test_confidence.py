"""How sure a model is of an answer, by the quintiles of what was measured."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.engine import GenerationOptions, Output, Prompt, Score
from phi2demo.evaluation.confidence import ConfidenceBands, confidence_band
from phi2demo.evaluation.report import Report
from phi2demo.evaluation.reports import parse_report
from phi2demo.evaluation.slices import CONFIDENCE_QUINTILES
from phi2demo.tasks.confidence import ConfidenceBand
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.translation import TranslationOptions
from tests.evaluation.test_report import small
from tests.tasks.scripted import ScriptedEngine

SCORES = (12.0, 25.0, 30.0, 41.0, 70.0)


def measured(name: str, n: int, *, scores: tuple[float, ...] = SCORES, metric: str = "bleu") -> dict[str, Any]:
    """A set in quintiles that end at 0.2, 0.4, 0.6, 0.8 and 1."""
    told = small()["test_sets"][0]
    figure = told["figures"][0] | {"metric": metric}
    quintiles = []
    for index, (quintile, score) in enumerate(zip(CONFIDENCE_QUINTILES, scores, strict=True)):
        part = figure | {"scores": {**figure["scores"], "finetuned": {"score": score, "low": None, "high": None}}}
        bounds = {"low": index / 5, "high": (index + 1) / 5}
        quintiles.append(
            {"by": "confidence", "n": n // 5, "enough": True, "name": quintile, "figures": [part], "bounds": bounds}
        )
    return told | {"name": name, "n": n, "figures": [figure], "slices": [*told["slices"], *quintiles]}


def report_of(*test_sets: dict[str, Any]) -> Report:
    return parse_report(small() | {"test_sets": list(test_sets)})


@pytest.fixture
def receipt() -> Receipt:
    request = Request("translation", "A cat.", TranslationOptions("en", "de"), GenerationOptions())
    return Assistant(ScriptedEngine()).answer(check(request))[0].receipt


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
    assert confidence_band([REPORT], receipt, probability) == ConfidenceBand(
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
    found = [confidence_band([report], receipt, index / 5 + 0.1) for index in range(5)]
    assert [item and item.word for item in found] == words


def test_the_largest_set_of_the_same_languages_says_it(receipt: Receipt) -> None:
    larger = report_of(measured("translation.y.en-de", 500, scores=(99.0,) * 5))
    for reports in ([REPORT, larger], [larger, REPORT]):
        found = confidence_band(reports, receipt, 0.4)
        assert found is not None
        assert "score 99.0 in BLEU; all answers score 30.0 (English to German, y)" in found.measured


class Uncertain(ScriptedEngine):
    """Gives every token of an answer the same probability."""

    probability = 0.1

    def score(self, prompts: Sequence[Prompt], outputs: Sequence[Output], **settings: Any) -> list[Score]:
        return [Score(tuple(output), (math.log(self.probability),) * len(output)) for output in outputs]  # type: ignore[arg-type]


def test_an_answer_that_measured_weights_are_unsure_of_has_a_note(tmp_path: Path) -> None:
    engine = Uncertain(lambda prompt: " Eins.")
    request = check(Request("translation", "One.", TranslationOptions("en", "de"), GenerationOptions()))
    report = small() | {"test_sets": [measured("translation.x.en-de", 400)]}
    report["model"] |= {
        "base_revision": engine.info.base_revision,
        "adapter_revision": engine.info.adapter_revision,
    }
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assistant = Assistant(engine, confidence_band_of=ConfidenceBands(engine.info, tmp_path))
    (unsure,) = assistant.answer(request)
    assert unsure.confidence_band is not None
    assert unsure.notes == (f"The model is unsure of this. {unsure.confidence_band.measured}.",)
    *_, replayed = assistant.replay(unsure.receipt)
    assert replayed.results is not None
    assert (replayed.results[0].confidence_band, replayed.results[0].notes) == (unsure.confidence_band, unsure.notes)
    engine.probability = 0.9
    (sure,) = assistant.answer(request)
    assert (sure.confidence_band and sure.confidence_band.word, sure.notes) == ("sure", ())
    assert sure.as_dict()["confidence_band"]["word"] == "sure"
    (base,) = assistant.answer(request.with_settings(variants=("base",)))
    assert (base.confidence_band, base.notes) == (None, ())
    report["model"] |= {"base_revision": "cccccccccccc"}
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    engine.probability = 0.1
    for folder in (tmp_path, tmp_path / "none"):
        (unmeasured,) = Assistant(engine, confidence_band_of=ConfidenceBands(engine.info, folder)).answer(request)
        assert (unmeasured.confidence_band, unmeasured.notes) == (None, ())


def test_a_withheld_answer_has_no_confidence_band() -> None:
    band = ConfidenceBand("unsure", "Measured")
    request = Request(
        "question_answering", "Anna is in Rome.", QuestionOptions("Where?"), GenerationOptions(min_support=9.0)
    )
    for generation, expected in ((request.generation, None), (GenerationOptions(), band)):
        checked = check(replace(request, generation=generation))
        (result,) = Assistant(Uncertain(), confidence_band_of=lambda _: band).answer(checked)
        assert bool(result.withheld) is (expected is None)
        assert result.confidence_band == expected


def test_without_measurements_there_is_no_word(receipt: Receipt) -> None:
    assert (
        confidence_band([REPORT], replace(receipt, task="summarization", options={"length": "sentence"}), 0.1) is None
    )
    assert confidence_band([REPORT], replace(receipt, options={"source": "en", "target": "fr"}), 0.1) is None
    assert confidence_band([parse_report(small())], receipt, 0.1) is None
    assert confidence_band([], receipt, 0.1) is None


def test_another_strength_of_the_finetuning_is_another_model(receipt: Receipt) -> None:
    weaker = replace(receipt, generation=receipt.generation | {"adapter_strength": 0.5})
    assert confidence_band([REPORT], weaker, 0.1) is None
    half = measured("translation.x.en-de", 400) | {"generation": {"adapter_strength": 0.5}}
    assert confidence_band([report_of(half)], weaker, 0.1) is not None
    assert confidence_band([report_of(half)], receipt, 0.1) is None
    none = measured("translation.x.en-de", 400) | {"generation": {"adapter_strength": 0.0}}
    assert confidence_band([report_of(none)], receipt, 0.1) is None


def test_other_tasks_need_no_languages(receipt: Receipt) -> None:
    answers = report_of(measured("question_answering.q", 400) | {"task": "question_answering"})
    asked = replace(receipt, task="question_answering", options={"question": "Who?"})
    found = confidence_band([REPORT, answers], asked, 0.2)
    assert found is not None
    assert "score 12.0 in BLEU" in found.measured
