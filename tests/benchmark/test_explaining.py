"""The comparison with stock shap, on a tiny model and with few evaluations."""

import pytest

from phi2demo.benchmark.explaining import EXAMPLES, Example, ExplainingComparison, compare
from phi2demo.engine.loading import LoadedModel
from phi2demo.engine.local import LocalEngine
from phi2demo.errors import SettingsError

SHORT = (
    Example("The train to the coast leaves at eight.", " Der Zug"),
    Example("It rained all day, so the children read.", " they stayed at home"),
)


@pytest.fixture(scope="module")
def result(loaded: LoadedModel, engine: LocalEngine) -> ExplainingComparison:
    return compare(loaded, engine, SHORT, max_evals=24, repeats=2)


def test_both_sides_give_the_same_values(result: ExplainingComparison) -> None:
    assert result.max_difference < 1e-4
    assert result.max_difference == max(text.max_difference for text in result.texts)


def test_seconds_add_up_to_the_ratios(result: ExplainingComparison) -> None:
    assert len(result.texts) == 2
    assert result.peer == pytest.approx(sum(text.peer_seconds for text in result.texts))
    assert result.ratio == pytest.approx(result.peer / result.ours)
    assert result.peer_cpu_seconds == pytest.approx(sum(text.peer_cpu_seconds for text in result.texts))
    assert result.peer_cpu_seconds > 0
    assert result.cpu_ratio == pytest.approx(result.peer_cpu_seconds / result.ours_cpu_seconds)


def test_another_model_on_our_side_is_seen(loaded: LoadedModel, base_engine: LocalEngine) -> None:
    assert compare(loaded, base_engine, SHORT[:1], max_evals=16).max_difference > 1e-3


@pytest.mark.parametrize(
    ("max_evals", "repeats", "message"),
    [(3, 1, "max_evals is 3; give a whole number from 16"), (16, 0, "--repeats 0: give a number from 1")],
)
def test_too_little_to_measure_is_refused(
    loaded: LoadedModel, engine: LocalEngine, max_evals: int, repeats: int, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        compare(loaded, engine, SHORT, max_evals=max_evals, repeats=repeats)


def test_texts_have_20_to_150_words() -> None:
    words = [len(example.text.split()) for example in EXAMPLES]
    assert len(words) >= 5
    assert min(words) >= 20
    assert max(words) <= 150
    assert max(words) > 140


def test_texts_have_single_spaces_so_that_both_sides_hide_the_same() -> None:
    assert all(example.text == " ".join(example.text.split()) for example in EXAMPLES)
