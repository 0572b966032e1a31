"""Choose failures for a card: the worst answers of an evaluation, each of another task. Only for texts free to show."""

from collections.abc import Sequence
from pathlib import Path

from phi2demo.cards.samples import Failure
from phi2demo.errors import DataError
from phi2demo.evaluation.datasets import Item, Measure, read_measures
from phi2demo.evaluation.forms import asked_of
from phi2demo.evaluation.metrics import Metric, metrics_for
from phi2demo.evaluation.outputs import read_outputs
from phi2demo.evaluation.report import read_report
from phi2demo.tasks.languages import language_name

COUNT = 3
_BY_EXAMPLE = ("chrf", "rougeL", "f1", "accuracy")
"""Metrics that say something of one example; the first that a measure has ranks its answers."""


def choose_failures(reports: Sequence[Path], data: Path, *, adapter: bool = True, count: int = COUNT) -> list[Failure]:
    """The worst answers that `evaluate` kept beside its reports, to the items in `data`, at most one of each task.

    An adapter's own where there are some, else the base's in its plain form. Of answers that are equally bad, the one
    with the longest reference is taken. Raises DataError where no report is of the files in `data`.
    """
    worst: dict[str, Failure] = {}
    for report in reports:
        told = read_report(report)
        measures = {measure.name: measure for measure in read_measures(data, split=told["settings"]["split"])[0]}
        for row in told["measures"]:
            measure = measures.get(row["name"])
            if measure is None or measure.task in worst or measure.file.sha256 != row["data"]["sha256"]:
                continue
            finetuned = adapter and any("finetuned" in figure["scores"] for figure in row["figures"])
            form = "finetuned" if finetuned else "base_plain"
            path = report.parent / "outputs" / f"{measure.name}.{form}.jsonl"
            metric = _metric(measure)
            if metric is not None and path.is_file():
                worst[measure.task] = _worst(measure, metric, read_outputs(path))
    if not worst:
        raise DataError(f"No report has answers to the items in {data}. Run python -m phi2demo evaluate on them.")
    return list(worst.values())[:count]


def _metric(measure: Measure) -> Metric | None:
    found = {metric.name: metric for metric in metrics_for(measure.kind, [item.references for item in measure.items])}
    return next((found[name] for name in _BY_EXAMPLE if name in found), None)


def _worst(measure: Measure, metric: Metric, outputs: dict[int, str]) -> Failure:
    items = [item for item in measure.items if item.index in outputs]
    scores = _scores(metric, items, outputs)
    at = min(range(len(items)), key=lambda at: (scores[at], -len(items[at].references[0]), at))
    item = items[at]
    note = f"{measure.task.replace('_', ' ').capitalize()}, {metric.title} {scores[at]:.1f}: the worst of {len(items)}"
    return Failure(_asked(item, measure.task), outputs[item.index] or "(nothing)", item.references[0], note)


def _scores(metric: Metric, items: Sequence[Item], outputs: dict[int, str]) -> list[float]:
    statistics = metric.statistics([outputs[item.index] for item in items], [item.references for item in items])
    return [metric.score(row) for row in statistics]


def _asked(item: Item, task: str) -> str:
    text, _ = asked_of(item.row, task)
    if task == "translation":
        return f"into {language_name(item.row['target_lang'])}: {text}"
    return f"{text}\n{item.row['question']}" if task == "question_answering" else text
