"""Answers that a card shows: sampled generations, all of them, and the worst answers of an evaluation."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from phi2demo.cards.facts import Failure, Sample
from phi2demo.data.languages import language_name
from phi2demo.data.rows import read_rows
from phi2demo.data.test_sets import Item, TestSet, read_test_sets
from phi2demo.engine.engine import Engine, Variant
from phi2demo.errors import DataError
from phi2demo.evaluation.metrics import ITEM_METRICS, Metric, metrics_for
from phi2demo.evaluation.outputs import read_outputs
from phi2demo.evaluation.reports import read_report
from phi2demo.evaluation.systems import asked_of
from phi2demo.settings import ASSETS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check

PROMPTS = ASSETS / "examples" / "card_prompts.jsonl"
"""Twenty, written for the cards."""

T = TypeVar("T")


def make_samples(engine: Engine, prompts: Sequence[str], adapter_tasks: AdapterTasks) -> Iterator[Sample]:
    """Continue each prompt with the default options of the generation tab; the seeds are 0, 1, 2, ...

    Finetuned model and base are both asked as in the app.
    """
    chosen = adapter_tasks.generation("generation")
    variant: Variant = "base" if engine.info.adapter is None else "finetuned"
    options = adapter_tasks.default_options("generation")
    requests = [Request("generation", text, options, chosen, (variant,), seed) for seed, text in enumerate(prompts)]
    answers = Assistant(engine).answer_all(map(check, requests))
    for request, (result,) in zip(requests, answers, strict=True):
        yield Sample(request.text, request.seed or 0, result.text, variant)


def read_prompts(path: Path = PROMPTS) -> list[str]:
    """Read the prompts of a JSON-lines file, in order; DataError for a line without a prompt."""
    return _read(path, lambda row: str(row["prompt"]))


def read_samples(path: Path) -> list[Sample]:
    """Read samples as `make_samples` makes them; DataError for a line that is not a sample."""
    return _read(path, lambda row: Sample(row["prompt"], int(row["seed"]), row["text"], str(row.get("variant", ""))))


def read_failures(path: Path) -> list[Failure]:
    """Read lines with input, output, reference and a note; DataError for a line without them."""
    return _read(path, lambda row: Failure(row["input"], row["output"], row["reference"], row.get("note", "")))


def _read(path: Path, make: Callable[[dict[str, Any]], T]) -> list[T]:
    values = []
    for number, row in read_rows(path):
        try:
            values.append(make(row))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, line {number}: {error!r}. Correct or remove it.") from error
    if not values:
        raise DataError(f"{path} holds no lines. Add some.")
    return values


COUNT = 3


def choose_failures(reports: Sequence[Path], data: Path, *, adapter: bool = True, count: int = COUNT) -> list[Failure]:
    """Choose the worst answers that `evaluate` kept beside its reports, to the items in `data`, at most one of each task.

    They are the finetuned model's where a report has some, else the base's in its plain prompt style. Of equally bad answers the
    one with the longest reference is chosen. Raises DataError where no report is of the files in `data`.
    """
    worst: dict[str, Failure] = {}
    for report_path in reports:
        report = read_report(report_path)
        test_sets = {test_set.name: test_set for test_set in read_test_sets(data, split=report.settings.split)[0]}
        for result in report.test_sets:
            test_set = test_sets.get(result.name)
            if test_set is None or test_set.task in worst or test_set.file.sha256 != result.data.sha256:
                continue
            finetuned = adapter and any("finetuned" in figure.scores for figure in result.figures)
            system = "finetuned" if finetuned else "base_plain"
            path = report_path.parent / "outputs" / f"{test_set.name}.{system}.jsonl"
            if test_set.kind in ITEM_METRICS and path.is_file():
                worst[test_set.task] = _worst(test_set, read_outputs(path))
    if not worst:
        raise DataError(f"No report has answers to the items in {data}. Run python -m phi2demo evaluate on them.")
    return list(worst.values())[:count]


def _worst(test_set: TestSet, outputs: dict[int, str]) -> Failure:
    items = [item for item in test_set.items if item.index in outputs]
    metrics = metrics_for(test_set.kind, [item.references for item in items])
    metric = next(metric for metric in metrics if metric.name == ITEM_METRICS[test_set.kind])
    scores = _scores(metric, items, outputs)
    worst = min(range(len(items)), key=lambda index: (scores[index], -len(items[index].references[0]), index))
    item = items[worst]
    note = (
        f"{test_set.task.replace('_', ' ').capitalize()}, {metric.title} {scores[worst]:.1f}: the worst of {len(items)}"
    )
    return Failure(_asked(item, test_set.task), outputs[item.index] or "(nothing)", item.references[0], note)


def _scores(metric: Metric, items: Sequence[Item], outputs: dict[int, str]) -> list[float]:
    statistics = metric.statistics([outputs[item.index] for item in items], [item.references for item in items])
    return [metric.score(row) for row in statistics]


def _asked(item: Item, task: str) -> str:
    text, _ = asked_of(item.row, task)
    if task == "translation":
        return f"into {language_name(item.row['target_lang'])}: {text}"
    return f"{text}\n{item.row['question']}" if task == "question_answering" else text
