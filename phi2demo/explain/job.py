"""The way of an explanation, for its reader: progress, partial values, stop. Knows nothing of torch or of the page."""

import math
import queue
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np

from phi2demo.engine.engine import Engine
from phi2demo.errors import SettingsError, StoppedError
from phi2demo.explain import faithfulness, lime, shapley
from phi2demo.explain.attribution import Attribution, Trust, Values
from phi2demo.explain.estimate import COMPARISON_EVALS, Estimate, ExplainProgress, Partial, Plan, plan, trial
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.scoring_plan import resolve, units_by_kind
from phi2demo.explain.tree import OwenValues, linkage, owen_values
from phi2demo.explain.units import Unit, UnitKind
from phi2demo.explain.value_function import ScoreCache, ValueFunction

PARTIAL_EVERY_S = 0.5


@dataclass(frozen=True, eq=False)
class _Found:
    """What a method gave."""

    values: Values
    standard_error: Values | None = None
    fit: float | None = None


class ExplanationJob:
    """One explanation. Created where errors shall be heard at once; run in a thread of its own."""

    def __init__(
        self,
        engine: Engine,
        request: ExplainRequest,
        *,
        cancel: threading.Event,
        cache: ScoreCache,
        report: Callable[[ExplainProgress], None],
    ) -> None:
        self._engine, self._request, self._report = engine, request, report
        self._setting = resolve(engine, request)
        self._game = ValueFunction(
            engine,
            request,
            pieces=self._setting.pieces,
            outputs=self._setting.outputs,
            columns=len(self._setting.tokens),
            cache=cache,
            cancel=cancel,
        )
        self._game.report = self._tell
        self._started = time.monotonic()
        self._stage = "Measuring how fast this machine is"
        self._units: dict[UnitKind, tuple[Unit, ...]] = {}
        self._plan: Plan | None = None
        self._told_at = 0.0

    def run(self) -> Attribution:
        """Raises StoppedError once cancelled, InputError where there are too many units."""
        self._tell()
        self._units = units_by_kind(self._engine, self._request)
        timing = trial(self._game, self._tried, seed=self._request.seed)
        self._plan = planned = plan(self._request, self._units, self._tree, timing)
        self._game.units = planned.units
        self._stage = "Asking with parts of the text hidden"
        self._tell()
        found = self._method()
        count = len(planned.units)
        ends = self._game(np.array([[False] * count, [True] * count]))
        self._stage = "Checking"
        self._tell()
        trust = self._trust(found, base=ends[0], full=ends[1])
        return Attribution(
            request=replace(self._request, method=planned.method),
            model=self._engine.info,
            units=planned.units,
            kind=planned.estimate.kind,
            tokens=self._setting.tokens,
            values=found.values,
            base_values=ends[0],
            full_values=ends[1],
            trust=trust,
            notes=(*self._setting.notes, *_notes(self._request, planned, trust)),
        )

    @property
    def seconds(self) -> float:
        """Since it was created."""
        return time.monotonic() - self._started

    @property
    def estimate(self) -> Estimate | None:
        """Once the trial is over."""
        return self._plan.estimate if self._plan else None

    @property
    def _tried(self) -> tuple[Unit, ...]:
        """Words, where there are several; of a single one what it has several of, if anything."""
        kinds = sorted(self._units, key=lambda kind: kind != "words")
        several = (self._units[kind] for kind in kinds if len(self._units[kind]) > 1)
        return next(several, self._units[kinds[0]])

    def _tree(self, kind: UnitKind) -> Values:
        return linkage(self._units[kind], [self._units[larger] for larger in _COARSER[kind] if larger in self._units])

    def _method(self) -> _Found:
        request, planned = self._request, self._plan
        assert planned is not None
        units, seed = len(planned.units), request.seed
        if units == 1:
            ends = self._game(np.array([[False], [True]]))
            return _Found(ends[1:] - ends[:1])
        match planned.method:
            case "exact":
                return _Found(shapley.exact_values(self._game, units, seed=seed).values)
            case "permutation":
                sampled = shapley.permutation_values(self._game, units, max_evals=request.max_evals, seed=seed)
                return _Found(sampled.values, sampled.standard_error)
            case "lime":
                linear = lime.lime_values(self._game, units, samples=request.max_evals, seed=seed)
                return _Found(linear.values, linear.standard_error, linear.fit)
        return _Found(shapley.partition_values(self._game, planned.tree, max_evals=request.max_evals, seed=seed).values)

    def _trust(self, found: _Found, *, base: Values, full: Values) -> Trust:
        request, planned = self._request, self._plan
        assert planned is not None
        totals, units = found.values.sum(1), len(planned.units)
        explained = float((full - base).sum())
        opened = self._owen() if planned.method == "partition" and units > 1 else None
        deletion = insertion = agreement = None
        if request.trust and units > 1:
            deletion, insertion = faithfulness.curves(self._game, totals, seed=request.seed)
            agreement = faithfulness.agreement(totals, self._compared(planned))
        return Trust(
            calls=self._game.calls,
            seconds=round(self.seconds, 3),
            seed=request.seed,
            remainder=abs(explained - float(totals.sum())) / max(abs(explained), 1e-9),
            opened=opened.opened if opened else None,
            split_evenly=opened.split_evenly if opened else None,
            standard_error=tuple(found.standard_error.tolist()) if found.standard_error is not None else None,
            fit=found.fit,
            deletion=deletion,
            insertion=insertion,
            agreement=agreement,
        )

    def _compared(self, planned: Plan) -> Values:
        """The units' values by the other family of methods: LIME beside SHAP, SHAP beside LIME."""
        units, seed = len(planned.units), self._request.seed
        if planned.method == "lime":
            other = shapley.partition_values(self._game, planned.tree, max_evals=COMPARISON_EVALS, seed=seed)
            return np.asarray(other.values.sum(1))
        return np.asarray(lime.lime_values(self._game, units, samples=COMPARISON_EVALS, seed=seed).values.sum(1))

    def _owen(self) -> OwenValues | None:
        assert self._plan is not None
        return owen_values(self._plan.tree, self._game.lookup)

    def _tell(self) -> None:
        partial = None
        if self._plan and len(self._plan.units) > 1 and time.monotonic() - self._told_at > PARTIAL_EVERY_S:
            self._told_at = time.monotonic()
            if found := self._owen():
                partial = Partial(self._plan.units, np.asarray(found.values.sum(1)))
        self._report(ExplainProgress(self._stage, self._game.calls, self.seconds, self.estimate, partial))


