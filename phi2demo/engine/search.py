"""Greedy and beam search that give the same tokens as `transformers`. Knows no model.

Rows that have ended are no longer computed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch

Process = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From prompts and tokens so far (rows, tokens) and scores (rows, vocabulary) to the processed scores."""

SPARE = 0.75
"""Share of remaining rows below which the keys and values of ended rows are dropped, which takes time."""


class Watch(Protocol):
    """Follows the rows; see `engine.watch` and `engine.sampling`."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.BoolTensor:
        """Return which rows have ended, (rows x beams,)."""
        ...

    def mark_ended(self, rows: Iterable[int]) -> None:
        """Note that these rows have ended."""
        ...


class Decoder(Protocol):
    """Rows of tokens under a model; see `PhiDecoder`."""

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits after the next tokens."""
        ...

    def select_rows(self, index: torch.Tensor) -> None:
        """Keep only these rows."""
        ...

    def expand_beams(self, times: int) -> None:
        """Repeat each row `times` times."""
        ...

    def reorder_cache(self, index: torch.Tensor) -> None:
        """Replace rows by others."""
        ...


@dataclass(frozen=True)
class Ends:
    """The conditions under which a row ends."""

    ids: frozenset[int]
    """End tokens."""
    pad_id: int
    max_new_tokens: int


def greedy(
    decoder: Decoder, logits: torch.Tensor, ids: torch.Tensor, process: Process, watch: Watch, ends: Ends
) -> None:
    """Add the token of the greatest processed score to every row until `watch` says that it is done.

    `logits` are those after `ids`, the left-padded prompts.
    """
    rows = len(ids)
    done = torch.zeros(rows, dtype=torch.bool)
    active = torch.arange(rows)
    while True:
        scores = (
            logits if len(active) == rows else logits.new_zeros(rows, logits.shape[1]).index_copy_(0, active, logits)
        )
        chosen = process(ids, scores).argmax(-1).masked_fill_(done, ends.pad_id)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        done = done | watch(ids, scores)  # type: ignore[arg-type]
        if done.all():
            return
        remaining = (~done[active]).nonzero()[:, 0]
        if len(remaining) <= SPARE * len(active):
            decoder.select_rows(remaining)
            active = active[remaining]
        logits = decoder.read(chosen[active, None])


def beam_search(
    decoder: Decoder, logits: torch.Tensor, ids: torch.Tensor, process: Process, watch: Watch, ends: Ends, *, beams: int
) -> list[list[list[int]]]:
    """Return as many outputs per row as there are beams: those that ended first, ordered by mean log-probability.

    That is the beam search of `transformers` with `early_stopping=True` and a length penalty of 1: a row is done when
    as many outputs have ended among its best candidates as it has beams.
    """
    state = _Beams(ids, beams, ends)
    decoder.expand_beams(beams)
    logits = logits.repeat_interleave(beams, dim=0)
    while True:
        scores = process(state.tokens, logits.log_softmax(-1))
        source_rows = state.step(scores, watch)
        watch.mark_ended(state.ended)
        remaining = state.open()
        if not remaining:
            return state.outputs()
        if len(remaining) <= SPARE * state.rows:
            decoder.select_rows(state.select_rows(remaining, source_rows))
        else:
            decoder.reorder_cache(source_rows)
        logits = decoder.read(state.newest)


class _Beams:
    """The beams of all rows; `_active` are the rows still computed, and the tensors hold only these."""

    def __init__(self, ids: torch.Tensor, beams: int, ends: Ends) -> None:
        rows = len(ids)
        self._beams, self._ends = beams, ends
        self._end_ids = torch.tensor(sorted(ends.ids), dtype=torch.long)
        self._width = max(2, 1 + len(ends.ids)) * beams  # candidates: as many as may end, and as many to go on with
        self._active = list(range(rows))
        self._prompts = ids
        self._running = torch.zeros(rows, beams, 0, dtype=torch.long)
        self._scores = torch.full((rows, beams), -1e9)
        self._scores[:, 0] = 0.0  # all beams are the same before the first token
        self._ended: list[list[tuple[float, list[int]]]] = [[] for _ in range(rows)]

    @property
    def rows(self) -> int:
        """Return the number of rows still computed."""
        return len(self._active)

    @property
    def tokens(self) -> torch.Tensor:
        """Return prompts with their beams, (rows x beams, tokens)."""
        prompts = self._prompts.repeat_interleave(self._beams, dim=0)
        return torch.cat([prompts, self._running.flatten(0, 1)], dim=1)

    @property
    def newest(self) -> torch.Tensor:
        """Return the last token of each beam, (rows x beams, 1)."""
        return self._running[:, :, -1].reshape(-1, 1)

    def step(self, scores: torch.Tensor, watch: Watch) -> torch.Tensor:
        """Choose the next tokens; returns which row of the batch each beam goes on from."""
        rows, length = self.rows, self._running.shape[2] + 1
        totals = (scores.view(rows, self._beams, -1) + self._scores[:, :, None]).flatten(1)
        best, index = torch.topk(totals, self._width)
        origin, token = index // scores.shape[1], index % scores.shape[1]
        candidates = torch.cat([_select_beams(self._running, origin), token[:, :, None]], dim=2)
        halted = bool(watch(candidates.flatten(0, 1), scores)[0]) or length == self._ends.max_new_tokens  # type: ignore[arg-type]
        ended = torch.isin(token, self._end_ids) | halted
        self._collect(candidates, best / length, ended)
        going = best + ended * -1e9
        chosen = torch.topk(going, self._beams)[1]
        self._running, self._scores = _select_beams(candidates, chosen), going.gather(1, chosen)
        return (origin.gather(1, chosen) + self._beams * torch.arange(rows)[:, None]).flatten()

    @property
    def ended(self) -> list[int]:
        """Return the rows of the whole batch that have ended."""
        return [row for row, ended in enumerate(self._ended) if len(ended) >= self._beams]

    def open(self) -> list[int]:
        """Return the numbers of computed rows that have not ended."""
        return [number for number, row in enumerate(self._active) if len(self._ended[row]) < self._beams]

    def select_rows(self, remaining: list[int], source_rows: torch.Tensor) -> torch.Tensor:
        """Compute these alone; returns the rows of the batch that their beams go on from."""
        index = torch.tensor(remaining)
        self._active = [self._active[number] for number in remaining]
        self._prompts, self._running, self._scores = self._prompts[index], self._running[index], self._scores[index]
        return source_rows.view(-1, self._beams)[index].flatten()

    def outputs(self) -> list[list[list[int]]]:
        """Return the outputs of each row, best first."""
        ranked = [sorted(ended, key=lambda scored: -scored[0]) for ended in self._ended]
        return [[ids for _, ids in ended[: self._beams]] for ended in ranked]

    def _collect(self, candidates: torch.Tensor, means: torch.Tensor, ended: torch.Tensor) -> None:
        """Only what ends among a row's `beams` best counts."""
        still_open = set(self.open())
        for number, rank in ended[:, : self._beams].nonzero().tolist():
            if number in still_open:
                self._ended[self._active[number]].append(
                    (float(means[number, rank]), candidates[number, rank].tolist())
                )


def _select_beams(beams: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Of (rows, beams, tokens) the beams of `index` (rows, chosen)."""
    return beams.gather(1, index[:, :, None].expand(-1, -1, beams.shape[2]))
