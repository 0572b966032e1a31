import random

import numpy as np
import pytest

from phi2demo.benchmark.masker import make_masker, partition_tree
from phi2demo.benchmark.texts import EXAMPLES
from phi2demo.settings import EMBEDDED_MODEL


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
    mask = np.random.default_rng(0).random(ours.shape(text)[1]) < 0.5
    assert ours(mask, text) == stock(mask, text)
