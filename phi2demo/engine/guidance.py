"""Classifier-free guidance: beside every row a guide, the same prompt without the person's text. Both write the same.

Scores are u + guidance_scale * (c - u), of log-probabilities c with the text and u without: what the text makes likelier
is preferred to what is likely anyway. Sanchez et al., "Stay on topic with Classifier-Free Guidance" (2023); that it keeps
summaries and answers to their text: Shi et al., "Trusting Your Evidence: Hallucinate Less with Context-aware Decoding"
(2023). The guides stand behind the rows, as many and in the same order.
"""

from collections.abc import Iterable

import torch
from transformers import LogitsProcessor, StoppingCriteria

from phi2demo.engine.watch import Watch


class Guidance(LogitsProcessor):
    """The same guided log-probabilities for a row and its guide, so that both choose the same token."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Of shape (2 x rows, vocabulary), as are the scores."""
        told, untold = scores.float().log_softmax(-1).chunk(2)
        guided = (untold + self._scale * (told - untold)).log_softmax(-1)
        return torch.cat([guided, guided])  # type: ignore[return-value]


class WatchWithoutGuides(StoppingCriteria):
    """Shows a watch its rows alone; a guide is done when its row is."""

    def __init__(self, watch: Watch, rows: int) -> None:
        """`rows` of the batch, guides not counted."""
        self._watch, self._rows = watch, rows

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object) -> torch.BoolTensor:
        """Which are done, (2 x rows x beams,)."""
        half: torch.LongTensor = input_ids[: len(input_ids) // 2]  # type: ignore[assignment]
        done = self._watch(half, scores)
        return torch.cat([done, done])  # type: ignore[return-value]

    def mark_ended(self, rows: Iterable[int]) -> None:
        """See `Watch.mark_ended`."""
        self._watch.mark_ended(row for row in rows if row < self._rows)
