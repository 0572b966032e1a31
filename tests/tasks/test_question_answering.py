"""An answer in the words of the text is preferred, and one in other words says so."""

from dataclasses import replace

import pytest

from phi2demo.engine.engine import Prompt
from phi2demo.tasks import TASKS
from phi2demo.tasks.question_answering import QuestionOptions, stands_in
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import Assistant, check
from tests.tasks.beams import BeamEngine, about, candidate

TEXT = "Ada Lovelace, born in 1815, wrote to Charles Babbage."
TASK = TASKS["question_answering"]
OPTIONS = QuestionOptions("Who wrote?")


def answered(*endings: str, beams: int = 4) -> Result:
    prompt = Prompt(TASK.prompt(TEXT, OPTIONS))
    engine = BeamEngine({about(prompt): [candidate(ending) for ending in endings]})
    generation = replace(TASK.generation, num_beams=beams)
    ((result),) = Assistant(engine).answer(check(Request(TASK.name, TEXT, OPTIONS, generation, seed=1)))
    return result


def test_of_what_the_beams_end_with_the_likeliest_that_stands_in_the_text_is_taken() -> None:
    result = answered("Ada Byron", "ada lovelace", "Charles Babbage")
    assert (result.text, result.raw, result.notes) == ("ada lovelace", (" ada lovelace",), ())
    assert result.token_ids == (candidate("ada lovelace").token_ids,)


@pytest.mark.parametrize("place", [0, 1])
def test_what_came_to_its_end_is_taken_before_what_was_cut(place: int) -> None:
    cut = replace(candidate("Ada Byron, who wrote to"), stop_reason="length")
    whole = [candidate("Charles Babbage"), candidate("Lord Byron")]
    engine = BeamEngine({about(Prompt(TASK.prompt(TEXT, OPTIONS))): [cut, *(whole if not place else whole[::-1])]})
    generation = replace(TASK.generation, num_beams=3)
    ((result),) = Assistant(engine).answer(check(Request(TASK.name, TEXT, OPTIONS, generation, seed=1)))
    assert (result.text, result.receipt.stop_reason) == ("Charles Babbage", "end")


def test_where_none_stands_in_the_text_the_likeliest_is_taken_and_said_to_be_in_other_words() -> None:
    result = answered("Ada Byron", "Lord Byron")
    assert result.text == "Ada Byron"
    assert any("do not appear in the text" in note for note in result.notes)


@pytest.mark.parametrize(
    ("output", "stands"),
    [
        ("Ada Lovelace", True),
        ("ADA LOVELACE born", True),  # case and what stands between words do not count
        ("Ada", True),
        ("Love", False),  # words, not letters
        ("Babbage Ada", False),
        ("", False),
        ("...", False),
    ],
)
def test_words_stand_in_a_text_in_their_order(output: str, stands: bool) -> None:
    assert stands_in(TEXT, output) == stands
