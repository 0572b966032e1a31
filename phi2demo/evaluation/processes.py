"""This process among those that a launcher as torchrun started together. Knows nothing of what they compute."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from phi2demo.settings import Launch, keep_one_gpu

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=7)
"""For the slowest of the processes: a launcher ends all of them when one fails."""


@dataclass(frozen=True)
class Processes:
    """Which one this is of how many."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that reads what all have written."""
        return self.index == 0

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """What this process has to do of what there is to do, given in the same order to all."""
        return things[self.index :: self.count]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()


ALONE = Processes()


@contextmanager
def joined(launch: Launch) -> Iterator[Processes]:
    """The processes of a launch, which can wait for each other; on GPUs each sees one of its own.

    To be entered before anything is loaded. They exchange nothing but that they are there, so gloo serves on GPUs too.
    """
    if launch.count == 1:
        yield ALONE
        return
    import torch.distributed

    keep_one_gpu(launch, torch.cuda.device_count())  # asked of the driver's library: it does not claim a GPU
    torch.distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(launch.index, launch.count)
    finally:
        torch.distributed.destroy_process_group()
