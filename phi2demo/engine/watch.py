"""Follow a batch while it is generated: text so far, and every reason to stop. The only way generation is stopped."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import StoppingCriteria

from phi2demo.engine.engine import Candidate, Completion, GenerationOptions, Snapshot, StopReason

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_TURN = 120
"""Bytes of what is repeated."""
CHECK_EVERY = 8
"""Tokens between two looks at an output that is being written."""
TAIL_TOKENS = 400
"""Of an output that is being written, as many of its last tokens are looked at."""

_LOOP = re.compile(
    rb"(?P<a>.)(?P=a){29}|(?P<b>..)(?P=b){14}|(?P<c>.{3})(?P=c){9}|(?P<d>.{4})(?P=d){7}|(?P<e>.{5})(?P=e){5}"
    rb"|(?P<f>.{6,19}?)(?P=f){4}|(?P<g>.{20,39}?)(?P=g){3}|(?P<h>.{40,%d}?)(?P=h){2}" % LONGEST_TURN,
    re.DOTALL,
)
"""The same again and again: 30 bytes and more, in five turns and more of up to 19 bytes, four of up to 39, three of more.

Bytes of UTF-8: a character of Chinese is as much as three letters. Of 300,000 texts that people wrote, 8 hold such a passage
("Bang! bang! bang! bang! bang! b").
"""


def loop_end(text: str) -> int | None:
    """Where `text` has become a loop, as the place after the turn that made it one; None where it is none.

    A row of dashes or dots is none: what is repeated holds a letter or a digit.
    """
    encoded = text.encode(errors="replace")
    found = _LOOP.search(encoded)
    while found is not None:
        if any(map(str.isalnum, found[0].decode(errors="ignore"))):
            return len(encoded[: found.end()].decode(errors="ignore"))
        found = _LOOP.search(encoded, found.end())
    return None


UNFINISHED = "\ufffd"
"""What a decoder writes for bytes that are no whole character yet."""

Span = tuple[int, int]


def covering(offsets: Sequence[Span], length: int) -> tuple[Span, ...]:
    """A tokenizer's offsets as spans without gaps from 0 to `length`: each token holds the white space before it.

    A byte-level tokenizer can cut one character into several tokens: their spans overlap.
    """
    spans: list[Span] = []
    covered = 0
    for start, end in offsets:
        spans.append((min(start, covered), max(end, covered)))
        covered = spans[-1][1]
    if spans:
        spans[-1] = (spans[-1][0], length)
    return tuple(spans)


def decoded(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[str, tuple[Span, ...]]:
    """The text of token ids and each token's span in it; a special token, which has no text, has an empty span."""
    text = decode(ids)
    silent = [not decode([token]) for token in ids]
    ends = [0]
    for count in range(1, len(ids)):
        so_far = decode(ids[:count])
        whole = so_far if text.startswith(so_far) else so_far.rstrip(UNFINISHED)
        ends.append(max(len(whole), ends[-1]))
    ends.append(len(text))
    reached = list(ends)
    for at in range(len(ids) - 1, 0, -1):  # a part of a character belongs where the character is finished
        if ends[at] == ends[at - 1] and not silent[at - 1]:
            reached[at] = max(reached[at], reached[at + 1])
    spans: list[Span] = []
    for at, quiet in enumerate(silent):
        start, end = ends[at], ends[at] if quiet else reached[at + 1]
        if start == end and not quiet and spans:
            start = spans[-1][0]
        spans.append((start, end))
    return text, tuple(spans)


REPORT_EVERY_S = 0.04


