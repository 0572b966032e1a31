import math

import numpy as np
import pytest

from phi2demo.evaluation import compression
from phi2demo.evaluation.compression import ByteNgrams, xz_bytes

TEXTS = ["the cat sat on the mat.", "the dog sat on the log!", "ünïcödé"]


@pytest.mark.parametrize(
    "context", [b"\x00\x00\x00\x00", b"\x00\x00\x00t", b"the ", b"zzzz", b"qthe", b"\xc3\xbcn\xc3"]
)
def test_probabilities_sum_to_one(context: bytes) -> None:
    start = int.from_bytes(context, "big") << 8
    every_byte = np.array([start + byte for byte in range(256)], np.uint64)
    probabilities = ByteNgrams(TEXTS).probabilities(every_byte)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (probabilities > 0).all()


def test_witten_bell_by_hand() -> None:
    """After `a`: b twice, c once; so n = 3 and t = 2; without context: a 3, b 2, c 1 of 6, t = 3."""
    model = ByteNgrams(["ab", "ab", "ac"])
    alone = (2 + 3 / 256) / 9
    second = (2 + 2 * alone) / 5  # after `a`
    third = (2 + 2 * second) / 5  # after the start and `a`: counted three times more, as the padding is four bytes
    fourth = (2 + 2 * third) / 5
    fifth = (2 + 2 * fourth) / 5
    assert model.bits(["ab"])[0] == pytest.approx(-math.log2(fifth) + model.bits(["a"])[0])


def test_what_was_learned_takes_fewer_bits() -> None:
    model = ByteNgrams(TEXTS)
    known, unknown = model.bits(["the cat sat on the log!", "quartz glyph vow bijoux"])
    assert known < unknown / 5


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ByteNgrams(TEXTS * 5).bits(["the mat"])
    monkeypatch.setattr(compression, "CHUNK_BYTES", 10)
    assert ByteNgrams(TEXTS * 5).bits(["the mat"]) == whole


def test_no_training_text_is_uniform() -> None:
    assert ByteNgrams([]).bits(["abc"]) == [24.0]
    assert ByteNgrams([""]).bits([""]) == [0.0]


def test_xz_sees_all_of_what_came_before() -> None:
    random = np.random.default_rng(0)
    text = "".join(map(chr, random.integers(97, 123, 5000)))
    filler = ["".join(map(chr, random.integers(97, 123, 200_000)))]
    alone, after = xz_bytes([text]), xz_bytes([text, *filler, text]) - xz_bytes([text, *filler])
    assert alone > 2500
    assert after < 200
