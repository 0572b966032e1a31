"""Whether a text supports an answer, and what is said where it does not."""

import math
from collections.abc import Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from phi2demo.engine.engine import GenerationOptions, Output, Prompt, Score
from phi2demo.errors import InputError, ModelError, SettingsError, StoppedError
from phi2demo.tasks import TASKS
from phi2demo.tasks.confidence import Grounds, supports
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check, request_of
from tests.tasks.scripted import BARE, ScriptedEngine

TASK = TASKS["question_answering"]
TEXT = "Anna lives in Rome."
ASKED = Request(TASK.name, TEXT, QuestionOptions("Where does she live?"), GenerationOptions(min_support=0.5), seed=1)


class Planted(ScriptedEngine):
    """Answers Rome, and gives a question and an answer the planted log-probabilities a token."""

    def __init__(self, *, question: float, without: float = -3.0, answer: float = 0.0) -> None:
        super().__init__(lambda prompt: " Rome")
        self.question, self.without, self.answer = question, without, answer
        self.prompts: list[str] = []

    def score(self, prompts: Sequence[Prompt], outputs: Sequence[Output], **more: Any) -> list[Score]:
        super().score(prompts, outputs, **more)
        self.prompts += [prompt.text for prompt in prompts]
        asked = [(self._value(prompt.text), 2 if prompt.text.endswith("Question:") else 1) for prompt in prompts]
        return [Score(tuple(range(tokens)), (value,) * tokens) for value, tokens in asked]

    def _value(self, prompt: str) -> float:
        if not prompt.endswith("Question:"):
            return self.answer
        return self.question if TEXT in prompt else self.without


@pytest.mark.parametrize(
    ("engine", "support"),
    [
        (Planted(question=-3.0), 1.0),
        (Planted(question=-2.0), math.e),
        (Planted(question=-4.0), 1 / math.e),
        (Planted(question=-3.0, answer=-1.0), math.exp(-1.0)),
        (Planted(question=-1.0, answer=-1.0), math.e),
    ],
)
def test_support_weighs_the_question_and_the_answer(engine: Planted, support: float) -> None:
    (result,) = Assistant(engine).answer(check(ASKED))
    assert (result.text == "not in the text") == (support < 0.5)
    grounds = TASK.grounds(TEXT, ASKED.options)
    assert grounds is not None
    (found,) = supports(engine, [(grounds, "finetuned", math.exp(engine.answer))])
    assert found == pytest.approx(support)


def test_the_question_is_scored_where_the_prompt_has_it() -> None:
    prompt, grounds = TASK.prompt(TEXT, ASKED.options), TASK.grounds(TEXT, ASKED.options)
    assert grounds is not None
    assert prompt == f"{grounds.prompt}{grounds.output}\nOutput:"
    assert TEXT not in grounds.without
    assert grounds.without.endswith("Question:")


def test_an_answer_that_the_text_does_not_support_is_withheld() -> None:
    engine = Planted(question=-5.0)
    (result,) = Assistant(engine).answer(check(ASKED))
    assert (result.text, result.withheld, result.raw) == ("not in the text", "Rome", (" Rome",))
    assert result.notes == ("The model would have answered “Rome”, but the text does not support that.",)
    assert result.as_dict()["withheld"] == "Rome"
    assert result.receipt.output == "not in the text"
    *_, last = Assistant(engine).replay(result.receipt)
    assert last.results is not None
    assert last.results[0].text == result.text
    assert request_of(result.receipt).generation.min_support == 0.5


def test_a_supported_answer_is_given_and_nothing_is_said() -> None:
    (result,) = Assistant(Planted(question=-1.0)).answer(check(ASKED))
    assert (result.text, result.withheld, result.notes) == ("Rome", "", ())
    assert "withheld" not in result.as_dict()


def test_only_an_adapter_is_known_by_its_support() -> None:
    finetuned, base = Assistant(Planted(question=-9.0)).answer(check(replace(ASKED, variants=("finetuned", "base"))))
    assert (finetuned.text, base.text) == ("not in the text", "Rome")
    merged = Planted(question=-9.0)
    merged._info = BARE
    (alone,) = Assistant(merged).answer(check(replace(ASKED, variants=("base",))))
    assert alone.text == "not in the text", "a model that answers alone is asked as its own tasks.json says"
    engine = Planted(question=-9.0)
    (result,) = Assistant(engine).answer(check(replace(ASKED, generation=GenerationOptions())))
    assert result.text == "Rome"
    assert not any(prompt.endswith("Question:") for prompt in engine.prompts), "nothing more is scored"


def test_texts_that_do_not_fit_are_answered() -> None:
    class Short(Planted):
        def score(self, prompts: Sequence[Prompt], outputs: Sequence[Output], **more: Any) -> list[Score]:
            if any("long" in prompt.text for prompt in prompts):
                raise InputError("does not fit")
            return super().score(prompts, outputs, **more)

    grounds = [Grounds("a Question:", "b Question:", " x"), Grounds("long Question:", "b Question:", " x")]
    asked: Any = [(item, "finetuned", 0.5) for item in grounds]
    assert supports(Short(question=-9.0), asked) == [pytest.approx(0.5), None]


def test_a_stop_leaves_the_answer_as_it_is() -> None:
    class Stopping(Planted):
        def score(self, prompts: Sequence[Prompt], outputs: Sequence[Output], **more: Any) -> list[Score]:
            if prompts[0].text.endswith("Question:"):
                raise StoppedError("Stopped.")
            return super().score(prompts, outputs, **more)

    assert Assistant(Stopping(question=-9.0)).answer(check(ASKED))[0].text == "Rome"
    cancel = Event()
    cancel.set()
    with pytest.raises(StoppedError):
        supports(Stopping(question=-9.0), [(Grounds("Question:", "Question:", " x"), "finetuned", 1.0)], cancel=cancel)


def test_other_tasks_have_no_such_option(tmp_path: Any) -> None:
    from phi2demo.tasks.declared import read_adapter_tasks
    from phi2demo.tasks.sentiment import SentimentOptions

    with pytest.raises(SettingsError, match="leave min_support at 0"):
        TASKS["sentiment"].check(Request("sentiment", "Fine.", SentimentOptions(), GenerationOptions(min_support=0.5)))
    (tmp_path / "tasks.json").write_text(
        '{"tasks": {"translation": {"decoding": {"min_support": 0.5}}}}', encoding="utf-8"
    )
    with pytest.raises(ModelError, match="only answers from a text have a min_support"):
        read_adapter_tasks(tmp_path)
