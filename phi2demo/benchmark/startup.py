"""Start the app with our engine and with `--engine transformers`, and compare the seconds to its page and first answer.

Each start is a process of its own. The weights are read once before, so that no side is the first to read them from disk,
and graphs are converted before.
"""

import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from phi2demo.benchmark.setup import Comparison, check_count, describe_machine
from phi2demo.errors import ModelError

TEXT = "A warm and funny film that I would gladly see again."
NEW_TOKENS = 16
"""Most new tokens of the answer, since its length is not what is measured."""
TIMEOUT_S = 1800.0
POLL_S = 0.05


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process."""

    page_s: float
    """Until the page is served."""
    answer_s: float
    """Until the first answer has come."""
    receipt: dict[str, Any]
    """Of the answer."""


@dataclass(frozen=True, kw_only=True)
class StartupComparison(Comparison):
    """Seconds until the first answer."""

    ours_page: float
    """Seconds until the page is served."""
    peer_page: float | None

    def table(self) -> list[str]:
        """See `Comparison.table`."""
        lines = [f"{'':14}{'page s':>8}{'first answer s':>16}", f"{'ours':14}{self.ours_page:>8.1f}{self.ours:>16.1f}"]
        if self.peer is None:
            return lines
        return [*lines, f"{'transformers':14}{self.peer_page:>8.1f}{self.peer:>16.1f}"]


def compare(
    ours: Sequence[str],
    peer: Sequence[str] | None,
    command: str,
    *,
    repeats: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> StartupComparison:
    """Start the app with the arguments of each side in turn, once untimed and then `repeats` times.

    `command` is the endpoint that answers. Raises ModelError where the app ends by itself.
    """
    check_count("--repeats", repeats)
    sides = {"ours": ours} | ({} if peer is None else {"transformers": peer})
    starts: dict[str, list[Start]] = {side: [] for side in sides}
    for number in range(repeats + 1):
        for side, arguments in sides.items():
            start = start_app(arguments, command)
            report(f"start {number} of {repeats}: {side}: page {start.page_s:.1f} s, answer {start.answer_s:.1f} s")
            starts[side].append(start)
    medians = {
        side: [statistics.median(values) for values in zip(*((s.page_s, s.answer_s) for s in timed[1:]), strict=True)]
        for side, timed in starts.items()
    }
    receipt = starts["ours"][0].receipt
    (ours_page, ours_answer), (peer_page, peer_answer) = medians["ours"], medians.get("transformers", (None, None))
    return StartupComparison(
        ratio=None if peer_answer is None else peer_answer / ours_answer,
        ours=ours_answer,
        peer=peer_answer,
        unit="seconds until the first answer",
        repeats=repeats,
        model=receipt["base"],
        engine=f"{receipt['engine']}, {receipt['dtype']}",
        machine=describe_machine(receipt["device"]),
        ours_page=ours_page,
        peer_page=peer_page,
    )


def start_app(arguments: Sequence[str], command: str) -> Start:
    """Start the app in a process of its own, ask one thing of it, and end it. Raises ModelError."""
    from gradio_client import Client

    url = f"http://127.0.0.1:{(port := _free_port())}/"
    line = [sys.executable, "-m", "phi2demo", "serve", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    with TemporaryFile("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=log)
        try:
            while not _is_served(url):
                if process.poll() is not None or time.perf_counter() - started > TIMEOUT_S:
                    log.seek(0)
                    raise ModelError(f"The app did not start: {(log.read().strip().splitlines() or ['no reason'])[-1]}")
                time.sleep(POLL_S)
            page_s = time.perf_counter() - started
            with closing(Client(url, verbose=False, analytics_enabled=False)) as client:
                answer = client.predict(TEXT, options={"max_new_tokens": NEW_TOKENS}, api_name=f"/{command}")
            return Start(page_s, time.perf_counter() - started, answer["receipt"])
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_served(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True
