"""Learning curves in words and as tables in Markdown. Knows no file."""

from phi2demo.evaluation.learning_curve import LearningCurve, LearningCurves, Point
from phi2demo.evaluation.report import to_table
from phi2demo.evaluation.wording import metric_title, number

LITTLE, MILLION = 1.05, 10**6
"""Multiples that are told in words."""


def to_markdown(told: LearningCurves) -> str:
    """Two tables: the weights, and what they score, with what finetuning added in brackets."""
    amounts = [each.amount(told.along) or 0.0 for each in told.weights]
    heads = [amount_text(amount) for amount in amounts]
    weights = to_table(
        [told.along, "parameters", "tokens of pretraining", "tokens of finetuning", "weights"],
        [
            [
                head,
                f"{each.training.parameters:,}",
                _tokens(each.training.pretraining_tokens),
                _tokens(each.training.finetuning_tokens),
                "-".join(part[:12] for part in (each.base_revision, each.adapter_revision) if part),
            ]
            for head, each in zip(heads, told.weights, strict=True)
        ],
    )
    head = ["measure", "metric", "n", *heads, "ten times as much brought", "people", "target", "training for it"]
    return f"{weights}\n\n{to_table(head, [_row(curve, len(amounts)) for curve in told.curves])}"


def _row(curve: LearningCurve, weights: int) -> list[str]:
    return [
        curve.measure,
        metric_title(curve.title, higher_is_better=curve.higher_is_better),
        f"{curve.n:,}",
        *scores_of(curve, weights),
        number(curve.per_tenfold, curve.digits, signed=True),
        number(curve.people.score, curve.digits) if curve.people else "",
        number(curve.target, curve.digits) if curve.target is not None else "",
        needed(curve),
    ]


def scores_of(curve: LearningCurve, weights: int) -> list[str]:
    """Of each of so many weights, in brackets less that of the base; empty where they were not measured."""
    scores = {point.at: _score_of(point, curve.digits) for point in curve.points}
    return [scores.get(at, "") for at in range(weights)]


def _score_of(point: Point, digits: int) -> str:
    score = number(point.finetuned.score, digits)
    if point.base is None:
        return score
    return f"{score} ({number(point.finetuned.score - point.base.score, digits, signed=True)})"


def needed(curve: LearningCurve) -> str:
    """In words, what a target takes; empty without one."""
    if curve.target is None:
        return ""
    if curve.reached:
        return "reached"
    if curve.reached_before:
        return "reached by one trained less"
    if curve.times is None:
        return "not by more of the same"
    if curve.times < LITTLE:
        return "a little more than the most"
    if curve.times >= MILLION:
        return "over a million times the most"
    return f"{float(f'{curve.times:.2g}'):,g} times the most"


def amount_text(amount: float) -> str:
    """As 1.9e15."""
    mantissa, _, exponent = f"{amount:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _tokens(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
