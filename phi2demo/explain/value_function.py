"""The value of a text with some of its units hidden: the log-probability of the output under the task's own prompt.

The game of Shapley's sense that every method here plays; what was scored once is not scored again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from phi2demo.engine.engine import Engine, Prompt, Variant
from phi2demo.errors import StoppedError
from phi2demo.explain.attribution import Values
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.units import Unit

CHUNK_S = 0.4
"""Aimed at between two reports of progress."""
FIRST_CHUNK, MAX_CHUNK = 16, 512
MASKS_AT_ONCE = 512
"""Whose prompts are kept together; between them a stopped game ends."""
CACHE_ROWS = 50_000

_Key = tuple[Variant, float, str, tuple[int, ...]]
_Row = NDArray[np.float64]


class ScoreCache:
    """Log-probabilities of outputs under prompts. Give the same one to explanations of one model to share what is known."""

    def __init__(self) -> None:
        self._rows: dict[_Key, _Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: _Key) -> _Row | None:
        """(output tokens,), or None."""
        return self._rows.get(key)

    def put(self, key: _Key, values: _Row) -> None:
        """Remember; the oldest goes where there are too many."""
        while len(self._rows) >= CACHE_ROWS:
            del self._rows[next(iter(self._rows))]
        self._rows[key] = values


@dataclass(frozen=True)
class ScoredOutput:
    """An output that is scored under the prompt of one piece, and where its values go."""

    piece: int
    variant: Variant
    ids: tuple[int, ...]
    first: int
    """Of its tokens the first that is explained; those before it are given."""
    last: int
    """One after the last that is explained."""
    column: int
    """Of the first explained token."""
    sign: int
    """-1 where its value counts against."""


class ValueFunction:
    """Masked texts in, values out; counts the prompts it has scored."""

    def __init__(
        self,
        engine: Engine,
        request: ExplainRequest,
        *,
        pieces: Sequence[tuple[int, int]],
        outputs: Sequence[ScoredOutput],
        columns: int,
        cache: ScoreCache,
        cancel: Event,
        report: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._request = engine, request
        self._pieces, self._outputs, self._columns = pieces, outputs, columns
        self._cache, self._cancel = cache, cancel
        self.report = report
        """Called after every chunk."""
        self.calls = 0
        self.seconds = 0.0
        """Spent scoring."""
        self._units: tuple[Unit, ...] = ()
        self._spans: list[tuple[int, int]] = []
        """Of the units, in the text as the model reads it."""
        self.known: dict[bytes, Values] = {}
        """Values by mask, as packed by `key_of`; of the present units alone."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """What a column of a mask stands for."""
        return self._units

    @units.setter
    def units(self, units: tuple[Unit, ...]) -> None:
        self._units = units
        self._spans = [self._request.span_read(unit.start, unit.end) for unit in units]
        self.known = {}

    def __call__(self, masks: NDArray[np.bool_]) -> Values:
        """(masks, units) to (masks, columns), in nats. Raises StoppedError once the game is cancelled."""
        masks = np.asarray(masks, dtype=bool)
        values = np.zeros((len(masks), self._columns))
        for start in range(0, len(masks), MASKS_AT_ONCE):
            part = slice(start, start + MASKS_AT_ONCE)
            values[part] = self._play_part(masks[part])
        return values

    def _play_part(self, masks: NDArray[np.bool_]) -> Values:
        if self._cancel.is_set():
            raise StoppedError("Stopped.")
        keys = [[self._key(mask, output) for output in self._outputs] for mask in masks]
        rows = self._score([key for row in keys for key in row])
        values = np.zeros((len(masks), self._columns))
        for at, row in enumerate(keys):
            for output, key in zip(self._outputs, row, strict=True):
                chosen = self._valued(rows[key][output.first : output.last])
                values[at, output.column : output.column + len(chosen)] += output.sign * chosen
            self.known[key_of(masks[at])] = values[at]
        return values

    def lookup(self, mask: NDArray[np.bool_]) -> Values | None:
        """The values of a mask that was asked for before."""
        return self.known.get(key_of(mask))

    def masked(self, mask: NDArray[np.bool_], piece: int = 0) -> str:
        """The text of a piece without the hidden units."""
        start, end = self._pieces[piece]
        parts: list[tuple[str, bool]] = []
        for (first, last), kept in zip(self._spans, mask.tolist(), strict=True):
            if last > start and first < end:
                parts.append((self._request.text_read[max(first, start) : min(last, end)], kept))
        return _joined(parts, self._request.mask)

    def _key(self, mask: NDArray[np.bool_], output: ScoredOutput) -> _Key:
        strength = 1.0 if output.variant == "base" else self._request.adapter_strength
        return (
            output.variant,
            strength,
            self._request.prompt(self.masked(mask, output.piece), output.variant),
            output.ids,
        )

    def _valued(self, log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._request.value == "log-probability":
            return log_probabilities
        certain = np.minimum(log_probabilities, -1e-7)  # the log-odds of a certain token are infinite
        return np.asarray(certain - np.log(-np.expm1(certain)), dtype=np.float64)

    def _score(self, keys: Sequence[_Key]) -> dict[_Key, _Row]:
        """Rows of all keys. What is not known is scored chunk by chunk, so that progress is seen."""
        known = {key: self._cache.get(key) for key in keys}
        rows = {key: row for key, row in known.items() if row is not None}
        missing = [key for key, row in known.items() if row is None]
        while missing:
            size = FIRST_CHUNK
            if self.seconds > 0:
                size = int(min(max(self.calls / self.seconds * CHUNK_S, FIRST_CHUNK), MAX_CHUNK))
            chunk, missing = missing[:size], missing[size:]
            started = time.monotonic()
            scores = self._engine.score(
                [Prompt(text, variant) for variant, _, text, _ in chunk],
                [ids for *_, ids in chunk],
                adapter_strength=self._request.adapter_strength,
                cancel=self._cancel,
            )
            self.seconds += time.monotonic() - started
            self.calls += len(chunk)
            for key, score in zip(chunk, scores, strict=True):
                rows[key] = np.array(score.log_probabilities, dtype=np.float64)
                self._cache.put(key, rows[key])
            self.report()
        return rows


def key_of(mask: NDArray[np.bool_]) -> bytes:
    """A mask as a key of `ValueFunction.known`."""
    return np.packbits(mask).tobytes()


def _joined(parts: Sequence[tuple[str, bool]], replacement: str) -> str:
    """Kept parts with each run of hidden ones replaced; the white space at the outer ends is that of the whole text.

    Without a replacement, white space that hiding laid bare at the ends goes: no text begins with a gap.
    """
    whole = "".join(text for text, _ in parts)
    if all(kept for _, kept in parts):
        return whole
    pieces: list[str] = []
    run = ""
    for text, kept in (*parts, ("", True)):
        if not kept:
            run += text
            continue
        if run and replacement:
            pieces.append(_shell(run, replacement))
        run = ""
        pieces.append(text)
    return _shell(whole, "".join(pieces).strip())


def _shell(text: str, core: str) -> str:
    """`core` in the outer white space of `text`."""
    inner = text.strip()
    at = text.index(inner) if inner else len(text)
    return text[:at] + core + text[at + len(inner) :]
