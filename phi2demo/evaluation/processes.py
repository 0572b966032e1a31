"""The processes that a launcher such as torchrun started together, and the lock on an output folder. Knows no model."""

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
"""For the slowest process: a launcher ends all of them when one fails."""


@dataclass(frozen=True)
class Processes:
    """The index of this process and how many there are."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that reads what all have written."""
        return self.index == 0

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """Select the share of this process; all processes pass the same things in the same order."""
        return things[self.index :: self.count]

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()


ALONE = Processes()


@contextmanager
def joined(launch: Launch) -> Iterator[Processes]:
    """Join the processes of a launch, so that they can wait for each other; with GPUs each process sees one of them.

    Enter it before anything is loaded. The processes exchange no data, so gloo is enough on GPUs too.
    """
    if launch.count == 1:
        yield ALONE
        return
    import torch.distributed

    keep_one_gpu(launch, torch.cuda.device_count())  # the count comes from the driver's library, which claims no GPU
    torch.distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(launch.index, launch.count)
    finally:
        torch.distributed.destroy_process_group()


LOCK = ".running"


class RunLock:
    """The lock on a folder while it is held."""

    def __init__(self, folder: Path, file: IO[str]) -> None:
        self._folder, self._file = folder, file

    def share(self) -> None:
        """Let processes of the same run join; other runs are still refused."""
        _lock(self._file, self._folder, shared=True)


@contextmanager
def run_lock(folder: Path, *, joining: bool = False) -> Iterator[RunLock]:
    """Lock a folder, alone or, with `joining`, together with the processes of the run that shares its lock.

    Raises SettingsError where another run holds the lock, or nothing can be written into the folder.
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
    """Open and lock the file; try again where the run that held it has just ended and removed it."""
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
