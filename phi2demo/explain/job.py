"""An explanation, from its request to its attribution: progress, partial values, stop. Knows nothing of torch or the page."""

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
from phi2demo.explain.attribution import Attribution, OutputToken, Trust
from phi2demo.explain.estimate import COMPARISON_EVALS, Estimate, ExplanationPlan, make_plan, time_trial
from phi2demo.explain.request import ExplainRequest, Method
from phi2demo.explain.scoring_plan import make_scoring_plan, units_by_kind
from phi2demo.explain.tree import owen_values
from phi2demo.explain.units import Unit, UnitValues, Values
from phi2demo.explain.value_function import ScoreCache, ValueFunction

HEARTBEAT_S = 0.1
"""The longest time between two steps, so that an explanation can be stopped and its iterator closed at any time."""
JOIN_S = 0.5
"""The time to wait for a stopped explanation to end. While shap is imported it ends later, but scores nothing more."""
PARTIAL_EVERY_S = 0.5


@dataclass(frozen=True, eq=False)
class Partial:
    """The values so far; credit that is not measured down to single units yet is split evenly between them."""

    units: tuple[Unit, ...]
    totals: Values
    """(units,): for the whole target."""


@dataclass(frozen=True, eq=False)
class ExplainProgress:
    """One step of a running explanation. The last one holds the attribution."""

    stage: str
    """What is done, in words: "Measuring how fast this machine is", "Checking"."""
    calls: int
    """Prompts scored so far."""
    seconds: float
    estimate: Estimate | None = None
    """Present from the second step on."""
    partial: Partial | None = None
    attribution: Attribution | None = None
    tokens: tuple[OutputToken, ...] = ()
    """The output tokens of the target, and of the contrast."""

    @property
    def share(self) -> float:
        """The share of the estimated calls that are done, from 0 to 1."""
        if self.attribution is not None:
            return 1.0
        if self.estimate is None:
            return 0.0
        return min(1.0, self.calls / self.estimate.calls) if self.estimate.calls else 1.0


ProgressCallback = Callable[[ExplainProgress | BaseException], None]


def explain(
    engine: Engine,
    request: ExplainRequest,
    *,
    cancel: threading.Event | None = None,
    cache: ScoreCache | None = None,
    longest_s: float = math.inf,
) -> Generator[ExplainProgress]:
    """Explain an output, step by step. The last step holds the attribution; those before, an estimate, then partial values.

    Setting `cancel` ends it within a second with StoppedError; closing the iterator ends it without an error. Give the
    same `cache` to explanations by the same model, so that no prompt is scored twice. Raises InputError and SettingsError
    before anything is scored, and SettingsError once it takes longer than `longest_s` seconds.
    """
    stop = threading.Event()
    reports: queue.SimpleQueue[ExplainProgress | BaseException] = queue.SimpleQueue()
    job = ExplanationJob(engine, request, cancel=stop, cache=cache, report=reports.put)
    thread = threading.Thread(target=job.run, name="explain", daemon=True)
    thread.start()
    started, newest = time.monotonic(), ExplainProgress("Starting", 0, 0.0, tokens=job.scoring_plan.tokens)
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
            newest = replace(report, partial=report.partial or newest.partial, tokens=newest.tokens)
            yield newest
    finally:
        stop.set()
        thread.join(JOIN_S)


