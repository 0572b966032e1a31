import math
from dataclasses import replace
from typing import Any

import pytest

from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.learning_curve import LearningCurve, learning_curves
from phi2demo.evaluation.learning_words import needed, to_markdown
from phi2demo.evaluation.results import MeasureValue, ReportValue, as_report

BLEU = ("translation.cats.en-de", "bleu")


def figure(metric: str, finetuned: float, *, lower: bool = False) -> dict[str, Any]:
    scores = {
        form: {"score": score, "low": score - 1, "high": score + 1}
        for form, score in (("finetuned", finetuned), ("base_template", 0.5), ("base_plain", finetuned / 2))
    }
    return {"metric": metric, "title": metric, "higher_is_better": not lower, "digits": 1, "scores": scores}


def report(score: float, *, tokens: int | None, tuned: int | None = 0, sha: str = "ab", **changes: Any) -> ReportValue:
    """Of weights that are known by how much they were trained; one operation for each token of pretraining but six."""
    measure = {
        "name": BLEU[0],
        "task": "translation",
        "n": 9,
        "data": {"sha256": sha},
        "figures": [figure("bleu", score), figure("chrf", score + 20)],
    }
    told = {
        "made_at": "2026-11-27T00:00:00",
        "settings": {"limit": None},
        "model": {
            "base": "base",
            "base_revision": f"base {tokens}",
            "adapter": "adapter",
            "adapter_revision": f"adapter {tokens} {tuned}",
            "device": "cpu",
            "dtype": "float32",
            "parameters": 1,
            "training": {"pretraining_tokens": tokens, "finetuning_tokens": tuned},
        },
        "measures": [measure],
    }
    told["model"] |= changes  # type: ignore[operator]
    return as_report(told)


def the_curve(*reports: ReportValue, **targets: float) -> LearningCurve:
    (curve,) = learning_curves(reports, targets={(BLEU[0], metric): score for metric, score in targets.items()}).curves
    return curve


def test_training_is_counted_in_operations() -> None:
    told = learning_curves([report(10, tokens=100, tuned=50), report(20, tokens=1000, tuned=0)])
    assert [each.amount("operations") for each in told.weights] == [6 * 100 + 4 * 50, 6 * 1000]
    assert told.along == "operations"


def test_points_go_from_the_least_training_to_the_most() -> None:
    curve = the_curve(report(30, tokens=1000), report(10, tokens=10), report(20, tokens=100))
    assert [point.finetuned.score for point in curve.points] == [10, 20, 30]
    assert [point.base and point.base.score for point in curve.points] == [5, 10, 15]  # the better form


@pytest.mark.parametrize(("last", "slope"), [(30, 10.0), (20, 5.0), (10, 0.0), (5, -2.5)])
def test_ten_times_the_training_by_least_squares(last: float, slope: float) -> None:
    middle = (10 + last) / 2
    curve = the_curve(report(10, tokens=10), report(middle, tokens=100), report(last, tokens=1000))
    assert curve.per_tenfold == pytest.approx(slope)


def test_a_target_takes_as_much_as_the_straight_line_says() -> None:
    curve = the_curve(report(10, tokens=10), report(20, tokens=100), bleu=25)
    assert curve.times == pytest.approx(math.sqrt(10))
    assert needed(curve) == "3.2 times the most"


@pytest.mark.parametrize(("target", "words"), [(40, "100 times"), (50.5, "1,100 times"), (90, "over a million times")])
def test_large_multiples_are_rounded(target: float, words: str) -> None:
    assert needed(the_curve(report(10, tokens=10), report(20, tokens=100), bleu=target)) == f"{words} the most"


@pytest.mark.parametrize(("scores", "target", "words"), [
    ((10, 20), 20, "reached"),
    ((10, 20), 20.1, "a little more than the most"),
    ((25, 20), 25, "reached by one trained less"),
    ((20, 10), 25, "not by more of the same"),
    ((10, 10), 25, "not by more of the same"),
])  # fmt: skip
def test_what_a_target_takes_in_words(scores: tuple[float, float], target: float, words: str) -> None:
    curve = the_curve(*(report(score, tokens=10**at) for at, score in enumerate(scores, 1)), bleu=target)
    assert needed(curve) == words


