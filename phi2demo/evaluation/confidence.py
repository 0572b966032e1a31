"""Look up how far to trust an answer, by what an evaluation of the same weights found of answers that are as probable.

An evaluation cuts each test set into quintiles by the mean token probability of the answers. An answer in the lowest
quintile is "unsure", in the two highest "sure". Where the score of a quintile is a share of right answers, the word also has
to be true of that share: two thirds of what is called sure were right, and one third of what is called fairly sure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from phi2demo.engine.engine import ModelInfo
from phi2demo.evaluation.metrics import number, title_of_test_set
from phi2demo.evaluation.report import Figure, Report, Slice, TestSetResult
from phi2demo.evaluation.reports import REPORTS_FOLDER, kept_reports
from phi2demo.evaluation.slices import CONFIDENCE_QUINTILES
from phi2demo.tasks.confidence import ConfidenceBand, Word
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.result import Result

WORDS: tuple[Word, ...] = ("unsure", "fairly sure", "fairly sure", "sure", "sure")
"""Of the quintiles, the least probable first."""
SHARES_OF_RIGHT = ("accuracy", "exact_match")
"""Metrics that are the percentage of right answers."""
LEAST_RIGHT: dict[Word, float] = {"sure": 200 / 3, "fairly sure": 100 / 3}
"""The percentage of right answers that a word needs."""


@dataclass(frozen=True)
class ConfidenceBands:
    """Finds the confidence band of a result in the evaluation reports of the loaded weights, as they are at the moment."""

    info: ModelInfo
    folder: Path = REPORTS_FOLDER

    def __call__(self, result: Result) -> ConfidenceBand | None:
        """None where no report has answers to compare with. Only answers of the finetuned model are measured."""
        if result.variant != "finetuned" or result.mean_probability is None:
            return None
        reports = [kept.report for kept in kept_reports(self.folder, info=self.info) if kept.report.is_of(self.info)]
        return confidence_band(reports, result.receipt, result.mean_probability)


def confidence_band(reports: Sequence[Report], receipt: Receipt, probability: float) -> ConfidenceBand | None:
    """The band by the largest test set of the same task, languages and adapter strength; None where there is none.

    `reports` are of the weights that answered; `probability` is the mean token probability of the answer.
    """
    test_set = max(_comparable(reports, receipt), key=lambda test_set: test_set.n, default=None)
    if test_set is None:
        return None
    quintiles = _quintiles(test_set)
    last = len(CONFIDENCE_QUINTILES) - 1
    place = next(
        (place for place, part in enumerate(quintiles) if part.bounds and probability <= part.bounds.high), last
    )
    score, score_of_all = _finetuned(quintiles[place].figures), _finetuned(test_set.figures)
    if score is None or score_of_all is None:
        return None
    figure = test_set.figures[0]
    scores = [number(value, figure.digits) for value in (score, score_of_all)]
    measured = (
        f"On the test set, answers with a similar probability score {scores[0]} in {figure.title}; all answers score "
        f"{scores[1]} ({title_of_test_set(test_set.name)})"
    )
    return ConfidenceBand(_word(place, figure.metric, score), measured)


def _word(quintile: int, metric: str, score: float) -> Word:
    if metric not in SHARES_OF_RIGHT:
        return WORDS[quintile]
    return next((word for word in WORDS[quintile::-1] if score >= LEAST_RIGHT.get(word, 0.0)), "unsure")


def _comparable(reports: Sequence[Report], receipt: Receipt) -> Iterator[TestSetResult]:
    """Test sets of the same kind of request that are cut into quintiles."""
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