_COARSER: dict[UnitKind, tuple[UnitKind, ...]] = {
    "tokens": ("paragraphs", "sentences"),
    "words": ("paragraphs", "sentences"),
    "sentences": ("paragraphs",),
    "paragraphs": (),
}
"""What the tree over units of a kind keeps together."""


def _notes(request: ExplainRequest, planned: Plan, trust: Trust) -> tuple[str, ...]:
    notes = []
    if len(planned.units) == 1:
        one = planned.estimate.kind.removesuffix("s")
        notes.append(
            f"The text is one {one}, so it has the whole credit: there is nothing to share. "
            "Take finer units or a longer text to learn more."
        )
    if trust.split_evenly is not None and trust.split_evenly > 0.1:
        notes.append(
            f"{trust.split_evenly:.0%} of the credit was only split evenly within groups that were not opened. "
            "Allow more evaluations or take coarser units for more."
        )
    if planned.method == "lime" and request.max_evals < 2 * len(planned.units):
        notes.append("There are fewer masked texts than LIME needs for so many units: its values are mostly noise.")
    return tuple(notes)


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
    work = ExplanationJob(engine, request, cancel=stop, cache=cache, report=reports.put)
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


def _run(work: ExplanationJob, reports: "queue.SimpleQueue[ExplainProgress | BaseException]") -> None:
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