def test_told_are_the_first_metric_or_those_with_a_target() -> None:
    reports = [report(10, tokens=10), report(20, tokens=100)]
    assert [curve.metric for curve in learning_curves(reports).curves] == ["bleu"]
    told = learning_curves(reports, targets={(BLEU[0], "chrf"): 50})
    assert [(curve.metric, curve.target) for curve in told.curves] == [("chrf", 50)]


def test_reports_of_the_same_weights_are_one_point() -> None:
    told = learning_curves([report(10, tokens=10), report(20, tokens=100), report(20, tokens=100, base="elsewhere")])
    assert len(told.weights) == 2


def test_weights_of_one_amount_are_told_apart() -> None:
    told = learning_curves([report(10, tokens=10), report(18, tokens=100), report(22, tokens=100, base_revision="b")])
    assert "| 10.0 (+5.0) | 18.0 (+9.0) | 22.0 (+11.0) | +10.0 |" in to_markdown(told)


def test_finetunings_of_one_base_go_by_their_tokens() -> None:
    told = learning_curves([report(10, tokens=9000, tuned=10), report(20, tokens=9000, tuned=100)])
    assert told.along == "tokens"
    assert told.curves[0].per_tenfold == pytest.approx(10)


def test_only_measures_of_the_weights_asked_for_are_told() -> None:
    first, second, own = report(10, tokens=10), report(20, tokens=100), report(30, tokens=1000, sha="cd")
    assert len(learning_curves([first, second, own]).curves[0].points) == 2
    with pytest.raises(DataError, match="no measure in common"):
        learning_curves([first, second, own], of=own)
    assert len(learning_curves([first, second, own], of=second).curves) == 1


def test_of_several_sets_of_one_name_those_count_that_most_were_measured_on() -> None:
    both = [report(20, tokens=100, sha=sha) for sha in ("cd", "ab")]
    for order in (both, both[::-1]):
        assert [point.finetuned.score for point in the_curve(report(10, tokens=10), *order).points] == [10, 20]


def test_a_base_alone_and_other_strengths_have_no_part() -> None:
    bare = replace(report(5, tokens=10), measures=tuple(map(without_finetuned, report(5, tokens=10).measures)))
    assert len(learning_curves([bare, report(10, tokens=100), report(20, tokens=1000)]).weights) == 2
    half = report(10, tokens=10)
    half = replace(half, measures=tuple(replace(each, adapter_strength=0.5) for each in half.measures))
    with pytest.raises(DataError, match="no measure in common"):
        learning_curves([half, report(20, tokens=100)])


def without_finetuned(measure: MeasureValue) -> MeasureValue:
    bare = [{form: score for form, score in each.scores.items() if form != "finetuned"} for each in measure.figures]
    figures = zip(measure.figures, bare, strict=True)
    return replace(measure, figures=tuple(replace(figure, scores=scores) for figure, scores in figures))


def test_finetunings_of_one_base_without_records_of_it_go_by_their_tokens() -> None:
    told = learning_curves([report(10, tokens=None, tuned=10), report(20, tokens=None, tuned=100)])
    assert told.along == "tokens"
    assert [each.amount(told.along) for each in told.weights] == [10, 100]


def test_what_does_not_compare_is_said() -> None:
    first = report(10, tokens=10)
    with pytest.raises(DataError, match="no measure in common on the same items"):
        learning_curves([first, report(20, tokens=100, sha="cd")])
    with pytest.raises(DataError, match="does not say how much its model was trained"):
        learning_curves([first, report(20, tokens=100, training=None)])
    with pytest.raises(DataError, match="have to be of finetunings of one base"):
        learning_curves([first, report(20, tokens=None, tuned=3)])
    with pytest.raises(SettingsError, match=r"target of translation\.cats\.en-de:rouge1: no two reports have it"):
        learning_curves([first, report(20, tokens=100)], targets={(BLEU[0], "rouge1"): 1})


def test_the_tables_say_weights_scores_and_what_a_target_takes() -> None:
    told = learning_curves([report(10, tokens=10), report(20, tokens=100, tuned=5)], targets={BLEU: 40})
    text = to_markdown(told)
    assert "| 6.2e2 | 1 | 100 | 5 | base 100-adapter 100 |" in text
    assert (
        "| translation.cats.en-de | bleu | 9 | 10.0 (+5.0) | 20.0 (+10.0) | +9.9 |  | 40.0 | 110 times the most |"
        in text
    )
