"""Say how sure a model is of an answer in a word, by what an evaluation of the same weights found of answers like it.

An evaluation cuts each set into fifths by the mean token probability of the answers. The least sure fifth is unsure, the two
surest are sure. Where a fifth's score is a share of right answers, the word also has to be true of that: two thirds of what
is called sure were right, and one third of what is called fairly sure.
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
"""Of the fifths, from the least sure on."""
SHARES_OF_RIGHT = ("accuracy", "exact_match")
"""Metrics that tell, in percent, how many answers were right."""
LEAST_RIGHT: dict[Word, float] = {"sure": 200 / 3, "fairly sure": 100 / 3}


def judged(
    results: tuple[Result, ...], info: ModelInfo, *, reports_folder: Path = REPORTS_FOLDER
) -> tuple[Result, ...]:
    """The results with how sure the model is, where an evaluation of the loaded weights on the shelf tells.

    Those that it is unsure of get a note.
    """
    reports = [kept.report for kept in kept_reports(reports_folder, info=info) if kept.report.is_of(info)]
    return tuple(_judged(reports, result) for result in results)


def sureness(reports: Sequence[Report], receipt: Receipt, probability: float | None) -> Sureness | None:
    """By the largest set of the same task and languages; None where there is none.

    `reports` are of the weights that answered. Only what the finetuned model said is measured so, at one strength.
    """
    if probability is None or receipt.variant != "finetuned":
        return None
    found = max(_measured(reports, receipt), key=lambda test_set: test_set.n, default=None)
    if found is None:
        return None
    quintiles = _quintiles(found)
    at = next(
        (at for at, part in enumerate(quintiles) if part.bounds and probability <= part.bounds.high),
        len(CONFIDENCE_QUINTILES) - 1,
    )
    there, over_all = _finetuned(quintiles[at].figures), _finetuned(found.figures)
    if there is None or over_all is None:
        return None
    figure = found.figures[0]
    scores = [number(score, figure.digits) for score in (there, over_all)]
    measured = (
        f"On the test set, answers with a similar probability score {scores[0]} in {figure.title}; all answers score "
        f"{scores[1]} ({title_of_test_set(found.name)})"
    )
    return Sureness(_word(at, figure.metric, there), measured)


def _judged(reports: Sequence[Report], result: Result) -> Result:
    if result.withheld:
        return result
    found = sureness(reports, result.receipt, result.mean_probability)
    notes = (f"The model is unsure of this. {found.measured}.",) if found and found.word == "unsure" else ()
    return replace(result, sureness=found, notes=(*result.notes, *notes))


def _word(quintile: int, metric: str, score: float) -> Word:
    if metric not in SHARES_OF_RIGHT:
        return WORDS[quintile]
    return next((word for word in WORDS[quintile::-1] if score >= LEAST_RIGHT.get(word, 0.0)), "unsure")


def _measured(reports: Sequence[Report], receipt: Receipt) -> Iterator[TestSetResult]:
    """Measures of what a receipt says was asked that are cut into fifths."""
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
