"""How much of a text fits: what is told beforehand is what is refused later."""

from dataclasses import replace
from typing import Any

import pytest

from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError
from phi2demo.tasks import TASKS
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.task import COUNTED_CHARACTERS, TokenBudget, token_budget_for
from tests.tasks.scripted import INFO, ScriptedEngine

SMALL = replace(INFO, context=60)


def asked(task: str, text: str, options: TaskOptions | None = None, **generation: Any) -> Request:
    return Request(task, text, options or TASKS[task].options_type(), GenerationOptions(**generation))


@pytest.mark.parametrize(
    ("task", "options", "generation"),
    [
        ("generation", None, {"max_new_tokens": 20}), ("generation", None, {"max_new_tokens": 2000}),
        ("sentiment", None, {}), ("question_answering", QuestionOptions("Who was it?"), {"max_new_tokens": 5}),
    ],
)  # fmt: skip
def test_a_text_at_the_limit_is_answered_and_a_longer_one_is_refused(
    task: str, options: TaskOptions | None, generation: dict[str, Any]
) -> None:
    engine = ScriptedEngine(info=SMALL)

    def text_of(tokens: int) -> Request:
        return asked(task, "längere " * tokens, options, **generation)

    limit = token_budget_for(engine, TASKS[task], text_of(1)).limit
    assert limit is not None
    assert 0 < limit < SMALL.context
    assert token_budget_for(engine, TASKS[task], text_of(limit)) == TokenBudget(limit, limit)
    assert list(Assistant(engine).run(check(text_of(limit))))
    with pytest.raises(InputError, match="reads at most"):
        list(Assistant(engine).run(check(text_of(limit + 1))))


def test_what_is_read_in_pieces_has_no_limit_and_says_how_many() -> None:
    engine = ScriptedEngine(info=SMALL)
    text = "One two three. Four five six. " * 20
    assert token_budget_for(engine, TASKS["translation"], asked("translation", text)) == TokenBudget(
        160, None, 40, "sentence"
    )
    result = token_budget_for(engine, TASKS["summarization"], asked("summarization", text, max_new_tokens=9))
    assert (result.tokens, result.limit, result.noun) == (160, None, "part")
    assert result.pieces is not None
    assert 1 < result.pieces < 40
    long = "One two three. " * (COUNTED_CHARACTERS // 10)
    assert token_budget_for(engine, TASKS["translation"], asked("translation", long)).pieces is None
    assert token_budget_for(engine, TASKS["translation"], asked("translation", "12345")) == TokenBudget(1), (
        "no words to translate"
    )
    assert [name for name, task in TASKS.items() if task.splits] == ["summarization", "translation"]


def test_tokens_are_counted_as_the_model_reads_them() -> None:
    class Letters(ScriptedEngine):
        def count_tokens(self, text: str) -> int:
            return sum(3 if letter.isupper() else 1 for letter in text)

    request = asked("sentiment", "A FINE FILM", sentence_case=True)
    assert token_budget_for(Letters(info=INFO), TASKS["sentiment"], request).tokens == len("A fine film") + 2
