"""What a language model is measured against: xz, and an n-gram model of bytes. Texts in, bits out."""

import lzma
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

ORDER = 5
CHUNK_BYTES = 16_000_000
_PAD = b"\x00" * (ORDER - 1)
"""Before each text: a byte that no text holds."""
_MIN_DICTIONARY = 1 << 16

Keys = NDArray[np.uint64]


class ByteNgrams:
    """An interpolated 5-gram model of bytes.

    Witten-Bell smoothing (Witten and Bell, "The zero-frequency problem", 1991), interpolated as in Chen and Goodman,
    "An Empirical Study of Smoothing Techniques" (1998), equation 15: a context that was seen n times with t different
    bytes after it gives the shorter context's probability the weight t / (n + t); below one byte all 256 are equal.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        keys, counts = _count(texts)
        self._orders = [_Order(*_sum_by(keys & _mask(order), counts)) for order in range(1, ORDER + 1)]

    def probabilities(self, keys: Keys) -> NDArray[np.float64]:
        """Of the last byte of each key after the four bytes before it, the last byte being the lowest."""
        probability = np.full(len(keys), 1 / 256)
        for order, table in enumerate(self._orders, 1):
            probability = table.interpolate(keys & _mask(order), probability)
        return probability

    def bits(self, texts: Sequence[str]) -> list[float]:
        """Negative log2-probability of the UTF-8 bytes of each text, each from the start of a text."""
        return [float(-np.log2(self.probabilities(_keys(_PAD + text.encode()))).sum()) for text in texts]


class _Order:
    """Counts of all n-grams of one length, and of the contexts that they follow."""

    def __init__(self, keys: Keys, counts: NDArray[np.int64]) -> None:
        self._keys, self._counts = keys, counts
        self._contexts, starts = np.unique(keys >> np.uint64(8), return_index=True)
        self._seen = np.add.reduceat(counts, starts) if len(keys) else counts
        self._types = np.diff(np.append(starts, len(keys)))

    def interpolate(self, keys: Keys, shorter: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities, given those of the next shorter context."""
        context = keys >> np.uint64(8)
        seen, types = _look_up(self._contexts, self._seen, context), _look_up(self._contexts, self._types, context)
        count = _look_up(self._keys, self._counts, keys)
        return np.where(seen > 0, (count + types * shorter) / np.maximum(seen + types, 1), shorter)


def xz_bytes(texts: Iterable[str]) -> int:
    """Size of the texts, an empty line between them, as one LZMA2 stream without headers at xz's default effort.

    The dictionary holds the whole input: nothing is too far back to be repeated.
    """
    data = "\n\n".join(texts).encode()
    dictionary = max(_MIN_DICTIONARY, 1 << max(0, len(data) - 1).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": min(dictionary, (1 << 30) + (1 << 29))}]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))


def _count(texts: Iterable[str]) -> tuple[Keys, NDArray[np.int64]]:
    """All 5-grams of the texts, sorted, with how often they occur; bytes of the padding are never predicted."""
    total: tuple[Keys, NDArray[np.int64]] = (np.empty(0, np.uint64), np.empty(0, np.int64))
    for data in _chunks(texts):
        keys = _keys(data)
        keys = keys[(keys & np.uint64(255)) != 0]
        found, counts = np.unique(keys, return_counts=True)
        total = _sum_by(np.concatenate((total[0], found)), np.concatenate((total[1], counts)))
    return total


def _chunks(texts: Iterable[str]) -> Iterable[bytes]:
    """Padded texts, many at a time."""
    data = bytearray()
    for text in texts:
        data += _PAD + text.replace("\x00", "").encode()
        if len(data) >= CHUNK_BYTES:
            yield bytes(data)
            data.clear()
    if data:
        yield bytes(data)


def _keys(data: bytes) -> Keys:
    """Each byte with the four before it as one number, the byte itself lowest; none for the first four."""
    values = np.frombuffer(data, np.uint8).astype(np.uint64)
    count = len(values) - ORDER + 1
    keys = np.zeros(max(0, count), np.uint64)
    for place in range(ORDER if count > 0 else 0):
        keys = (keys << np.uint64(8)) | values[place : place + count]
    return keys


def _mask(order: int) -> np.uint64:
    return np.uint64((1 << 8 * order) - 1)


def _sum_by(keys: Keys, counts: NDArray[np.int64]) -> tuple[Keys, NDArray[np.int64]]:
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.empty(0, np.int64)
    return keys[starts], np.add.reduceat(counts, starts) if len(keys) else counts


def _look_up(keys: Keys, values: NDArray[np.int64], wanted: Keys) -> NDArray[np.int64]:
    """The value of each wanted key, 0 where it is not there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
