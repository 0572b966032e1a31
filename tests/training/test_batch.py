import pytest
import torch

from phi2demo.training.batch import MAX_LENGTH_RATIO, Batch


def ragged(*lengths: int) -> Batch:
    """Make rows that repeat their own length; the last token of each is its only target."""
    mask = torch.tensor([[column < length for column in range(max(lengths))] for length in lengths]).long()
    ids = mask * torch.tensor(lengths)[:, None]
    labels = torch.full_like(ids, -100)
    for row, length in enumerate(lengths):
        labels[row, length - 1] = length
    return Batch(ids, labels, mask, (labels != -100).float() * torch.tensor(lengths)[:, None])


def rows_of(batch: Batch) -> list[int]:
    return batch.input_ids[:, 0].tolist()


def test_tokens_and_weight_exclude_padding() -> None:
    assert ragged(3, 8, 5).tokens == 16
    assert ragged(3, 8, 5).total_weight == 16
    block = Batch(torch.zeros(2, 4, dtype=torch.long), torch.tensor([[1, 1, 1, 1], [1, -100, 1, 1]]))
    assert (block.tokens, block.total_weight) == (8, 7)


def test_shares_hold_every_row_once_and_similar_lengths() -> None:
    shares = [ragged(3, 80, 4, 81, 40).share(index, 2) for index in range(2)]
    assert [rows_of(share) for share in shares] == [[3, 40, 81], [4, 80]]
    assert [share.input_ids.shape[1] for share in shares] == [81, 80]


@pytest.mark.parametrize(
    ("tokens", "parts"),
    [
        (1000, [[10, 11], [20, 21, 22], [60]]),
        (44, [[10, 11], [20, 21], [22], [60]]),
        (1, [[10], [11], [20], [21], [22], [60]]),
        (None, [[21, 10, 60, 22, 11, 20]]),
    ],
)
def test_parts_are_limited_and_hold_similar_lengths(tokens: int | None, parts: list[list[int]]) -> None:
    batch = ragged(21, 10, 60, 22, 11, 20)
    cut = batch.parts(tokens)
    assert [rows_of(part) for part in cut] == parts
    assert sum(part.tokens for part in cut) == batch.tokens
    assert sum(part.total_weight for part in cut) == batch.total_weight
    if tokens:
        for part in cut:
            lengths = rows_of(part)
            assert part.input_ids.shape[1] == max(lengths) <= MAX_LENGTH_RATIO * min(lengths)
            assert len(lengths) == 1 or part.input_ids.numel() <= tokens
