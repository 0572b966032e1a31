"""Log-probability of given outputs in plain batches, for any model. Knows nothing of tasks, SHAP or Gradio."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from phi2demo.engine.engine import Score

BATCH_TOKENS = 4096
"""Tokens of a batch with its padding."""


@dataclass(frozen=True)
class ScoringRow:
    """One output under one prompt, as token ids."""

    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    adapter: str
    """Name of the adapter, or `__base__`."""

    @property
    def length(self) -> int:
        """Tokens that the model reads: the last one is only predicted."""
        return len(self.prompt_ids) + len(self.output_ids) - 1


def score_rows(forward: Callable[..., Any], rows: Sequence[ScoringRow], *, device: torch.device) -> list[Score]:
    """Log-probability of every output token, teacher-forced, in the order of `rows`.

    `forward(input_ids=, attention_mask=, logits_to_keep=, adapters=)` gives logits for the kept positions. Rows are
    sorted by length and batched by tokens; padding is on the right, where a causal model cannot see it.
    """
    order = sorted(range(len(rows)), key=lambda index: rows[index].length)
    scores: dict[int, Score] = {}
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * rows[index].length > BATCH_TOKENS:
            scores.update(_score_batch(forward, rows, batch, device))
            batch = []
        batch.append(index)
    if batch:
        scores.update(_score_batch(forward, rows, batch, device))
    return [scores[index] for index in range(len(rows))]


def log_probabilities(logits: torch.Tensor, token_ids: torch.Tensor) -> list[float]:
    """Of one token each under its logits, (tokens, vocabulary), which may be overwritten.

    By the odds against all other tokens: also next to 0 all digits are right, so that log-odds can be had from them.
    """
    logits, at = logits.float(), token_ids[:, None]
    wanted = logits.gather(-1, at)
    logits.scatter_(-1, at, float("-inf"))
    other = (at + 1) % logits.shape[-1]
    others = logits.gather(-1, other) - logits.log_softmax(-1).gather(-1, other)  # logsumexp, which is slower on a CPU
    odds = (wanted - others)[:, 0].cpu().double()  # an MPS device has no float64
    values: list[float] = functional.logsigmoid(odds).tolist()
    return values


def _score_batch(
    forward: Callable[..., Any], rows: Sequence[ScoringRow], batch: list[int], device: torch.device
) -> dict[int, Score]:
    width = max(rows[index].length for index in batch)
    first = min(len(rows[index].prompt_ids) for index in batch) - 1
    input_ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for at, index in enumerate(batch):
        ids = (*rows[index].prompt_ids, *rows[index].output_ids)[:-1]
        input_ids[at, : len(ids)] = torch.tensor(ids)
        mask[at, : len(ids)] = 1
    logits = forward(
        input_ids=input_ids.to(device),
        attention_mask=mask.to(device),
        logits_to_keep=torch.arange(first, width, device=device),
        adapters=[rows[index].adapter for index in batch],
    )
    scores = {}
    for at, index in enumerate(batch):
        row = rows[index]
        start = len(row.prompt_ids) - 1 - first
        wanted = torch.tensor(row.output_ids, device=device)
        values = log_probabilities(logits[at, start : start + len(row.output_ids)], wanted)
        scores[index] = Score(row.output_ids, tuple(values))
    return scores
