"""How many prompts an explanation scores, how long that takes on this machine, and the units that this allows."""

import math
from dataclasses import dataclass

import numpy as np

from phi2demo.errors import InputError
from phi2demo.explain.faithfulness import curve_calls
from phi2demo.explain.request import MAX_EXACT_UNITS, ExplainRequest, Method
from phi2demo.explain.scoring_plan import UnitsByKind
from phi2demo.explain.tree import complete_calls, linkage
from phi2demo.explain.units import Unit, UnitKind, Values
from phi2demo.explain.value_function import ValueFunction

PATIENCE_S = 10.0
"""With "auto", the finest units are chosen whose estimate is below this."""
TRIAL_MASKS = 24
COMPARISON_EVALS = 200
"""Masked texts for the other method, whose agreement is measured."""
MAX_PERMUTED_UNITS = 10
"""Up to this number of units, a few hundred evaluations hold enough random orders to come near exact Shapley values. Owen values
over a tree do not come near them with any number of evaluations: the tree rules out most subsets."""

_COARSER: dict[UnitKind, tuple[UnitKind, ...]] = {
    "tokens": ("paragraphs", "sentences"),
    "words": ("paragraphs", "sentences"),
    "sentences": ("paragraphs",),
    "paragraphs": (),
}
"""The coarser units that the tree over units of a kind keeps together."""


@dataclass(frozen=True)
class Estimate:
    """What an explanation takes on this machine, from a short trial."""

    kind: UnitKind
    """The kind of units chosen."""
    units: int
    """The number of units."""
    calls: int
    """The most prompts to score; masked texts that were scored before are not scored again."""
    seconds: float


@dataclass(frozen=True)
class TrialTiming:
    """What one masked text takes."""

    seconds: float
    calls: float
    """Prompts: one for each piece of the text, each side of a contrast and each variant."""


@dataclass(frozen=True, eq=False)
class ExplanationPlan:
    """The units and the method of an explanation."""

    units: tuple[Unit, ...]
    tree: Values
    """Linkage over the units; see `tree.linkage`."""
    method: Method
    """Never "auto"."""
    estimate: Estimate


def time_trial(value_function: ValueFunction, units_by_kind: UnitsByKind, *, seed: int) -> TrialTiming:
    """Time a few masked texts with half of the units hidden; the whole text goes first, so that the model is warm.

    The units are words; for a text of one word, the finest units that there are several of.
    """
    kinds = sorted(units_by_kind, key=lambda kind: kind != "words")
    several = (units_by_kind[kind] for kind in kinds if len(units_by_kind[kind]) > 1)
    value_function.units = units = next(several, units_by_kind[kinds[0]])
    value_function(np.ones((1, len(units)), dtype=bool))
    seconds, calls = value_function.seconds, value_function.calls
    masks = np.random.default_rng(seed).random((TRIAL_MASKS, len(units))) < 0.5
    value_function(masks)
    if value_function.calls == calls:
        return TrialTiming(0.0, 0.0)
    distinct = len(np.unique(masks, axis=0))
    return TrialTiming((value_function.seconds - seconds) / distinct, (value_function.calls - calls) / distinct)


def make_plan(request: ExplainRequest, units_by_kind: UnitsByKind, timing: TrialTiming) -> ExplanationPlan:
    """Plan with the units asked for; with "auto", with the finest units that can be told apart in ten seconds.

    To tell n units apart takes at least 2n masked texts. Raises InputError where exact values of too many units are
    asked for.
    """
    if request.units != "auto":
        count = len(units_by_kind[request.units])
        if request.method == "exact" and count > MAX_EXACT_UNITS:
            raise _too_many_for_exact(count, request.units, "Take coarser units or another method.")
        return _plan_for(request.units, request, units_by_kind, timing)
    plans: list[ExplanationPlan] = []
    for kind, units in units_by_kind.items():
        plan = _plan_for(kind, request, units_by_kind, timing)
        if plans and len(units) < 2:
            break
        plans.append(plan)
        if request.method == "exact" and len(units) > MAX_EXACT_UNITS:
            continue
        if plan.estimate.seconds < PATIENCE_S and 2 * len(units) <= request.max_evals:
            return plan
    coarsest = plans[-1].estimate
    if request.method == "exact" and coarsest.units > MAX_EXACT_UNITS:
        raise _too_many_for_exact(coarsest.units, coarsest.kind, "Shorten it, or take another method.")
    return plans[-1]


def _too_many_for_exact(count: int, kind: UnitKind, advice: str) -> InputError:
    return InputError(
        f"Exact Shapley values need every subset of the units, at most {MAX_EXACT_UNITS} of them; this text has "
        f"{count} {kind}. {advice}"
    )


def _plan_for(
    kind: UnitKind, request: ExplainRequest, units_by_kind: UnitsByKind, timing: TrialTiming
) -> ExplanationPlan:
    units = units_by_kind[kind]
    count = len(units)
    tree = linkage(units, [units_by_kind[coarser] for coarser in _COARSER[kind] if coarser in units_by_kind])
    method = _method_for(request, count)
    masks = _mask_count(method, count, tree, max_evals=request.max_evals)
    if request.trust and count > 1:
        masks += curve_calls(count) + min(COMPARISON_EVALS, 2 ** min(count, 20))
    masks = min(masks, 2 ** min(count, 30))
    estimate = Estimate(kind, count, math.ceil(masks * timing.calls), round(masks * timing.seconds, 2))
    return ExplanationPlan(units, tree, method, estimate)


def _method_for(request: ExplainRequest, units: int) -> Method:
    """Return the method asked for; with "auto", the one nearest to exact Shapley values that the evaluations allow."""
    if request.method != "auto":
        return request.method
    if 2**units <= request.max_evals:
        return "exact"
    enough_orders = units <= MAX_PERMUTED_UNITS and 10 * (2 * units + 1) <= request.max_evals
    return "permutation" if enough_orders else "partition"


def _mask_count(method: Method, units: int, tree: Values, *, max_evals: int) -> int:
    """Return how many masked texts a method scores at most."""
    if units == 1:
        return 2
    match method:
        case "exact":
            return int(2 ** min(units, 30))
        case "permutation":
            walk = 2 * units + 1
            return max(max_evals // walk, 1) * walk
        case "lime":
            return max_evals
    return min(max_evals, complete_calls(tree))
