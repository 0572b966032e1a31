"""Batches made ahead by worker processes, while a GPU computes. Knows no model."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from phi2demo.training.batch import Batch, Batches

AHEAD = 4
"""Batches that each worker is ahead at most."""


def batches_from(batches: Batches, start: int, stop: int, *, workers: int) -> Iterator[Batch]:
    """The batches of the steps from `start` to before `stop`, in order; 0 workers make each when it is asked for."""
    if not workers:
        yield from (batches.at(step) for step in range(start, stop))
        return
    from torch.utils.data import DataLoader

    steps: Any = _Steps(batches, stop)
    loader: DataLoader[Batch] = DataLoader(
        steps,
        sampler=range(start, stop),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD,
        worker_init_fn=_begin,
    )
    yield from loader


def _begin(worker: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a tokenizer's own threads do not survive a fork


@dataclass(frozen=True)
class _Steps:
    """Batches as the data set that a DataLoader reads."""

    batches: Batches
    stop: int

    def __len__(self) -> int:
        return self.stop

    def __getitem__(self, step: int) -> Batch:
        return self.batches.at(step)
