"""The comparison with stock shap, on a tiny model and with few evaluations."""

import random
from pathlib import Path

import numpy as np
import pytest

from phi2demo.benchmark.explaining import Comparison, compare, make_masker, partition_tree
from phi2demo.benchmark.inputs import EXAMPLES, Example
from phi2demo.engine.loading import LoadedModel, load
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_MODEL, ModelSettings

SHORT = (
    Example("The train to the coast leaves at eight.", " Der Zug"),
    Example("It rained all day, so the children read.", " they stayed at home"),
)


@pytest.fixture(scope="module")
def loaded(tiny_base: Path, tiny_adapter: Path) -> LoadedModel:
    return load(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu")))


@pytest.fixture(scope="module")
def result(loaded: LoadedModel) -> Comparison:
    return compare(loaded, LocalEngine(loaded), SHORT, max_evals=24, repeats=2)


def test_both_sides_give_the_same_values(result: Comparison) -> None:
    assert result.max_difference < 1e-4
    assert result.max_difference == max(text.max_difference for text in result.texts)


def test_seconds_add_up_to_the_ratios(result: Comparison) -> None:
    assert len(result.texts) == 2
    assert result.baseline_seconds == pytest.approx(sum(text.baseline_seconds for text in result.texts))
    assert result.ratio == pytest.approx(result.baseline_seconds / result.ours_seconds)
    assert result.baseline_cpu_seconds == pytest.approx(sum(text.baseline_cpu_seconds for text in result.texts))
    assert result.baseline_cpu_seconds > 0
    assert result.cpu_ratio == pytest.approx(result.baseline_cpu_seconds / result.ours_cpu_seconds)


def test_another_model_on_our_side_is_seen(loaded: LoadedModel, tiny_base: Path) -> None:
    base = LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu")))
    assert compare(loaded, base, SHORT[:1], max_evals=8).max_difference > 1e-3


@pytest.mark.parametrize(("max_evals", "repeats"), [(3, 1), (10, 0)])
def test_too_little_to_measure_is_refused(loaded: LoadedModel, max_evals: int, repeats: int) -> None:
    with pytest.raises(SettingsError, match="at least 4 evaluations"):
        compare(loaded, LocalEngine(loaded), SHORT, max_evals=max_evals, repeats=repeats)


def test_texts_have_20_to_150_words() -> None:
    words = [len(example.text.split()) for example in EXAMPLES]
    assert len(words) >= 5
    assert min(words) >= 20
    assert max(words) <= 150
    assert max(words) > 140


@pytest.mark.parametrize("seed", range(20))
def test_the_tree_is_that_of_shap(seed: int) -> None:
    from shap.maskers import _text

    chance = random.Random(seed)
    tokens = chance.choices(["the", "##s", "'", "t", ",", ".", "(", ")", "[x]", "and", '"', "[SEP]"], k=40)
    for special in ([], ["[SEP]"]):
        assert np.array_equal(partition_tree(tokens, special), _text.partition_tree(tokens, special))


def test_masked_texts_and_clusters_are_those_of_shap() -> None:
    import shap
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL)
    ours, stock = make_masker(tokenizer), shap.maskers.Text(tokenizer)
    text = EXAMPLES[2].text
    assert np.array_equal(ours.clustering(text), stock.clustering(text))
    chance = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        for spaced in (text, f" \n{text}  two\n\nlines\t"):
            mask = chance.random(ours.shape(spaced)[1]) < share
            assert ours(mask, spaced) == stock(mask, spaced)
    assert ours(True, text) == stock(True, text)
