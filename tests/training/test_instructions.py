from typing import Any

import numpy as np
import pytest

from phi2demo.data.corpus import OWN, Source
from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.errors import DataError
from phi2demo.tasks import TASKS, register
from phi2demo.tasks.sentiment import Sentiment
from phi2demo.tasks.task import PromptLimit
from phi2demo.training.instructions import (
    CONTINUATION_TOKENS,
    EXAMPLE_MAKERS,
    REPLAY,
    REPLAY_TOKENS,
    Example,
    by_task,
    maker_of,
    task_weights,
)
from tests.tasks.own_tasks import urgency

WORDS = PromptLimit(lambda text: len(text.split()), 1024)


def make(task: str, row: dict[str, Any], *, seed: int = 0, limit: PromptLimit = WORDS) -> Example | None:
    return EXAMPLE_MAKERS[task].make(row, np.random.default_rng(seed), limit)


def test_translation_goes_both_ways() -> None:
    row = {"source": "Hello.", "target": "Hallo.", "source_lang": "en", "target_lang": "de"}
    assert {make("translation", row, seed=seed) for seed in range(20)} == {
        Example("Instruct: Translate the following text from English to German.\nHello.\nOutput:", "Hallo."),
        Example("Instruct: Translate the following text from German to English.\nHallo.\nOutput:", "Hello."),
    }


def test_summarization() -> None:
    assert make("summarization", {"document": "A long text.", "summary": "Short."}) == Example(
        "Instruct: Summarize the following text in one sentence.\nA long text.\nOutput:", "Short."
    )


def test_a_long_document_is_cut_at_a_sentence_end() -> None:
    document = " ".join(f"This is sentence number {n} of it." for n in range(100))
    example = make(
        "summarization", {"document": document, "summary": "Short."}, limit=PromptLimit(WORDS.count_tokens, 60)
    )
    assert example is not None
    assert len(f"{example.prompt} {example.output}".split()) <= 60
    text = example.prompt.splitlines()[1]
    assert document.startswith(text)
    assert text.endswith("of it.")


def test_a_document_that_would_be_cut_too_short_is_left_out() -> None:
    row = {"document": "word " * 100, "summary": "Short."}
    assert make("summarization", row, limit=PromptLimit(WORDS.count_tokens, 30)) is None


@pytest.mark.parametrize(("label", "word"), [(1, "positive"), (0, "negative")])
def test_sentiment(label: int, word: str) -> None:
    assert make("sentiment", {"text": "A film.", "label": label}) == Example(
        "Instruct: Is the sentiment of the following text positive or negative?\nA film.\nOutput:", word
    )


def test_question_answering_uses_the_first_answer() -> None:
    row = {"context": "Tom sleeps.", "question": "Who sleeps?", "answers": [{"text": "Tom"}, {"text": "he"}]}
    assert make("question_answering", row) == Example(
        "Instruct: Answer the question from the following text.\nTom sleeps.\nQuestion: Who sleeps?\nOutput:", "Tom"
    )
    assert make("question_answering", row | {"answers": []}) is None


def test_generation_continues_the_opening() -> None:
    text = "One is here. Two is here. Three is here. Four is here. Five is here."
    examples = {make("generation", {"text": text}, seed=seed) for seed in range(30)}
    assert examples == {Example(f"{END_OF_TEXT}{text[:cut]}", text[cut + 1 :]) for cut in (12, 25, 40)}


def test_a_continuation_keeps_the_line_break_before_it() -> None:
    text = "One is here.\nTwo is here. Three is here."
    examples = {make("generation", {"text": text}, seed=seed) for seed in range(30)}
    assert Example(f"{END_OF_TEXT}One is here.", "Two is here. Three is here.", separator="\n") in examples


def test_generation_may_start_at_any_paragraph() -> None:
    paragraphs = [f"Paragraph {n} begins. It goes on. It goes on and on. It ends." for n in range(4)]
    examples = [make("generation", {"text": "\n".join(paragraphs)}, seed=seed) for seed in range(60)]
    starts = {example.prompt.split()[1] for example in examples if example}
    assert starts == {"0", "1", "2", "3"}


def test_a_continuation_is_limited_and_ends_with_a_sentence() -> None:
    text = " ".join(f"This is sentence {n} of the tale." for n in range(200))
    for seed in range(10):
        example = make("generation", {"text": text}, seed=seed)
        assert example is not None
        assert CONTINUATION_TOKENS - 7 < len(example.output.split()) <= CONTINUATION_TOKENS
        assert example.output.endswith("of the tale.")


def test_a_text_without_a_second_sentence_gives_no_example() -> None:
    assert make("generation", {"text": "Only one sentence."}) is None


def test_replay_is_the_text_or_its_last_paragraph() -> None:
    text = "One is here. Two is here.\nThree is here."
    examples = {make(REPLAY, {"text": text}, seed=seed) for seed in range(30)}
    assert examples == {Example("", text), Example("", "Three is here.")}


def test_the_replay_of_a_long_text_is_limited_and_has_no_end() -> None:
    text = " ".join(f"This is sentence {n} of the tale." for n in range(1000))
    example = make(REPLAY, {"text": text})
    assert example is not None
    assert text.startswith(example.output)
    assert REPLAY_TOKENS - 7 < len(example.output.split()) <= REPLAY_TOKENS
    assert not example.ended
    short = make(REPLAY, {"text": text}, limit=PromptLimit(WORDS.count_tokens, 50))
    assert short is not None
    assert 42 < len(short.output.split()) < 50


def rows_of(*rows: dict[str, Any]) -> Source:
    return Source("mine", OWN, {"train": rows, "validation": (), "test": rows[:1]})


def test_rows_of_declared_tasks_become_examples_of_each_task() -> None:
    register((urgency(), Sentiment(("positive", "neutral", "negative"))))
    urgent = {"task": "urgency", "text": "It leaks.", "team": "sales", "output": "low"}
    neutral = {"task": "sentiment", "text": "So so.", "output": "neutral"}
    tales = Source("tales", "prose", {"train": (), "validation": (), "test": ()})
    sources = by_task([rows_of(urgent, neutral), tales])
    assert [(source.name, source.kind, len(source.rows["train"])) for source in sources] == [
        ("tales", "prose", 0), ("mine", "urgency", 1), ("mine", "sentiment", 1)
    ]  # fmt: skip
    assert sources[1].rows["test"] == (urgent,)
    example = maker_of("urgency").make(urgent, np.random.default_rng(0), WORDS)
    assert example == Example(TASKS["urgency"].prompt(*TASKS["urgency"].from_row(urgent)), "low")
    example = maker_of("sentiment").make(neutral, np.random.default_rng(0), WORDS)
    assert example is not None
    assert example.output == "neutral"
    assert task_weights({"urgency": 2.0})["urgency"] == 2.0


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            {"task": "urgency", "output": "lwo"},
            "mine: the row of urgency with the text 'x': output is 'lwo'; give one of low",
        ),
        ({"task": "sentiment", "output": "neutral"}, "output is 'neutral'; give one of positive, negative"),
        ({"task": "translation", "output": "x"}, "rows of translation have fields of their own"),
        ({"task": "mood", "output": "x"}, "mine has rows of the task 'mood', which is not declared. Give --tasks"),
    ],
)
def test_rows_that_no_task_takes_are_refused(row: dict[str, Any], told: str) -> None:
    register((urgency(),))
    with pytest.raises(DataError, match=told):
        by_task([rows_of({"text": "x", **row})])
