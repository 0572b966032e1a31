"""A second person's answer as an output, against what the others said."""

import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.evaluation.datasets import Measure, read_measures
from phi2demo.evaluation.people import PERSON, SecondAnswers, second_answers
from phi2demo.evaluation.slices import LEAST_TO_RANK
from tests.evaluation.conftest import Write

ENDS = {"source_lang": "en", "target_lang": "de"}


def measure_of(write: Write, name: str, rows: list[dict[str, Any]]) -> Measure:
    folder = write(name, rows).parent
    return read_measures(folder)[0][0]


def second(measure: Measure) -> SecondAnswers:
    found = second_answers(measure)
    assert found is not None
    return found


def question(number: int, *answers: str) -> dict[str, Any]:
    told = [{"text": text} for text in answers]
    return {"context": f"Text {number}.", "question": "Who?", "answers": told, "title": f"t{number}"}


def test_of_translations_the_next_of_the_same_text_is_the_second(write: Write) -> None:
    rows = []
    for number in range(10):
        for target in ("eins", "zwei", "drei"):
            rows.append({"source": f"Text {number}!", "target": f"{target} {number}"} | ENDS)
    rows += [{"source": "alone", "target": "allein"} | ENDS, {"source": "twice", "target": "gleich"} | ENDS]
    rows += [{"source": "twice", "target": "gleich"} | ENDS, {"source": "text 0", "target": "vier 0"} | ENDS]
    found = second(measure_of(write, "x.en-de.test.jsonl", rows))
    assert found.places == (*range(30), 33)
    assert found.answers[:6] == ("zwei 0", "drei 0", "vier 0", "zwei 1", "drei 1", "eins 1")
    assert found.answers[-1] == "eins 0"
    assert [item.references for item in found.measure.items[:2]] == [("eins 0",), ("zwei 0",)]
    assert found.groups == (*(number // 3 for number in range(30)), 0), "rows of one text are not independent"


def test_of_answers_and_summaries_the_second_is_scored_against_the_others(write: Write) -> None:
    rows = [question(number, "Anna", " anna b. ", "Anna", "Bob") for number in range(24)] + [question(99, "Anna")]
    found = second(measure_of(write, "questions.test.jsonl", rows))
    assert found.places == tuple(range(24))
    assert set(found.answers) == {"anna b."}
    assert found.measure.items[0].references == ("Anna", "Bob")
    papers = [
        {"document": f"Paper {number}.", "summary": "cats", "references": ["cats", "dogs", "cows"]}
        for number in range(LEAST_TO_RANK)
    ] + [{"document": "Another.", "summary": "cats", "references": ["cats"]}]
    found = second(measure_of(write, "papers/papers.test.jsonl", papers))
    assert found.places == tuple(range(LEAST_TO_RANK))
    assert set(found.answers) == {"dogs"}
    assert found.measure.items[0].references == ("cats", "cows")


@pytest.mark.parametrize("count", [0, LEAST_TO_RANK - 1])
def test_too_few_tell_nothing(write: Write, count: int) -> None:
    rows = [question(number, "Anna", "Anna") for number in range(count)] + [question(99, "Anna")]
    assert second_answers(measure_of(write, "questions.test.jsonl", rows)) is None


@pytest.mark.parametrize("row", [{"text": "Once upon a time."}, {"text": "Good.", "label": 1}])
def test_prose_and_sentiment_have_no_second_answer(write: Write, row: dict[str, Any]) -> None:
    assert second_answers(measure_of(write, "x.test.jsonl", [row] * 30)) is None


def test_people_and_models_are_scored_on_the_same_items(write: Write) -> None:
    rows = [question(number, "Anna", "Bob" if number % 4 else "anna!", "Carl") for number in range(40)]
    rows += [question(number, "Anna") for number in range(50, 60)]
    measure = measure_of(write, "questions.test.jsonl", rows)
    outputs = ["Carl" if number < 10 else "Bob" for number in range(40)] + ["Anna"] * 10
    told = second(measure).describe({"finetuned": outputs, "base_plain": ["none"] * 50}, resamples=100, seed=1)
    assert json.loads(json.dumps(told)) == told
    exact, f1 = told["figures"]
    assert told["n"] == 40
    assert exact["peers"][PERSON]["score"] == 25.0  # "anna!" is Anna; Bob is nobody else's
    assert exact["scores"]["finetuned"]["score"] == 25.0
    assert exact["scores"]["base_plain"]["score"] == 0.0
    assert exact["difference"]["value"] == 25.0
    assert f1["peers"][PERSON]["low"] < 25.0 < f1["peers"][PERSON]["high"]


def test_people_who_all_say_the_same_are_right(write: Write, tmp_path: Path) -> None:
    rows = [question(number, "Anna", "Anna") for number in range(20)]
    found = second(measure_of(write, "questions.test.jsonl", rows))
    told = found.describe({"finetuned": ["Bob"] * 20}, resamples=100, seed=1)
    assert [figure["peers"][PERSON]["score"] for figure in told["figures"]] == [100.0, 100.0]
