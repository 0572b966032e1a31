from pathlib import Path

import numpy as np
import pytest

from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.errors import SettingsError
from phi2demo.training.token_streams import PAD, Blocks, train_tokenizer, write_stream

TEXTS = ["The cat sleeps. " * 20, "Die Katze schläft. " * 20]


@pytest.mark.parametrize(
    "text",
    [
        "The cat sleeps.",
        " leading and  double spaces ",
        "line\nbreaks\n\n",
        "schläft 🙂 नमस्ते مرحبا",
        "\x00\x7f",
        "1234567",
    ],
)
def test_any_string_is_decoded_exactly(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, context=64)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_special_tokens_and_digits() -> None:
    tokenizer = train_tokenizer([*TEXTS, "12 12 12 12 " * 50], vocab_size=400, context=64)
    assert tokenizer.convert_tokens_to_ids([END_OF_TEXT, PAD]) == [0, 1]
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.model_max_length) == (END_OF_TEXT, PAD, 64)
    assert len(tokenizer("1212")["input_ids"]) == 4
    assert tokenizer("no special tokens are added")["input_ids"][0] != 0


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


def stream(start: int, size: int) -> np.ndarray:
    return np.arange(start, start + size, dtype=np.uint16)


def test_blocks_depend_on_seed_and_step_alone() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500)}, {"a": 1, "b": 1}, seed=3)
    first = blocks.draw(7, rows=4, length=16)
    assert first.shape == (4, 17)
    assert (np.diff(first) == 1).all()
    np.testing.assert_array_equal(first, Blocks(blocks.streams, blocks.weights, seed=3).draw(7, rows=4, length=16))
    assert not np.array_equal(first, blocks.draw(8, rows=4, length=16))
    assert not np.array_equal(first, Blocks(blocks.streams, blocks.weights, seed=4).draw(7, rows=4, length=16))


def test_weights_are_respected() -> None:
    blocks = Blocks(
        {"a": stream(0, 500), "b": stream(1000, 500), "c": stream(2000, 500)}, {"a": 3, "b": 1, "c": 0}, seed=0
    )
    drawn = np.concatenate([blocks.draw(step, rows=50, length=4)[:, 0] // 1000 for step in range(40)])
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx([0.75, 0.25, 0], abs=0.03)
    assert shares[2] == 0


def test_sampled_blocks_of_a_data_set_are_always_the_same() -> None:
    blocks = Blocks({"a": stream(0, 500), "b": stream(1000, 500)}, {"a": 1, "b": 0}, seed=3)
    drawn = blocks.sample("b", rows=3, length=8)
    assert drawn.shape == (3, 9)
    assert (drawn >= 1000).all()
    np.testing.assert_array_equal(drawn, blocks.sample("b", rows=3, length=8))


def test_a_short_stream_is_repeated() -> None:
    block = Blocks({"a": stream(0, 3)}, {"a": 1}, seed=0).draw(0, rows=1, length=7)
    assert block.tolist() == [[0, 1, 2, 0, 1, 2, 0, 1]]


@pytest.mark.parametrize(("streams", "weights"), [({}, {}), ({"a": stream(0, 9)}, {"a": 0.0})])
def test_streams_without_a_weight_are_refused(streams: dict[str, np.ndarray], weights: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="No training text has a weight above 0"):
        Blocks(streams, weights, seed=0)
