""""""

from typing import Any

import pytest

from phi2demo.data.test_sets import DataFile, Item, TestSet
from phi2demo.evaluation.figures import Scored
from phi2demo.evaluation.report import Score
from phi2demo.evaluation.slices import LEAST_TO_RANK
from phi2demo.evaluation.statistics import Resamples

FILE = DataFile("tales.test.jsonl", "ab" * 32, "test")
UNSCORED = "0.0 0 0"
"""Of an item that is too long for the model."""


def scored(*outputs: str) -> Scored:
    """Of texts of two genres in turn, by a finetuned model and a base that needs a bit more for each."""
    rows: list[dict[str, Any]] = [
        {"text": "A tale.", "genre": ("news", "story")[index % 2]} for index in range(len(outputs))
    ]
    test_set = TestSet(
        "prose.tales", "prose", FILE, tuple(Item(index, row, ("A tale.",)) for index, row in enumerate(rows))
    )
    more = [UNSCORED if item == UNSCORED else f"{float(item.split()[0]) + 7} 7 2" for item in outputs]
    return Scored.of(test_set, {"finetuned": outputs, "base_plain": more})


def test_what_was_not_scored_has_no_part_in_a_figure() -> None:
    outputs = ["7.0 7 2"] * LEAST_TO_RANK + [UNSCORED] * 5
    bits, _ = scored(*outputs).figures(Resamples.draw(len(outputs), resamples=200), baselines={})
    assert bits.scores["finetuned"] == Score(score=1.0, low=1.0, high=1.0)
    assert bits.difference is not None
    assert (bits.difference.value, bits.difference.low, bits.difference.high) == (-1.0, -1.0, -1.0)


def test_too_few_scored_items_among_others_give_no_difference() -> None:
    few, all_scored = ["7.0 7 2", UNSCORED, UNSCORED], ["7.0 7 2"] * 3
    drawn = Resamples.draw(3, resamples=200)
    assert [figure.difference is not None for figure in scored(*few).figures(drawn, baselines={})] == [False, False]
    assert [figure.difference is not None for figure in scored(*all_scored).figures(drawn, baselines={})] == [
        True,
        True,
    ]


@pytest.mark.parametrize("bits", ["1100.0", "inf"])
def test_a_score_beyond_all_numbers_is_no_figure(bits: str) -> None:
    figures = scored(f"{bits} 1 1").figures(Resamples.draw(1, resamples=200), baselines={})
    assert [figure.metric for figure in figures] == (["bits_per_character"] if bits != "inf" else [])


def test_where_nothing_was_scored_there_is_no_figure() -> None:
    assert scored(UNSCORED, UNSCORED).figures(Resamples.draw(2, resamples=200), baselines={}) == ()


def test_a_slice_in_which_nothing_was_scored_has_none() -> None:
    slices = scored("7.0 7 2", UNSCORED, "14.0 7 2", UNSCORED).slices(resamples=200, seed=1)
    assert {part.name: len(part.figures) for part in slices if part.by == "genre"} == {"news": 2, "story": 0}
