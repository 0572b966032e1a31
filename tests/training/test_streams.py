from pathlib import Path

import numpy as np
import pytest

from phi2demo.errors import SettingsError
from phi2demo.training.streams import DEFAULT_WEIGHT, Blocks, weight_of, write_stream
from phi2demo.training.tokenizer import train_tokenizer


def stream(start: int, size: int) -> np.ndarray:
    return np.arange(start, start + size, dtype=np.uint16)


def test_a_block_follows_from_seed_and_step() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500)}, [1, 1], seed=3)
    first = blocks.at(7, rows=4, length=16)
    assert first.shape == (4, 17)
    assert (np.diff(first) == 1).all()
    np.testing.assert_array_equal(first, Blocks(blocks.streams, blocks.weights, seed=3).at(7, rows=4, length=16))
    assert not np.array_equal(first, blocks.at(8, rows=4, length=16))
    assert not np.array_equal(first, Blocks(blocks.streams, blocks.weights, seed=4).at(7, rows=4, length=16))


def test_weights_are_respected() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500), "c": stream(2000, 500)}, [3, 1, 0], seed=0)
    drawn = np.concatenate([blocks.at(step, rows=50, length=4)[:, 0] // 1000 for step in range(40)])
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx([0.75, 0.25, 0], abs=0.03)
    assert shares[2] == 0


def test_blocks_of_one_data_set_are_the_same_every_time() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500)}, [1, 0], seed=3)
    drawn = blocks.of("b", rows=3, length=8)
    assert drawn.shape == (3, 9)
    assert (drawn >= 1000).all()
    np.testing.assert_array_equal(drawn, blocks.of("b", rows=3, length=8))


def test_a_short_stream_is_repeated() -> None:
    block = Blocks({"a": stream(0, 3)}, [1], seed=0).at(0, rows=1, length=7)
    assert block.tolist() == [[0, 1, 2, 0, 1, 2, 0, 1]]


@pytest.mark.parametrize(("streams", "weights"), [({}, []), ({"a": stream(0, 9)}, [0])])
def test_nothing_to_draw_from(streams: dict[str, np.ndarray], weights: list[float]) -> None:
    with pytest.raises(SettingsError, match="No training text has a weight above 0"):
        Blocks(streams, weights, seed=0)


@pytest.mark.parametrize(
    ("name", "overrides", "weight"),
    [
        ("tatoeba.en-de", {}, 0.16),
        ("tatoeba.en-de", {"tatoeba": 0.5}, 0.5),
        ("tatoeba.en-de", {"tatoeba.en-fr": 0.5}, 0.16),
        ("mine", {}, DEFAULT_WEIGHT),
        ("mine", {"mine": 0}, 0),
    ],
)
def test_weight_of(name: str, overrides: dict[str, float], weight: float) -> None:
    assert weight_of(name, overrides) == weight


def test_write_stream(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["one two three " * 9], vocab_size=280, context=64)
    path = tmp_path / "x.u16"
    length = write_stream(["one two", "three", "two"], tokenizer, path, seed=0)
    ids = np.fromfile(path, dtype=np.uint16)
    assert len(ids) == length
    assert sorted(tokenizer.decode(ids).split("<|endoftext|>")) == ["", "one two", "three", "two"]
    assert ids[-1] == tokenizer.eos_token_id
    again = tmp_path / "y.u16"
    write_stream(["one two", "three", "two"], tokenizer, again, seed=0)
    assert again.read_bytes() == path.read_bytes()
