"""Say in a word how sure a model is of an answer, from what an evaluation of the same weights found for similar answers.

An evaluation splits each test set into quintiles by the mean token probability of the answers. Answers like those of the
lowest quintile are called unsure, answers like those of the two highest sure. Where the score is a share of right answers,
the word also has to be true: of answers called sure two thirds were right, of answers called fairly sure one third.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from phi2demo.engine.engine import ModelInfo
from phi2demo.evaluation.metrics import number, title_of_test_set
from phi2demo.evaluation.report import Figure, Report, Slice, TestSetResult
from phi2demo.evaluation.reports import REPORTS_FOLDER, kept_reports
from phi2demo.evaluation.slices import CONFIDENCE_QUINTILES
from phi2demo.tasks.confidence import Sureness, Word
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.result import Result

WORDS: tuple[Word, ...] = ("unsure", "fairly sure", "fairly sure", "sure", "sure")
"""By quintile, from the least sure on."""
SHARES_OF_RIGHT = ("accuracy", "exact_match")
"""Metrics that are the percentage of right answers."""
LEAST_RIGHT: dict[Word, float] = {"sure": 200 / 3, "fairly sure": 100 / 3}
"""Percentage of right answers that a word requires."""


def judged(
    results: tuple[Result, ...], info: ModelInfo, *, reports_folder: Path = REPORTS_FOLDER
) -> tuple[Result, ...]:
    """Add to each result how sure the model is, where `reports_folder` has an evaluation of the loaded weights.

    Results that the model is unsure of get a note.
    """
    reports = [kept.report for kept in kept_reports(reports_folder, info=info) if kept.report.is_of(info)]
    return tuple(_judged(reports, result) for result in results)


def sureness(reports: Sequence[Report], receipt: Receipt, probability: float | None) -> Sureness | None:
    """Judge by the largest test set of the same task and languages; None where there is none.

    `reports` are of the weights that answered. They hold only for the finetuned model, at the strength it was measured at.
    """
    if probability is None or receipt.variant != "finetuned":
        return None
    test_set = max(_comparable(reports, receipt), key=lambda test_set: test_set.n, default=None)
    if test_set is None:
        return None
    quintiles = _quintiles(test_set)
    index = next(
        (index for index, part in enumerate(quintiles) if part.bounds and probability <= part.bounds.high),
        len(CONFIDENCE_QUINTILES) - 1,
    )
    score_in_quintile, score_of_all = _finetuned(quintiles[index].figures), _finetuned(test_set.figures)
    if score_in_quintile is None or score_of_all is None:
        return None
    figure = test_set.figures[0]
    scores = [number(score, figure.digits) for score in (score_in_quintile, score_of_all)]
    measured = (
        f"On the test set, answers with a similar probability score {scores[0]} in {figure.title}; all answers score "
        f"{scores[1]} ({title_of_test_set(test_set.name)})"
    )
    return Sureness(_word(index, figure.metric, score_in_quintile), measured)


def _judged(reports: Sequence[Report], result: Result) -> Result:
    if result.withheld:
        return result
    sure = sureness(reports, result.receipt, result.mean_probability)
    notes = (f"The model is unsure of this. {sure.measured}.",) if sure and sure.word == "unsure" else ()
    return replace(result, sureness=sure, notes=(*result.notes, *notes))


def _word(quintile: int, metric: str, score: float) -> Word:
    if metric not in SHARES_OF_RIGHT:
        return WORDS[quintile]
    return next((word for word in WORDS[quintile::-1] if score >= LEAST_RIGHT.get(word, 0.0)), "unsure")


def _comparable(reports: Sequence[Report], receipt: Receipt) -> Iterator[TestSetResult]:
    """Test sets of the receipt's task, languages and strength that are split into quintiles of confidence."""
    strength = receipt.generation.get("adapter_strength", 1.0)
    ends = f".{receipt.options.get('source')}-{receipt.options.get('target')}" if receipt.task == "translation" else ""
    for test_set in (test_set for report in reports for test_set in report.test_sets):
        is_asked = (test_set.task, test_set.adapter_strength) == (receipt.task, strength) and test_set.name.endswith(
            ends
        )
        if is_asked and len(_quintiles(test_set)) == len(CONFIDENCE_QUINTILES):
            yield test_set


def _quintiles(test_set: TestSetResult) -> list[Slice]:
    return [part for part in test_set.slices if part.by == "confidence"]


def _finetuned(figures: Sequence[Figure]) -> float | None:
    score = figures[0].scores.get("finetuned") if figures else None
    return score.score if score else None
