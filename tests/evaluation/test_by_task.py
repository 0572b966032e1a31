"""What several sets of a task say together, and where they say nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from phi2demo.errors import DataError
from phi2demo.evaluation.by_task import by_task, combined, heterogeneity, p_value, to_markdown
from phi2demo.evaluation.results import DifferenceValue, FigureValue, MeasureValue, ScoreValue, as_measures
from phi2demo.evaluation.statistics import Resamples
from tests.evaluation.test_report import FIGURE

SCORES = {"finetuned": ScoreValue(2.0, None, None), "base_plain": ScoreValue(1.0, None, None)}


def figure(metric: str, difference: DifferenceValue | None, *, higher_is_better: bool = True) -> FigureValue:
    return FigureValue(metric, metric.upper(), higher_is_better, 1, SCORES, "base_plain", difference)  # type: ignore[arg-type]


def measure(name: str, *figures: FigureValue, n: int = 100) -> MeasureValue:
    return MeasureValue(name, name.partition(".")[0], n, figures, (), "0")


SURE = DifferenceValue(3.0, 2.0, 4.0, 0.001)
UNSURE = DifferenceValue(1.0, -1.0, 3.0, 0.3)


def test_surer_sets_count_more() -> None:
    """Where both gain alike: twice the interval, a quarter of the weight, (4 x 3 + 1 x 2.5) / 5, by hand."""
    found = combined([SURE, replace(UNSURE, value=2.5, low=0.5, high=4.5)])
    assert found.value == pytest.approx(2.9)
    assert (found.low + found.high) / 2 == pytest.approx(found.value)
    assert found.high - found.low == pytest.approx(2 / 1.96 * 12.706 / np.sqrt(1.25), abs=1e-3), "Student's t of one"
    assert combined([UNSURE]) == UNSURE, "a single set has its own test"


def test_sets_that_differ_count_more_alike_and_say_less() -> None:
    """Variances 0.2603 and 1.0412 of the sets and, from Q = 3.0732, 1.3492 between them, by hand."""
    found = combined([SURE, UNSURE])
    assert found.value == pytest.approx((3 / 1.6095 + 1 / 2.3904) / (1 / 1.6095 + 1 / 2.3904), abs=1e-3)
    assert found.high - found.low == pytest.approx(2 * 12.706 / np.sqrt(1 / 1.6095 + 1 / 2.3904), abs=1e-2)
    contrary = [DifferenceValue(4.0, 3.0, 5.0, 0.001), DifferenceValue(-1.0, -2.0, 0.0, 0.04)]
    assert not combined(contrary).is_clear, "two sets that say the contrary do not make a task"


def test_several_unsure_sets_may_be_sure_together_and_two_are_not() -> None:
    almost = DifferenceValue(1.0, -0.1, 2.1, 0.07)
    assert not almost.is_clear
    assert combined([almost] * 5).is_clear
    assert not combined([almost] * 2).is_clear
    assert combined([almost, DifferenceValue(-1.0, -2.1, 0.1, 0.07)]).p == pytest.approx(1.0)


@pytest.mark.parametrize("sets", [2, 3, 8])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_sets_without_a_gain_on_average_are_seldom_sure(sets: int, spread: float) -> None:
    """Planted: gains of mean 0 and this spread from set to set, each known with a standard error of 0.5."""
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(2000):
        values = random.normal(0.0, np.hypot(spread, 0.5), size=sets)
        wrong += combined([DifferenceValue(v, v - 0.98, v + 0.98, 0.0) for v in values]).is_clear
    assert wrong / 2000 < 0.065, "by the normal distribution a quarter of two sets that differ so were"


def test_a_difference_without_an_interval_is_left_out() -> None:
    nothing = DifferenceValue(0.0, 0.0, 0.0, 1.0)
    assert combined([nothing, SURE, nothing]).value == pytest.approx(3.0)
    assert combined([nothing, nothing]) == nothing
    with pytest.raises(ValueError, match="no difference"):
        combined([])


def test_how_much_the_sets_differ() -> None:
    """Q = 4 (3 - 2.6)^2 / s^2 + (1 - 2.6)^2 / s^2 with s = 2 / 1.96, by hand."""
    q = (4 * 0.4**2 + 1.6**2) * (1.959964 / 2) ** 2
    assert heterogeneity([SURE, UNSURE]) == pytest.approx(1 - 1 / q)
    assert heterogeneity([SURE, SURE]) == heterogeneity([SURE]) == heterogeneity([]) == 0.0
    assert heterogeneity([SURE, replace(SURE, value=3.1, low=2.1, high=4.1)]) == 0.0, "less than chance gives"


def mean_of(sums: Any) -> float:
    return float(sums[0] / sums[1])


def test_it_agrees_with_a_bootstrap_over_both_sets() -> None:
    """Two planted sets of one mean and unlike sizes: resampled together, and combined from their own intervals."""
    random = np.random.default_rng(0)
    sets = [random.normal(mean, 1.0, size=(size, 1)) for mean, size in ((0.15, 300), (0.15, 900))]
    own, drawn = [], []
    for number, values in enumerate(sets):
        resamples = Resamples.draw(len(values), seed=number)
        counted = np.hstack([values, np.ones_like(values)])
        difference = resamples.compare(counted, counted * [0.0, 1.0], mean_of)
        own.append(DifferenceValue(difference.value, difference.low, difference.high, difference.p))
        drawn.append(resamples.scores(counted, mean_of))
    found = combined(own)
    pooled = 0.25 * drawn[0] + 0.75 * drawn[1]  # the variances are as 3 to 1
    assert found.value == pytest.approx(pooled.mean(), abs=0.01)
    assert found.high - found.low == pytest.approx(2 * 12.706 * pooled.std(), rel=0.1)


def test_each_task_has_the_metrics_that_all_its_sets_share() -> None:
    measures = [
        measure("translation.a", figure("bleu", SURE), figure("chrf", SURE)),
        measure("sentiment.c", figure("accuracy", UNSURE)),
        measure("translation.b", figure("chrf", UNSURE), figure("ter", SURE)),
        measure("translation.alone", figure("chrf", None)),
    ]
    found = by_task(measures)
    assert [(each.task, each.title, each.sets, each.n) for each in found] == [
        ("translation", "CHRF", 2, 200),
        ("sentiment", "ACCURACY", 1, 100),
    ]
    assert found[1].difference == UNSURE


def test_what_is_lower_may_be_better() -> None:
    (found,) = by_task([measure("prose.a", figure("bits", SURE, higher_is_better=False))])
    assert (found.gain, found.verdict) == (-3.0, "worse")
    assert by_task([measure("prose.a", figure("bits", UNSURE))])[0].verdict == "no sure difference"


def test_too_few_items_are_not_told_of() -> None:
    few = [measure("translation.a", figure("bleu", SURE), n=9), measure("translation.b", figure("bleu", SURE), n=10)]
    assert by_task(few) == ()
    assert by_task([*few, replace(few[0], name="translation.c", n=1)])[0].sets == 3


def test_the_table_says_what_the_sets_come_to() -> None:
    raw = {"task": "translation", "n": 1000, "data": {"sha256": "0"}, "figures": [FIGURE]}
    measures = as_measures([raw | {"name": f"translation.{name}"} for name in "abcd"])
    _, _, row = to_markdown(measures).split("\n")
    assert row == "| translation | BLEU | 4 | 4,000 | +4.8 (+2.0 to +7.7) | 0.012 | better | 0 % |"
    assert to_markdown(measures[:1]) == "", "one set says it itself"
    with pytest.raises(DataError, match=r"measures\[0\]\.n is missing"):
        as_measures([{"name": "x", "task": "y", "data": {"sha256": "0"}}])


@pytest.mark.parametrize(("p", "said"), [(0.0, "< 0.001"), (0.0004, "< 0.001"), (0.0006, "0.001"), (0.25, "0.250")])
def test_no_chance_is_none(p: float, said: str) -> None:
    assert p_value(p) == said
