"""The value of a text with some of its units hidden: the log-probability of the output under the task's own prompt.

This is the value function in Shapley's sense that every method here attributes. What was scored once is not scored again.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Event

import numpy as np
from numpy.typing import NDArray

from phi2demo.engine.engine import Engine, Prompt, Variant
from phi2demo.errors import StoppedError
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.scoring_plan import ScoredOutput, ScoringPlan, Span
from phi2demo.explain.units import Mask, Masks, Unit, Values

CHUNK_S = 0.4
"""The time between two reports of progress that chunks aim at."""
FIRST_CHUNK, MAX_CHUNK = 16, 512
MASKS_AT_ONCE = 512
"""Masks whose prompts are held in memory together; between them a cancelled explanation ends."""
CACHE_ROWS = 50_000

_Key = tuple[Variant, float, str, tuple[int, ...]]
"""Variant, adapter strength, prompt, output."""
_Row = NDArray[np.float64]
"""(output tokens,)."""


class ScoreCache:
    """Log-probabilities of outputs under prompts. Explanations by the same model can share one."""

    def __init__(self) -> None:
        self._rows: dict[_Key, _Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: _Key) -> _Row | None:
        """Return (output tokens,), or None."""
        return self._rows.get(key)

    def put(self, key: _Key, values: _Row) -> None:
        """Store a row; where the cache is full, the oldest row goes."""
        while len(self._rows) >= CACHE_ROWS:
            del self._rows[next(iter(self._rows))]
        self._rows[key] = values


class ValueFunction:
    """From masks to the values of the masked texts. Counts the prompts that it scores."""

    def __init__(
        self,
        engine: Engine,
        request: ExplainRequest,
        plan: ScoringPlan,
        *,
        cache: ScoreCache,
        cancel: Event,
        report: Callable[[], None] = lambda: None,
    ) -> None:
        """`report` is called after every chunk of prompts."""
        self._engine, self._request, self._plan = engine, request, plan
        self._cache, self._cancel, self._report = cache, cancel, report
        self.calls = 0
        self.seconds = 0.0
        """Time spent scoring."""
        self._units: tuple[Unit, ...] = ()
        self._spans: list[Span] = []
        """Of the units, in the text as the model reads it."""
        self._values: dict[bytes, Values] = {}
        """Values by packed mask over the present units."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """What the columns of a mask stand for."""
        return self._units

    @units.setter
    def units(self, units: tuple[Unit, ...]) -> None:
        self._units = units
        self._spans = [self._request.span_read(unit.start, unit.end) for unit in units]
        self._values = {}

    def __call__(self, masks: Masks) -> Values:
        """Score masks (masks, units); return values (masks, columns) in nats. Raises StoppedError once cancelled."""
        masks = np.asarray(masks, dtype=bool)
        values = np.zeros((len(masks), len(self._plan.tokens)))
        for start in range(0, len(masks), MASKS_AT_ONCE):
            batch = slice(start, start + MASKS_AT_ONCE)
            if self._cancel.is_set():
                raise StoppedError("Stopped.")
            self._score_batch(masks[batch], values[batch])
        return values

    def look_up(self, mask: Mask) -> Values | None:
        """Return the values (columns,) of a mask that was scored before, else None."""
        return self._values.get(np.packbits(mask).tobytes())

    def masked(self, mask: Mask, piece: int = 0) -> str:
        """Return the text of a piece without the hidden units."""
        start, end = self._plan.pieces[piece]
        parts: list[tuple[str, bool]] = []
        for (first, last), kept in zip(self._spans, mask.tolist(), strict=True):
            if last > start and first < end:
                parts.append((self._request.text_read[max(first, start) : min(last, end)], kept))
        return _joined(parts, self._request.mask)

    def _score_batch(self, masks: Masks, values: Values) -> None:
        """Fill `values` (masks, columns), which are zeros."""
        outputs = self._plan.outputs
        keys = [[self._key(mask, output) for output in outputs] for mask in masks]
        rows = self._rows(key for mask_keys in keys for key in mask_keys)
        for mask, mask_keys, mask_values in zip(masks, keys, values, strict=True):
            for output, key in zip(outputs, mask_keys, strict=True):
                log_probabilities = rows[key][output.first : output.last]
                columns = slice(output.column, output.column + len(log_probabilities))
                mask_values[columns] += output.sign * self._value(log_probabilities)
            self._values[np.packbits(mask).tobytes()] = mask_values

    def _key(self, mask: Mask, output: ScoredOutput) -> _Key:
        strength = 1.0 if output.variant == "base" else self._request.adapter_strength
        prompt = self._request.asked.prompt(self.masked(mask, output.piece), output.variant)
        return output.variant, strength, prompt, output.ids

    def _value(self, log_probabilities: _Row) -> _Row:
        if self._request.value == "log-probability":
            return log_probabilities
        below_zero = np.minimum(log_probabilities, -1e-7)  # the log-odds of a certain token are infinite
        return np.asarray(below_zero - np.log(-np.expm1(below_zero)), dtype=np.float64)

    def _rows(self, keys: Iterable[_Key]) -> dict[_Key, _Row]:
        """Return the rows of all keys. Those that are not cached are scored in chunks, so that progress is seen."""
        cached = {key: self._cache.get(key) for key in keys}
        rows = {key: row for key, row in cached.items() if row is not None}
        missing = [key for key, row in cached.items() if row is None]
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
            self._report()
        return rows


def _joined(parts: Sequence[tuple[str, bool]], replacement: str) -> str:
    """Join the kept parts, with `replacement` for each run of hidden ones. `parts` are texts, and whether each is kept.

    The result keeps the white space at the outer ends of the whole text. Without a replacement, it gets no white space
    there that only stood beside a hidden part.
    """
    whole = "".join(text for text, _ in parts)
    if all(kept for _, kept in parts):
        return whole
    pieces: list[str] = []
    hidden_run = ""
    for text, kept in (*parts, ("", True)):
        if not kept:
            hidden_run += text
            continue
        if hidden_run and replacement:
            pieces.append(_with_core(hidden_run, replacement))
        hidden_run = ""
        pieces.append(text)
    return _with_core(whole, "".join(pieces).strip())


def _with_core(text: str, core: str) -> str:
    """Return `core` between the white space at the ends of `text`."""
    stripped = text.strip()
    start = text.index(stripped) if stripped else len(text)
    return text[:start] + core + text[start + len(stripped) :]