class Watch(StoppingCriteria):
    """A stopping criterion that sees every token of every row and reports at most every 40 ms.

    It never raises: an exception inside `generate(adapter_names=...)` would leave PEFT's hooks behind.
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
        self._steps = 0
        self._stops = [(*options.stop, *own) for own in stops]
        self._longest_stops = [max((len(text.encode()) for text in texts), default=0) for texts in self._stops]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object) -> torch.BoolTensor:
        """Which rows are done, of shape (rows x beams,)."""
        self._steps += 1
        if self._first_token_s is None:
            self._first_token_s = self.seconds
        if self._options.num_beams == 1:
            self._follow(input_ids[:, -1].tolist())
        halted = self.halt_reason()
        if halted is not None:
            rows = zip(self._reasons, self._ended_s, strict=True)
            self._reasons = [reason if reason or ended_s is not None else halted for reason, ended_s in rows]
        if time.monotonic() - self._reported_at > REPORT_EVERY_S:
            self._reported_at = time.monotonic()
            self._report(self.snapshot())
        if self._options.num_beams > 1:
            done = torch.full((input_ids.shape[0],), halted is not None)
        else:
            done = torch.tensor([reason is not None for reason in self._reasons])
        return done.to(input_ids.device)  # type: ignore[return-value]

    @property
    def seconds(self) -> float:
        """Since the batch started computing."""
        return time.monotonic() - self._started

    def halt_reason(self) -> StopReason | None:
        """Whether everything has to end now, whatever the rows have."""
        if self._halted():
            return "stopped"
        return "time" if self.seconds > self._options.time_limit_s else None

    def mark_ended(self, rows: Iterable[int]) -> None:
        """Note that these have ended by now; beam search knows it, the tokens that it tries do not tell."""
        for row in rows:
            self._ended_s[row] = self._ended_s[row] or self.seconds

    def snapshot(self) -> Snapshot:
        """The texts so far."""
        beams = self._options.num_beams > 1
        count = self._steps * len(self._ids) if beams else sum(map(len, self._ids))
        texts = tuple(map(self._text, range(len(self._ids))))
        return Snapshot(texts, count, self.seconds, self._first_token_s)

    def finish(self, outputs: list[list[list[int]]] | None) -> Snapshot:
        """The last snapshot; `outputs` are those of a beam search by row, best first, or None if none ran to its end."""
        candidates: list[tuple[Candidate, ...]] = [() for _ in self._ids]
        if outputs is not None and self._options.num_beams > 1:
            for row, each in enumerate(outputs):
                found = tuple(self._candidate(row, ids) for ids in each)
                self._ids[row] = list(found[0].token_ids)
                if self._reasons[row] is None:
                    self._reasons[row], candidates[row] = found[0].stop_reason, found
        completions = tuple(
            Completion(
                self._text(row), tuple(ids), prompt_tokens, reason or self.halt_reason() or "length", ended_s, found
            )
            for row, (ids, reason, prompt_tokens, ended_s, found) in enumerate(
                zip(self._ids, self._reasons, self._prompt_tokens, self._ended_s, candidates, strict=True)
            )
        )
        texts = tuple(completion.text for completion in completions)
        return Snapshot(texts, sum(map(len, self._ids)), self.seconds, self._first_token_s, completions)

    def _follow(self, tokens: list[int]) -> None:
        for row, token in enumerate(tokens):
            if self._reasons[row] is not None:
                continue
            self._ids[row].append(token)
            if token in self._end_ids:
                self._reasons[row] = "end"
            elif self._at_stop_string(row):
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
        return len(ids) % CHECK_EVERY == 0 and loop_end(self._decode(ids[-TAIL_TOKENS:])) is not None

    def _at_stop_string(self, row: int) -> bool:
        longest = self._longest_stops[row]
        if not longest:
            return False
        return self._holds_stop_string(row, self._ids[row][-(longest + 4) :])  # a token holds at least one byte

    def _holds_stop_string(self, row: int, ids: list[int]) -> bool:
        text = self._decode(ids)
        return any(stop in text for stop in self._stops[row])

    def _candidate(self, row: int, ids: list[int]) -> Candidate:
        """Up to the end token, or to the token that completes a stop string or a loop: beams run on behind these."""
        ids = self._until_end(ids)
        ended = bool(ids) and ids[-1] in self._end_ids
        reason: StopReason = "end" if ended else self._length_reason()
        if self._holds_stop_string(row, ids):
            ids = _first(ids, lambda part: self._holds_stop_string(row, part))
            reason = "stop string"
        if loop_end(self._shown(row, ids)) is not None:
            ids = _first(ids, lambda part: loop_end(self._shown(row, part)) is not None)
            reason = "loop"
        return Candidate(self._shown(row, ids), tuple(ids), reason)

    def _text(self, row: int) -> str:
        return self._shown(row, self._ids[row])

    def _shown(self, row: int, ids: list[int]) -> str:
        """Without end tokens, up to the first stop string, and without half a character at the end."""
        text = self._decode([token for token in ids if token not in self._end_ids])
        starts = [at for at in (text.find(stop) for stop in self._stops[row]) if at >= 0]
        return (text[: min(starts)] if starts else text).rstrip(UNFINISHED)

    def _decode(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _until_end(self, ids: list[int]) -> list[int]:
        for at, token in enumerate(ids):
            if token in self._end_ids:
                return ids[: at + 1]
        return ids


def _first(ids: list[int], holds: Callable[[list[int]], bool]) -> list[int]:
    """The shortest beginning that `holds`; the whole of them does."""
    return next(ids[:end] for end in range(1, len(ids) + 1) if holds(ids[:end]))


def halted_by(*events: threading.Event) -> Callable[[], bool]:
    """Whether any of the events is set."""
    return lambda: any(event.is_set() for event in events)
