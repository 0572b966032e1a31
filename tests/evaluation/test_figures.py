import json
from typing import Any

from phi2demo.evaluation.datasets import DataFile, Item, Measure
from phi2demo.evaluation.figures import Scored
from phi2demo.evaluation.statistics import Resamples

FILE = DataFile("tales.test.jsonl", "ab" * 32, "test")
UNSCORED = "0.0 0 0"
"""Of an item that is too long for the model."""


def scored(*outputs: str) -> Scored:
    """Of texts of two genres in turn, by a finetuned model and a base that needs a bit more for each."""
    rows: list[dict[str, Any]] = [{"text": "A tale.", "genre": ("news", "story")[at % 2]} for at in range(len(outputs))]
    measure = Measure("prose.tales", "prose", FILE, tuple(Item(at, row, ("A tale.",)) for at, row in enumerate(rows)))
    more = [UNSCORED if each == UNSCORED else f"{float(each.split()[0]) + 7} 7 2" for each in outputs]
    return Scored.of(measure, {"finetuned": outputs, "base_plain": more})


def test_what_was_not_scored_has_no_part_in_a_figure() -> None:
    resamples = Resamples.draw(3, resamples=200)
    bits, _ = scored("7.0 7 2", UNSCORED, UNSCORED).figures(resamples, peers={})
    assert bits["scores"]["finetuned"] == {"score": 1.0, "low": 1.0, "high": 1.0}
    assert (bits["difference"]["value"], bits["difference"]["low"], bits["difference"]["high"]) == (-1.0, -1.0, -1.0)
    assert 0 < bits["difference"]["p"] <= 1
    json.dumps(bits, allow_nan=False)


def test_where_nothing_was_scored_there_is_no_figure() -> None:
    assert scored(UNSCORED, UNSCORED).figures(Resamples.draw(2, resamples=200), peers={}) == []


def test_a_slice_in_which_nothing_was_scored_has_none() -> None:
    slices = scored("7.0 7 2", UNSCORED, "14.0 7 2", UNSCORED).slices(resamples=200, seed=1)
    found = {each["name"]: len(each["figures"]) for each in slices if each["by"] == "genre"}
    assert found == {"news": 2, "story": 0}
    json.dumps(slices, allow_nan=False)
