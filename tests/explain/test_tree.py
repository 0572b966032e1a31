import numpy as np
import pytest
from numpy.typing import NDArray

from phi2demo.explain.shapley import partition_values
from phi2demo.explain.tree import complete_calls, linkage, owen_values
from phi2demo.explain.units import split

TEXT = "It rains, so we stay. The cat sleeps.\n\nA new day begins at last."


class Table:
    """A value function of random numbers, which remembers the masks that it scored."""

    def __init__(self, units: int, columns: int = 2, seed: int = 0) -> None:
        self.rows = np.random.default_rng(seed).normal(size=(2**units, columns))
        self.known: dict[bytes, NDArray[np.float64]] = {}
        self.scored = 0

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        self.scored += len(masks)
        values = self.rows[masks @ (1 << np.arange(masks.shape[1]))]
        self.known |= {mask.tobytes(): row for mask, row in zip(masks, values, strict=True)}
        return np.asarray(values)

    def look_up(self, mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        return self.known.get(mask.tobytes())


def leaves(tree: NDArray[np.float64], node: int) -> list[int]:
    units = len(tree) + 1
    if node < units:
        return [node]
    return [leaf for child in tree[node - units, :2] for leaf in leaves(tree, int(child))]


def test_a_tree_is_cut_between_paragraphs_then_sentences_then_clauses() -> None:
    units = split(TEXT, "words")
    tree = linkage(units, [split(TEXT, "paragraphs"), split(TEXT, "sentences")])
    groups = {tuple(leaves(tree, len(units) + row)) for row in range(len(tree))}
    texts = {"".join(units[index].text for index in group).strip() for group in groups}
    assert {"It rains, so we stay. The cat sleeps.", "It rains, so we stay.", "The cat sleeps.", "It rains,"} <= texts
    assert "A new day begins at last." in texts
    assert [int(row[3]) for row in tree] == [len(leaves(tree, len(units) + row)) for row in range(len(tree))]
    assert leaves(tree, 2 * len(units) - 2) == list(range(len(units)))


def test_a_plain_tree_is_balanced() -> None:
    tree = linkage(split("word " * 64, "words"))
    assert tree[-1, 2] == 6
    assert linkage(split("one", "words")).shape == (0, 4)


@pytest.mark.parametrize("max_evals", [16, 40, 1000])
def test_owen_values_from_scored_masks_are_those_of_shap(max_evals: int) -> None:
    units = split(TEXT, "words")
    tree = linkage(units)
    value_function = Table(len(units))
    expected = partition_values(value_function, tree, max_evals=max_evals, seed=0).values
    owen = owen_values(tree, value_function.look_up)
    assert owen is not None
    np.testing.assert_allclose(owen.values, expected, atol=1e-12)
    complete = max_evals == 1000
    assert (owen.opened == 1) == complete
    assert (owen.split_evenly == 0) == complete
    if complete:
        assert value_function.scored == complete_calls(tree)


def test_values_add_up_however_little_is_known() -> None:
    units = split(TEXT, "words")
    tree = linkage(units)
    value_function = Table(len(units))
    assert owen_values(tree, value_function.look_up) is None
    ends = value_function(np.array([[False] * len(units), [True] * len(units)]))
    owen = owen_values(tree, value_function.look_up)
    assert owen is not None
    np.testing.assert_allclose(owen.values, np.tile((ends[1] - ends[0]) / len(units), (len(units), 1)))
    assert (owen.opened, owen.split_evenly) == (0.0, 1.0)
