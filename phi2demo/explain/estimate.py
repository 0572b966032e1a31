"""How many prompts an explanation will score, how long that takes on this machine, and which units that allows."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from phi2demo.errors import InputError
from phi2demo.explain.attribution import Attribution, Values
from phi2demo.explain.faithfulness import curve_calls
from phi2demo.explain.request import MAX_EXACT_UNITS, ExplainRequest, Method
from phi2demo.explain.tree import complete_calls
from phi2demo.explain.units import Unit, UnitKind
from phi2demo.explain.value_function import ValueFunction


@dataclass(frozen=True)
class Estimate:
    """What an explanation will take on this machine, from a short trial."""

    kind: UnitKind
    """The units chosen."""
    units: int
    calls: int
    """Prompts to score at most: masked texts that were scored before are not scored again."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Partial:
    """Values so far; credit that is not measured down to a unit yet is split evenly."""

    units: tuple[Unit, ...]
    totals: Values
    """(units,): for the whole target."""


@dataclass(frozen=True, eq=False)
class ExplainProgress:
    """One step of a running explanation. The last one holds the attribution."""

    stage: str
    """In words: "Measuring how fast this machine is", "Asking with words hidden", "Checking"."""
    calls: int
    """Prompts scored so far."""
    seconds: float
    estimate: Estimate | None = None
    """From the second step on."""
    partial: Partial | None = None
    attribution: Attribution | None = None

    @property
    def share(self) -> float:
        """Of the estimated calls that are done, from 0 to 1."""
        if self.attribution is not None:
            return 1.0
        if self.estimate is None:
            return 0.0
        return min(1.0, self.calls / self.estimate.calls) if self.estimate.calls else 1.0


PATIENCE_S = 10.0
"""Finer units are chosen as long as the estimate is under this."""
TRIAL_MASKS = 24
COMPARISON_EVALS = 200
"""Masked texts for the other method, whose agreement is measured."""
FEW_UNITS = 10
"""Up to here a few hundred evaluations are enough random orders to come near exact Shapley values. Owen values over a tree
do not, however many there are: the tree rules out most subsets."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be asked."""

    units: tuple[Unit, ...]
    tree: Values
    """Linkage over the units; see `tree.linkage`."""
    method: Method
    """Never auto."""
    estimate: Estimate


@dataclass(frozen=True)
class TrialTiming:
    """What a masked text costs."""

    seconds: float
    calls: float
    """Prompts scored: one a piece of the text, a side of a contrast, and a use."""


def trial(value_function: ValueFunction, units: tuple[Unit, ...], *, seed: int) -> TrialTiming:
    """Time a few masked texts with half of the units hidden; the whole text goes first, so that the model is warm."""
    value_function.units = units
    value_function(np.ones((1, len(units)), dtype=bool))
    before, calls = value_function.seconds, value_function.calls
    masks = np.random.default_rng(seed).random((TRIAL_MASKS, len(units))) < 0.5
    value_function(masks)
    if scored := value_function.calls - calls:
        distinct = len(np.unique(masks, axis=0))
        return TrialTiming((value_function.seconds - before) / distinct, scored / distinct)
    return TrialTiming(0.0, 0.0)


def plan(
    request: ExplainRequest,
    kinds: Mapping[UnitKind, tuple[Unit, ...]],
    tree_of: Callable[[UnitKind], Values],
    timing: TrialTiming,
) -> Plan:
    """The units asked for; with "auto" the finest of `kinds` whose estimate is under ten seconds, and that can be told apart.

    Telling n units apart takes at least 2n masked texts. InputError where exact
    values of too many units are asked for.
    """
    if request.units != "auto":
        units = kinds[request.units]
        if request.method == "exact" and len(units) > MAX_EXACT_UNITS:
            raise InputError(
                f"Exact Shapley values need every subset of the units, at most {MAX_EXACT_UNITS} of them; this text has "
                f"{len(units)} {request.units}. Take coarser units or another method."
            )
        return _planned(request, request.units, units, tree_of(request.units), timing)
    plans: list[Plan] = []
    for kind, units in kinds.items():
        planned = _planned(request, kind, units, tree_of(kind), timing)
        count = planned.estimate.units
        if plans and count < 2:
            break
        plans.append(planned)
        if request.method == "exact" and count > MAX_EXACT_UNITS:
            continue
        if planned.estimate.seconds < PATIENCE_S and 2 * count <= request.max_evals:
            return planned
    if request.method == "exact" and plans[-1].estimate.units > MAX_EXACT_UNITS:
        raise InputError(
            f"Exact Shapley values need every subset of the units, at most {MAX_EXACT_UNITS} of them; this text has "
            f"{plans[-1].estimate.units} {plans[-1].estimate.kind}. Shorten it, or take another method."
        )
    return plans[-1]


def _planned(
    request: ExplainRequest, kind: UnitKind, units: tuple[Unit, ...], tree: Values, timing: TrialTiming
) -> Plan:
    method = method_for(request, len(units))
    masks = method_masks(method, len(units), tree, max_evals=request.max_evals)
    if request.trust and len(units) > 1:
        masks += curve_calls(len(units)) + min(COMPARISON_EVALS, 2 ** min(len(units), 20))
    masks = min(masks, 2 ** min(len(units), 30))
    calls = math.ceil(masks * timing.calls)
    return Plan(units, tree, method, Estimate(kind, len(units), calls, round(masks * timing.seconds, 2)))


def method_for(request: ExplainRequest, units: int) -> Method:
    """The method asked for; with "auto" the nearest to exact Shapley values that the evaluations allow."""
    if request.method != "auto":
        return request.method
    if 2**units <= request.max_evals:
        return "exact"
    return "permutation" if units <= FEW_UNITS and 10 * (2 * units + 1) <= request.max_evals else "partition"


def method_masks(method: Method, units: int, tree: Values, *, max_evals: int) -> int:
    """Masked texts that a method asks for at most."""
    if units == 1:
        return 2
    match method:
        case "exact":
            return int(2 ** min(units, 30))
        case "permutation":
            length = 2 * units + 1
            return max(max_evals // length, 1) * length
        case "lime":
            return max_evals
    return min(max_evals, complete_calls(tree))
