import numpy as np
import pytest
import torch

from phi2demo.training.batch import Batch
from phi2demo.training.packs import LEAST_SHARED, Pack, make_packs, make_rows

PROMPT = [7, 7, 7, 7, 7, 7]
OTHER = [9, 9, 9, 9, 9, 9]


def batch_of(*rows: tuple[list[int], int]) -> Batch:
    """Of (tokens, how many before the first target); every target weighs as much as its row's number from 1."""
    width = max(len(ids) for ids, _ in rows)
    ids, labels = torch.zeros(len(rows), width, dtype=torch.long), torch.full((len(rows), width), -100)
    mask, weights = torch.zeros_like(ids), torch.zeros(len(rows), width)
    for row, (tokens, free) in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = torch.tensor(tokens), 1
        labels[row, free : len(tokens)] = torch.tensor(tokens[free:]) + 1
        weights[row, free : len(tokens)] = row + 1
    return Batch(ids, labels, mask, weights)


def read_back(packs: list[Pack]) -> list[tuple[int, int, int, float]]:
    """(token, its position, label, weight) of all targets."""
    return sorted(
        (int(pack.tokens[at]), int(pack.positions[at]), int(label), float(weight))
        for pack in packs
        for at, label, weight in zip(pack.targets, pack.labels, pack.weights, strict=True)
    )


def test_rows_that_begin_alike_share_it() -> None:
    (pack,) = make_packs(batch_of(([*PROMPT, 1, 2, 3], 7), ([*PROMPT, 4, 5], 6), ([8, 1], 1)), 100)
    assert pack.prefixes == (6,)
    assert pack.tokens[:6].tolist() == PROMPT
    assert [(part.prefix, part.rows, part.length) for part in pack.parts] == [(0, 1, 2), (0, 1, 3), (None, 1, 2)]
    assert len(pack.tokens) == 6 + 2 + 3 + 2
    assert pack.positions.tolist() == [*range(6), 6, 7, 6, 7, 8, 0, 1]


@pytest.mark.parametrize("tokens", [1, 12, 20, 1000])
def test_every_target_is_in_one_pack(tokens: int) -> None:
    random = np.random.default_rng(0)
    starts = (PROMPT, OTHER, [*PROMPT, 1, 1, 1, 1, 1], [])
    rows = []
    for number in range(40):
        ids = [*starts[number % 4], *random.integers(1, 5, size=int(random.integers(2, 12))).tolist()]
        rows.append((ids, int(random.integers(1, len(ids)))))
    batch = batch_of(*rows)
    expected = [
        (int(batch.input_ids[row, at]), int(at), int(batch.labels[row, at]), float(row + 1))
        for row, at in (batch.labels != -100).nonzero().tolist()
    ]
    packs = make_packs(batch, tokens)
    assert read_back(packs) == sorted(expected)
    assert sum(part.rows for pack in packs for part in pack.parts) == len(rows)
    longest = max(len(ids) for ids, _ in rows)
    assert all(len(pack.tokens) <= max(tokens, longest) for pack in packs)


def test_what_is_shared_ends_before_the_first_target() -> None:
    (pack,) = make_packs(batch_of((PROMPT, 5), (PROMPT, 5)), 100)
    assert pack.prefixes == (5,)
    (pack,) = make_packs(batch_of((PROMPT, 5), (PROMPT, LEAST_SHARED - 1)), 100)
    assert pack.prefixes == ()


def test_a_longer_beginning_of_many_beats_a_shorter_one_of_more() -> None:
    many = [([*PROMPT, *OTHER, n, n], 13) for n in range(1, 9)]
    (pack,) = make_packs(batch_of(*many, ([*PROMPT, 5, 5], 7)), 1000)
    assert pack.prefixes == (12,)


def test_without_mask_and_weights_every_token_counts() -> None:
    (pack,) = make_packs(Batch(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[2, 3], [4, 5]])), 100)
    assert (pack.labels.tolist(), pack.weights.tolist()) == ([2, 3, 4, 5], [1, 1, 1, 1])


@pytest.mark.parametrize("tokens", [1, 24, 1000])
def test_rows_one_after_the_other_keep_every_target_and_their_places(tokens: int) -> None:
    rows = [([*PROMPT, 1, 2], 6), ([3] * 11, 4), ([4, 5], 1), ([6], 0), ([*OTHER, 8, 8, 8], 2)]
    batch = batch_of(*rows)
    packs = make_rows(batch, tokens, 12)
    assert read_back(packs) == read_back(make_packs(batch, 1))
    assert sum(part.rows for pack in packs for part in pack.parts) == 3  # 11 + 1, 9 + 2 and 8 of 12 tokens
    for pack in packs:
        assert pack.texts is not None
        assert len(pack.tokens) <= max(12, tokens)
        starts = np.flatnonzero((pack.positions == 0) & (pack.texts >= 0))
        assert len({(at // 12, pack.texts[at]) for at in starts}) == len(starts)
