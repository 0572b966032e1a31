"""The right to write into a folder: one run at a time. Knows nothing of what is written.

A lock of the operating system on a file in the folder: it ends with the process that holds it, however that ends, so
none is ever left behind. Where the system has no such locks (Windows) nothing is refused.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from phi2demo.errors import SettingsError

LOCK = ".running"


class Claim:
    """The claim on a folder while it is held."""

    def __init__(self, folder: Path, file: IO[str]) -> None:
        self._folder, self._file = folder, file

    def share(self) -> None:
        """Let processes of the same run join; another run is still refused."""
        _lock(self._file, self._folder, shared=True)


@contextmanager
def claimed(folder: Path, *, joining: bool = False) -> Iterator[Claim]:
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
            yield Claim(folder, file)
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
