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
    chance = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        for spaced in (text, f" \n{text}  two\n\nlines\t"):
            mask = chance.random(ours.shape(spaced)[1]) < share
            assert ours(mask, spaced) == stock(mask, spaced)
    assert ours(True, text) == stock(True, text)
