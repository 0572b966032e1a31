"""The watch over a batch during generation: its text so far, and every reason to stop. Nothing else stops generation."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import StoppingCriteria

from phi2demo.engine.engine import Candidate, Completion, GenerationOptions, Snapshot, StopReason
from phi2demo.engine.text_encoder import UNFINISHED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_UNIT = 120
"""Most bytes of a passage whose repetition counts as a loop."""
LOOP_CHECK_TOKENS = 8
"""Number of new tokens after which an output is searched for a loop again."""
TAIL_TOKENS = 400
"""Number of last tokens of an output that are searched for a loop."""

_LOOP = re.compile(
    rb"(?P<a>.)(?P=a){29}|(?P<b>..)(?P=b){14}|(?P<c>.{3})(?P=c){9}|(?P<d>.{4})(?P=d){7}|(?P<e>.{5})(?P=e){5}"
    rb"|(?P<f>.{6,19}?)(?P=f){4}|(?P<g>.{20,39}?)(?P=g){3}|(?P<h>.{40,%d}?)(?P=h){2}" % LONGEST_UNIT,
    re.DOTALL,
)
"""A loop: at least 30 bytes in which a unit of up to 19 bytes occurs five times, of up to 39 four, of more three times.

Bytes are those of UTF-8, so that a Chinese character counts as much as three letters. Of 300,000 texts that people wrote,
8 contain such a passage ("Bang! bang! bang! bang! bang! b").
"""


def find_loop_end(text: str) -> int | None:
    """Return the position at which `text` has become a loop, or None where it contains none.

    The repeated unit must contain a letter or digit, so that a row of dashes or dots is no loop.
    """
    encoded = text.encode(errors="replace")
    match = _LOOP.search(encoded)
    while match is not None:
        if any(map(str.isalnum, match[0].decode(errors="ignore"))):
            return len(encoded[: match.end()].decode(errors="ignore"))
        match = _LOOP.search(encoded, match.end())
    return None


REPORT_EVERY_S = 0.04
"""Seconds between two reports of a batch."""


class Watch(StoppingCriteria):
    """A stopping criterion that sees every token of every row, and reports the texts so far.

    It never raises, since an exception inside `generate(adapter_names=...)` would leave PEFT's hooks behind.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        options: GenerationOptions,
        *,
        prompt_tokens: Sequence[int],
        stops: Sequence[tuple[str, ...]],
        max_new_tokens: int,
        end_ids: frozenset[int],
        halted: Callable[[], bool],
        report: Callable[[Snapshot], None],
    ) -> None:
        self._tokenizer, self._options, self._end_ids = tokenizer, options, end_ids
        self._prompt_tokens, self._max_new_tokens = prompt_tokens, max_new_tokens
        self._halted, self._report = halted, report
        self._ids: list[list[int]] = [[] for _ in prompt_tokens]
        self._reasons: list[StopReason | None] = [None for _ in prompt_tokens]
        self._ended_s: list[float | None] = [None for _ in prompt_tokens]
        self._started = time.monotonic()
        self._first_token_s: float | None = None
        self._reported_at = 0.0
        self._beam_tokens = 0
        self._stops = [(*options.stop, *row_stops) for row_stops in stops]
        self._longest_stops = [max((len(text.encode()) for text in texts), default=0) for texts in self._stops]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object) -> torch.BoolTensor:
        """Return which rows are done, of shape (rows x beams,)."""
        return self.follow(input_ids, range(len(self._ids)))

    def follow(self, input_ids: torch.LongTensor, rows: Sequence[int]) -> torch.BoolTensor:
        """Return which of `rows` are done, of shape (rows x beams,); the last tokens of `input_ids` are theirs."""
        if self._first_token_s is None:
            self._first_token_s = self.seconds
        if self._options.num_beams == 1:
            self._append(rows, input_ids[:, -1].tolist())
        else:
            self._beam_tokens += len(rows)
        halted = self.halt_reason()
        if halted is not None:
            ends = zip(self._reasons, self._ended_s, strict=True)
            self._reasons = [reason if reason or ended_s is not None else halted for reason, ended_s in ends]
        if time.monotonic() - self._reported_at > REPORT_EVERY_S:
            self._reported_at = time.monotonic()
            self._report(self.snapshot())
        if self._options.num_beams > 1:
            done = torch.full((input_ids.shape[0],), halted is not None)
        else:
            done = torch.tensor([self._reasons[row] is not None for row in rows])
        return done.to(input_ids.device)  # type: ignore[return-value]

    @property
    def seconds(self) -> float:
        """Return the seconds since the batch started."""
        return time.monotonic() - self._started

    def halt_reason(self) -> StopReason | None:
        """Return why the whole batch has to end now, or None."""
        if self._halted():
            return "stopped"
        return "time" if self.seconds > self._options.time_limit_s else None

    def mark_ended(self, rows: Iterable[int]) -> None:
        """Note the time at which these rows ended; beam search calls it, since its tokens do not show it."""
        for row in rows:
            self._ended_s[row] = self._ended_s[row] or self.seconds

    def snapshot(self) -> Snapshot:
        """Return the texts so far."""
        count = self._beam_tokens if self._options.num_beams > 1 else sum(map(len, self._ids))
        texts = tuple(map(self._text, range(len(self._ids))))
        return Snapshot(texts, count, self.seconds, self._first_token_s)

    def finish(self, outputs: list[list[list[int]]] | None) -> Snapshot:
        """Return the last snapshot.

        `outputs` has a beam search's outputs by row, best first: none for a row that was not reached, and None where there
        was no beam search.
        """
        candidates: list[tuple[Candidate, ...]] = [() for _ in self._ids]
        if outputs is not None and self._options.num_beams > 1:
            for row, beams in enumerate(outputs):
                if not beams:
                    continue
                row_candidates = tuple(self._candidate(row, ids) for ids in beams)
                self._ids[row] = list(row_candidates[0].token_ids)
                if self._reasons[row] is None:
                    self._reasons[row], candidates[row] = row_candidates[0].stop_reason, row_candidates
        completions = tuple(
            Completion(
                self._text(row),
                tuple(ids),
                self._prompt_tokens[row],
                self._reasons[row] or self.halt_reason() or "length",
                self._ended_s[row],
                candidates[row],
            )
            for row, ids in enumerate(self._ids)
        )
        texts = tuple(completion.text for completion in completions)
        return Snapshot(texts, sum(map(len, self._ids)), self.seconds, self._first_token_s, completions)

    def _append(self, rows: Sequence[int], tokens: list[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            if self._reasons[row] is not None:
                continue
            self._ids[row].append(token)
            if token in self._end_ids:
                self._reasons[row] = "end"
            elif self._ends_at_stop_string(row):
                self._reasons[row] = "stop string"
            elif self._loops(row):
                self._reasons[row] = "loop"
            elif len(self._ids[row]) >= self._max_new_tokens:
                self._reasons[row] = self._length_reason()
        self.mark_ended(row for row, reason in enumerate(self._reasons) if reason is not None)

    def _length_reason(self) -> StopReason:
        return "length" if self._max_new_tokens == self._options.max_new_tokens else "context"

    def _loops(self, row: int) -> bool:
        ids = self._ids[row]
        return len(ids) % LOOP_CHECK_TOKENS == 0 and find_loop_end(self._decode(ids[-TAIL_TOKENS:])) is not None

    def _ends_at_stop_string(self, row: int) -> bool:
        longest = self._longest_stops[row]
        if not longest:
            return False
        return self._holds_stop_string(row, self._ids[row][-(longest + 4) :])  # a token holds at least one byte

    def _holds_stop_string(self, row: int, ids: list[int]) -> bool:
        text = self._decode(ids)
        return any(stop in text for stop in self._stops[row])

    def _candidate(self, row: int, ids: list[int]) -> Candidate:
        """Cut a beam after its end token, or after the token that completes a stop string or a loop."""
        ids = self._until_end(ids)
        ended = bool(ids) and ids[-1] in self._end_ids
        reason: StopReason = "end" if ended else self._length_reason()
        if self._holds_stop_string(row, ids):
            ids = _shortest_start(ids, lambda part: self._holds_stop_string(row, part))
            reason = "stop string"
        if find_loop_end(self._display_text(row, ids)) is not None:
            ids = _shortest_start(ids, lambda part: find_loop_end(self._display_text(row, part)) is not None)
            reason = "loop"
        return Candidate(self._display_text(row, ids), tuple(ids), reason)

    def _text(self, row: int) -> str:
        return self._display_text(row, self._ids[row])

    def _display_text(self, row: int, ids: list[int]) -> str:
        """Decode without end tokens, up to the first stop string, and without an incomplete character at the end."""
        text = self._decode([token for token in ids if token not in self._end_ids])
        starts = [start for start in (text.find(stop) for stop in self._stops[row]) if start >= 0]
        return (text[: min(starts)] if starts else text).rstrip(UNFINISHED)

    def _decode(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _until_end(self, ids: list[int]) -> list[int]:
        for index, token in enumerate(ids):
            if token in self._end_ids:
                return ids[: index + 1]
        return ids


class PartialWatch(StoppingCriteria):
    """Shows a watch the rows of one pass, where a batch needs several."""

    def __init__(self, watch: Watch, rows: Sequence[int]) -> None:
        """`rows` are their numbers in the batch."""
        self._watch, self._rows = watch, rows

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object) -> torch.BoolTensor:
        """See `Watch`."""
        return self._watch.follow(input_ids, self._rows)

    def mark_ended(self, rows: Iterable[int]) -> None:
        """See `Watch.mark_ended`."""
        self._watch.mark_ended(self._rows[row] for row in rows)


def _shortest_start(ids: list[int], holds: Callable[[list[int]], bool]) -> list[int]:
    """Return the shortest beginning of `ids` for which `holds` is true; it is true for all of them."""
    return next(ids[:end] for end in range(1, len(ids) + 1) if holds(ids[:end]))


def any_set(*events: threading.Event) -> Callable[[], bool]:
    """Return a function that says whether any of the events is set."""
    return lambda: any(event.is_set() for event in events)
