"""From answers to figures: scores with intervals for each form and peer, and the finetuned model against its base."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from phi2demo.evaluation.datasets import Measure
from phi2demo.evaluation.forms import FormName
from phi2demo.evaluation.metrics import Metric, metrics_for
from phi2demo.evaluation.statistics import Estimate, Resamples

BASES: tuple[FormName, ...] = ("base_template", "base_plain")


def figures_of(
    measure: Measure,
    outputs: Mapping[FormName, Sequence[str]],
    *,
    peers: Mapping[str, Sequence[str] | float],
    resamples: Resamples,
) -> list[dict[str, Any]]:
    """One for each metric, as JSON values.

    `outputs` and `peers` are in the order of the items; a peer that is a number is a score itself, without interval.
    The base's better form is chosen for each metric by the very score that it is compared by.
    """
    references = [item.references for item in measure.items]
    return [_figure(metric, references, outputs, peers, resamples) for metric in metrics_for(measure.kind, references)]


def _figure(
    metric: Metric,
    references: Sequence[Sequence[str]],
    outputs: Mapping[FormName, Sequence[str]],
    peers: Mapping[str, Sequence[str] | float],
    resamples: Resamples,
) -> dict[str, Any]:
    statistics = {form: metric.statistics(texts, references) for form, texts in outputs.items()}
    scores = {form: resamples.estimate(found, metric.score) for form, found in statistics.items()}
    figure: dict[str, Any] = {
        "metric": metric.name,
        "title": metric.title,
        "signature": metric.signature,
        "higher_is_better": metric.higher_is_better,
        "digits": metric.digits,
        "scores": {form: asdict(score) for form, score in scores.items()},
        "peers": {
            name: {"score": peer, "low": None, "high": None}
            if isinstance(peer, float)
            else asdict(resamples.estimate(metric.statistics(peer, references), metric.score))
            for name, peer in peers.items()
        },
    }
    base = better_base(scores, higher_is_better=metric.higher_is_better)
    if base and "finetuned" in scores:
        difference = resamples.compare(statistics["finetuned"], statistics[base], metric.score)
        figure |= {"base": base, "difference": asdict(difference)}
    return figure


def better_base(scores: Mapping[FormName, Estimate], *, higher_is_better: bool) -> FormName | None:
    """The form in which the base scores better; None where it was not asked."""
    asked = [form for form in BASES if form in scores]
    sign = 1 if higher_is_better else -1
    return max(asked, key=lambda form: sign * scores[form].score, default=None)
