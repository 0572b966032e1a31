"""This process among those that a launcher as torchrun started together. Knows nothing of what they compute."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TypeVar

from phi2demo.errors import SettingsError
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


LOCK = ".running"


class RunLock:
    """The claim on a folder while it is held."""

    def __init__(self, folder: Path, file: IO[str]) -> None:
        self._folder, self._file = folder, file

    def share(self) -> None:
        """Let processes of the same run join; another run is still refused."""
        _lock(self._file, self._folder, shared=True)


@contextmanager
def run_lock(folder: Path, *, joining: bool = False) -> Iterator[RunLock]:
    """Hold the folder, alone or, `joining`, with those of the run that holds and shares it.

    Raises SettingsError where another run holds it, or nothing can be written into it.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = _opened(path, folder, shared=joining)
    except OSError as error:
        raise SettingsError(
            f"Nothing can be written into --output {folder} ({error.strerror}). Give a folder that can be written into."
        ) from error
    with opened as file:
        if not joining:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        try:
            yield RunLock(folder, file)
        finally:
            if not joining:
                path.unlink(missing_ok=True)


def _opened(path: Path, folder: Path, *, shared: bool) -> IO[str]:
    """The file, locked; once more where the run that had it has just ended and taken it away."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file, folder, shared=shared)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: IO[str], folder: Path, *, shared: bool) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise SettingsError(
            f"Another run writes into {folder} ({file.read().strip() or 'it has just begun'}). Wait until it is done, or "
            "give another --output."
        ) from error
