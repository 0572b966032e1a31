"""The geometric mean of the probabilities of an answer's tokens, of what is kept of it, scored once."""

import math
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from phi2demo.engine.engine import Completion, GenerationOptions, Prompt, Score
from phi2demo.errors import InputError, StoppedError
from phi2demo.tasks.confidence import mean_probabilities, mean_probability
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.beams import BeamEngine, candidate
from tests.tasks.scripted import ScriptedEngine

TEXT = "The dog sleeps."
ASKED = Request("translation", TEXT, TranslationOptions(), GenerationOptions(adapter_strength=0.5))


def completion(*token_ids: int) -> Completion:
    return Completion(" x", token_ids, 3, "end")


class Planted(ScriptedEngine):
    """Token t has the log-probability -t; prompts that hold "long" do not fit."""

    def score(self, prompts: Any, outputs: Any, **more: Any) -> list[Score]:
        super().score(prompts, outputs, **more)
        if any("long" in prompt.text for prompt in prompts):
            raise InputError("does not fit")
        return [Score(output, tuple(-float(token) for token in output)) for output in outputs]


def test_it_is_a_geometric_mean() -> None:
    assert mean_probability(math.log(0.5 * 0.125), 2) == pytest.approx(0.25)
    assert mean_probability(0.0, 3) == 1.0
    assert mean_probability(0.0, 0) is None


def test_outputs_are_scored_together_and_empty_ones_have_none() -> None:
    engine = Planted()
    prompts = [Prompt(text) for text in "abc"]
    found = mean_probabilities(engine, prompts, [completion(1, 3), completion(), completion(5)], adapter_strength=0.5)
    assert found == [pytest.approx(math.exp(-2)), None, pytest.approx(math.exp(-5))]
    assert (len(engine.scorings), engine.strengths) == (1, [0.5])
    assert mean_probabilities(engine, prompts[:1], [completion()]) == [None]
    assert len(engine.scorings) == 1


def test_one_that_does_not_fit_costs_no_other_its_confidence() -> None:
    prompts = [Prompt("a"), Prompt("too long"), Prompt("c")]
    found = mean_probabilities(Planted(), prompts, [completion(1), completion(2), completion(3)])
    assert found == [pytest.approx(math.exp(-1)), None, pytest.approx(math.exp(-3))]


def test_a_stop_is_a_stop() -> None:
    cancel = Event()
    cancel.set()
    with pytest.raises(StoppedError):
        mean_probabilities(Planted(), [Prompt("a")], [completion(1)], cancel=cancel)


def test_an_answer_tells_it_piece_by_piece() -> None:
    engine = ScriptedEngine()
    (result,) = Assistant(engine).answer(check(replace(ASKED, text=f"{TEXT} It rains.")))
    alone = [
        Assistant(ScriptedEngine()).answer(check(replace(ASKED, text=text)))[0].piece_probabilities
        for text in (TEXT, "It rains.")
    ]
    assert result.piece_probabilities == (*alone[0], *alone[1])
    low, high = sorted(value for value in result.piece_probabilities if value is not None)
    assert 0 < low < high < 1
    assert result.mean_probability is not None
    assert low < result.mean_probability < high
    assert result.as_dict()["mean_probability"] == result.mean_probability
    assert set(engine.strengths) == {0.5}


def test_what_was_chosen_among_scored_outputs_is_not_scored_again() -> None:
    likes = {"Rome": -1.0, "Bern": -4.0}
    engine = BeamEngine({"It is in Bern.\nQuestion: Where?": [candidate("Rome"), candidate("Bern")]}, likes)
    (result,) = Assistant(engine).answer(
        check(
            Request("question_answering", "It is in Bern.", QuestionOptions("Where?"), GenerationOptions(num_beams=2))
        ),
    )
    assert result.text == "Bern"
    assert result.mean_probability == pytest.approx(math.exp(-4.0 / 2)), "of two tokens"
    assert len(engine.scored) == 2


def test_free_text_has_none() -> None:
    engine = ScriptedEngine()
    (result,) = Assistant(engine).answer(
        check(Request("generation", TEXT, GenerationTaskOptions(), GenerationOptions()))
    )
    assert (result.piece_probabilities, result.mean_probability) == ((), None)
    assert not engine.scorings
    assert "mean_probability" not in result.as_dict()


def test_an_answer_stays_where_its_confidence_is_stopped() -> None:
    class Stopping(ScriptedEngine):
        def score(self, prompts: Any, outputs: Any, **more: Any) -> list[Score]:
            raise StoppedError("Stopped.")

    (result,) = Assistant(Stopping()).answer(check(ASKED))
    assert (result.text, result.piece_probabilities, result.receipt.stop_reason) == (TEXT.upper(), (None,), "end")
    assert result.mean_probability is None


def test_of_several_pieces_every_token_counts_the_same() -> None:
    (result,) = Assistant(ScriptedEngine()).answer(check(ASKED))
    two = replace(result, token_ids=((1,), (2, 3, 4)), piece_probabilities=(0.5, 0.25))
    assert two.mean_probability == pytest.approx((0.5 * 0.25**3) ** (1 / 4))
    assert replace(two, piece_probabilities=(0.5, None)).mean_probability is None


def test_of_a_label_it_is_its_probability() -> None:
    (result,) = Assistant(ScriptedEngine()).answer(
        check(Request("sentiment", "pos pos", SentimentOptions(), GenerationOptions()))
    )
    assert result.mean_probability == max(result.probabilities.values())
    assert result.as_dict()["mean_probability"] == result.mean_probability
