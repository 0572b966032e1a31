"""What else could have been said, with how likely the model finds it."""

from collections.abc import Sequence
from dataclasses import replace
from threading import Event

import pytest

from phi2demo.engine.engine import Candidate, GenerationOptions, Prompt, Score
from phi2demo.errors import InputError
from phi2demo.tasks import TASKS
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.summarization import SummaryOptions
from tests.tasks.beams import BeamEngine, candidate

TEXT = "The boat of Anna sails on Monday."
MADE_UP, TRUE, RUN_ON = "It sails to Rome.", "Anna sails.", "Anna sails. She is old."
CUT = replace(candidate("No, Anna never"), stop_reason="length")
FOUND = [candidate(MADE_UP), candidate(TRUE), candidate(RUN_ON, tokens=9), CUT]
LIKES = {MADE_UP: -1.0, TRUE: -2.0}
BEAMS = GenerationOptions(max_new_tokens=20, num_beams=4, adapter_strength=0.5)
REQUEST = Request("summarization", TEXT, SummaryOptions(), BEAMS, seed=1)


def listed(result: Result) -> list[tuple[str, float]]:
    (piece,) = result.alternatives
    return [(item.text, item.log_probability) for item in piece]


def test_the_chosen_one_is_first_and_equal_ones_are_told_once() -> None:
    engine = BeamEngine({TEXT: FOUND}, LIKES)
    (result,) = Assistant(engine).answer(check(REQUEST))
    assert result.text == TRUE, "Rome does not stand in the text"
    assert listed(result) == [(TRUE, -2.0), (MADE_UP, -1.0)], "what was cut short is no answer"
    assert engine.strengths == [0.5]
    assert result.as_dict()["alternatives"] == [
        [{"text": TRUE, "log_probability": -2.0}, {"text": MADE_UP, "log_probability": -1.0}]
    ]


@pytest.mark.parametrize("found", [FOUND[1:], FOUND[:1], [CUT, CUT], [CUT, candidate(TRUE)]])
def test_where_there_is_no_choice_nothing_is_listed(found: list[Candidate]) -> None:
    engine = BeamEngine({TEXT: found}, LIKES)
    (result,) = Assistant(engine).answer(check(REQUEST))
    assert result.alternatives == ((),)
    assert len(engine.scored) == 1, "the answer itself, for the confidence in it"
    assert "alternatives" not in result.as_dict()


def test_what_nobody_asks_for_is_not_scored() -> None:
    engine = BeamEngine({TEXT: FOUND}, LIKES)
    ((result,),) = Assistant(engine, lists_alternatives=False).answer_all(map(check, [REQUEST]))
    assert (result.text, result.alternatives) == (TRUE, ((),))
    assert [output for _, output in engine.scored] == [candidate(TRUE).token_ids]


def test_an_answer_that_is_there_is_not_lost_where_time_is_up() -> None:
    engine, cancel = BeamEngine({TEXT: FOUND}, LIKES), Event()
    engine.on_score = cancel.set
    ((result,),) = Assistant(engine).answer_all(map(check, [REQUEST]), cancel=cancel)
    assert (result.text, result.alternatives, result.receipt.stop_reason) == (TRUE, ((),), "end")


def test_a_text_that_does_not_fit_with_its_outputs_keeps_no_other_from_being_listed() -> None:
    class Small(BeamEngine):
        def score(self, prompts: Sequence[Prompt], *rest: object, **more: object) -> list[Score]:  # type: ignore[override]
            if any("Berta" in prompt.text for prompt in prompts):
                raise InputError("Text and output have 300 tokens together.")
            return super().score(prompts, *rest, **more)  # type: ignore[arg-type]

    other = TEXT.replace("Anna", "Berta")
    engine = Small({TEXT: FOUND, other: FOUND}, LIKES)
    results = [
        result for (result,) in Assistant(engine).answer_all(map(check, [REQUEST, replace(REQUEST, text=other)]))
    ]
    assert [len(result.alternatives[0]) for result in results] == [2, 0]


def test_remarks_say_what_the_task_looks_at() -> None:
    assert TASKS["summarization"].remark(TEXT, MADE_UP) == "not in the text: Rome"
    assert TASKS["question_answering"].remark(TEXT, "on Tuesday") == "not in the text in this wording"
    assert TASKS["summarization"].remark(TEXT, TRUE) == TASKS["question_answering"].remark(TEXT, "Anna sails") == ""
    assert TASKS["translation"].remark(TEXT, "Rome") == ""
