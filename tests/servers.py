"""A server under test: a process on a free port of loopback, and waiting until a page answers there."""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Server:
    url: str
    pid: int
    seconds_to_answer: float
    log: Path
    """What it has written to stderr."""


@contextmanager
def serving(command: Sequence[str], *, timeout_s: float = 90.0) -> Iterator[Server]:
    """Run `python COMMAND --port N` until the end of the block; fails where it ends by itself or never answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started = time.monotonic()
    stderr = tempfile.NamedTemporaryFile()  # noqa: SIM115
    log = Path(stderr.name)
    process = subprocess.Popen(
        [sys.executable, *command, "--port", port], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text(encoding='utf-8')}")
            if time.monotonic() - started > timeout_s:
                raise RuntimeError(f"{url} did not answer in {timeout_s:.0f} s")
            time.sleep(0.2)
        yield Server(url, process.pid, time.monotonic() - started, log)
    finally:
        process.terminate()
        process.wait(timeout=20)
        stderr.close()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True