class ExplanationJob:
    """The work of one explanation. A request that does not suit the model is refused on creation."""

    def __init__(
        self,
        engine: Engine,
        request: ExplainRequest,
        *,
        cancel: threading.Event,
        cache: ScoreCache | None,
        report: ProgressCallback,
    ) -> None:
        request = request.for_model(engine)
        self._engine, self._request, self._report = engine, request, report
        self.scoring_plan = make_scoring_plan(engine, request)
        self._value_function = ValueFunction(
            engine,
            request,
            self.scoring_plan,
            cache=ScoreCache() if cache is None else cache,
            cancel=cancel,
            report=self._report_progress,
        )
        self._started = time.monotonic()
        self._stage = "Measuring how fast this machine is"
        self._plan: ExplanationPlan | None = None
        self._partial_reported = 0.0

    def run(self) -> None:
        """Explain. Every outcome is reported, exceptions too, so that no reader in another thread waits in vain."""
        try:
            self._report(self._explain())
        except BaseException as error:
            self._report(error)

    def _explain(self) -> ExplainProgress:
        """Return the last step. Raises StoppedError once cancelled, InputError where there are too many units."""
        request, value_function = self._request, self._value_function
        self._report_progress()
        units = units_by_kind(self._engine, request)
        timing = time_trial(value_function, units, seed=request.seed)
        self._plan = plan = make_plan(request, units, timing)
        value_function.units = plan.units
        self._stage = "Asking with parts of the text hidden"
        self._report_progress()
        unit_values = self._unit_values(plan, plan.method, max_evals=request.max_evals)
        count = len(plan.units)
        empty, full = value_function(np.array([[False] * count, [True] * count]))
        self._stage = "Checking"
        self._report_progress()
        trust = self._trust(plan, unit_values, effect=float((full - empty).sum()))
        attribution = Attribution(
            request=replace(request, method=plan.method),
            model=self._engine.info,
            units=plan.units,
            kind=plan.estimate.kind,
            tokens=self.scoring_plan.tokens,
            values=unit_values.values,
            base_values=empty,
            full_values=full,
            trust=trust,
            notes=(*self.scoring_plan.notes, *_notes(request, plan, trust)),
        )
        return ExplainProgress("Done", trust.calls, trust.seconds, plan.estimate, None, attribution)

    def _unit_values(self, plan: ExplanationPlan, method: Method, *, max_evals: int) -> UnitValues:
        score, units, seed = self._value_function, len(plan.units), self._request.seed
        if units == 1:
            empty, full = score(np.array([[False], [True]]))
            return UnitValues((full - empty)[None])
        match method:
            case "exact":
                return shapley.exact_values(score, units, seed=seed)
            case "permutation":
                return shapley.permutation_values(score, units, max_evals=max_evals, seed=seed)
            case "lime":
                return lime.lime_values(score, units, samples=max_evals, seed=seed)
        return shapley.partition_values(score, plan.tree, max_evals=max_evals, seed=seed)

    def _trust(self, plan: ExplanationPlan, unit_values: UnitValues, *, effect: float) -> Trust:
        """Measure how reliable values are; `effect` is the value of the whole text less that of the empty text."""
        value_function, seed, totals = self._value_function, self._request.seed, unit_values.totals
        owen = deletion = insertion = agreement = None
        if plan.method == "partition" and len(totals) > 1:
            owen = owen_values(plan.tree, value_function.look_up)
        if self._request.trust and len(totals) > 1:
            deletion, insertion = faithfulness.curves(value_function, totals, seed=seed)
            other_method: Method = "partition" if plan.method == "lime" else "lime"
            other = self._unit_values(plan, other_method, max_evals=COMPARISON_EVALS)
            agreement = faithfulness.agreement(totals, other.totals)
        return Trust(
            calls=value_function.calls,
            seconds=round(time.monotonic() - self._started, 3),
            seed=seed,
            remainder=abs(effect - float(totals.sum())) / max(abs(effect), 1e-9),
            opened=owen.opened if owen else None,
            split_evenly=owen.split_evenly if owen else None,
            standard_error=tuple(unit_values.standard_error.tolist())
            if unit_values.standard_error is not None
            else None,
            fit=unit_values.fit,
            deletion=deletion,
            insertion=insertion,
            agreement=agreement,
        )

    def _report_progress(self) -> None:
        plan, now, partial = self._plan, time.monotonic(), None
        if plan and len(plan.units) > 1 and now - self._partial_reported > PARTIAL_EVERY_S:
            self._partial_reported = now
            if owen := owen_values(plan.tree, self._value_function.look_up):
                partial = Partial(plan.units, np.asarray(owen.values.sum(1)))
        estimate = plan.estimate if plan else None
        self._report(ExplainProgress(self._stage, self._value_function.calls, now - self._started, estimate, partial))


def _notes(request: ExplainRequest, plan: ExplanationPlan, trust: Trust) -> tuple[str, ...]:
    notes = []
    if len(plan.units) == 1:
        unit = plan.estimate.kind.removesuffix("s")
        notes.append(
            f"The text is one {unit}, so it has the whole credit: there is nothing to share. "
            "Take finer units or a longer text to learn more."
        )
    if trust.split_evenly is not None and trust.split_evenly > 0.1:
        notes.append(
            f"{trust.split_evenly:.0%} of the credit was only split evenly within groups that were not opened. "
            "Allow more evaluations or take coarser units for more."
        )
    if plan.method == "lime" and request.max_evals < 2 * len(plan.units):
        notes.append(
            "LIME needs at least two masked texts for each unit, and there are fewer here: its values are mostly noise."
        )
    return tuple(notes)
