"""The way of an explanation, for its reader: progress, partial values, stop. Knows nothing of torch or of the page."""

import math
import queue
import threading
import time
from collections.abc import Generator
from dataclasses import replace

from phi2demo.engine.engine import Engine
from phi2demo.errors import SettingsError, StoppedError
from phi2demo.explain.game import ScoreCache
from phi2demo.explain.progress import ExplainProgress
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.work import Work

HEARTBEAT_S = 0.1
"""How often a silent explanation gives sign of life, so that it can be stopped and its reader be closed."""
JOIN_S = 0.5
"""Waited for a stopped explanation to end; while shap is being imported it ends later, but no longer asks the model."""


def explain(
    engine: Engine,
    request: ExplainRequest,
    *,
    cancel: threading.Event | None = None,
    cache: ScoreCache | None = None,
    longest_s: float = math.inf,
) -> Generator[ExplainProgress]:
    """Explain an output. The last progress holds the attribution; those before it an estimate, then partial values.

    Setting `cancel` ends it within a second with StoppedError, closing the iterator ends it without. Give the same
    `cache` to explanations by the same model, and what one has asked for costs the next nothing. Raises InputError
    and SettingsError before anything is scored, and SettingsError where it takes more than `longest_s` seconds.
    """
    stop = threading.Event()
    reports: queue.SimpleQueue[ExplainProgress | BaseException] = queue.SimpleQueue()
    if cache is None:
        cache = ScoreCache()
    work = Work(engine, request, cancel=stop, cache=cache, report=reports.put)
    thread = threading.Thread(target=_run, args=(work, reports), name="explain", daemon=True)
    thread.start()
    started, newest = time.monotonic(), ExplainProgress("Starting", 0, 0.0)
    try:
        while newest.attribution is None:
            if cancel is not None and cancel.is_set():
                raise StoppedError("Stopped before it was done, so there is no explanation. Start it again for one.")
            if time.monotonic() - started > longest_s:
                raise SettingsError(
                    f"The explanation took longer than the {longest_s:,.0f} seconds that it may take here. "
                    "Allow fewer masked texts, or take coarser units or a shorter text."
                )
            try:
                report = reports.get(timeout=HEARTBEAT_S)
            except queue.Empty:
                report = replace(newest, seconds=time.monotonic() - started)
            if isinstance(report, BaseException):
                raise report
            newest = replace(report, partial=report.partial or newest.partial)
            yield newest
    finally:
        stop.set()
        thread.join(JOIN_S)


def _run(work: Work, reports: "queue.SimpleQueue[ExplainProgress | BaseException]") -> None:
    """Runs in a thread of its own; whatever happens, the reader hears of it."""
    try:
        attribution = work.run()
    except BaseException as error:
        reports.put(error)
    else:
        reports.put(
            ExplainProgress(
                "Done", attribution.trust.calls, attribution.trust.seconds, work.estimate, None, attribution
            )
        )
