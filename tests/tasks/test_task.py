from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from phi2demo.engine.engine import MAX_SEED, GenerationOptions
from phi2demo.errors import InputError, SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import MAX_QUESTION_CHARACTERS, QuestionOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.task import PromptLimit
from phi2demo.tasks.translation import TranslationOptions

WRONG = [3, None, True, 1.5, [], {}, (), b"en", ["en"], "", "EN", "sentences"]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "make",
    [
        lambda value: GenerationTaskOptions(value),
        lambda value: SummaryOptions(value),
        lambda value: TranslationOptions(value, "de"),
        lambda value: TranslationOptions("en", value),
    ],
)
def test_choices_are_checked_whatever_their_type(make: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(SettingsError, match="give one of"):
        make(value)


def test_other_options_are_checked() -> None:
    with pytest.raises(SettingsError, match="Both languages are German; choose two"):
        TranslationOptions("de", "de")
    for value in (1, "yes", None):
        with pytest.raises(SettingsError, match="by_parts is"):
            SummaryOptions("short", value)  # type: ignore[arg-type]
    for value in (1, None, ["who?"]):
        with pytest.raises(SettingsError, match="question is"):
            QuestionOptions(value)  # type: ignore[arg-type]


def request(**changes: Any) -> Request:
    return replace(Request("sentiment", "Fine.", SentimentOptions(), GenerationOptions()), **changes)


def test_checking_keeps_the_stop_strings_and_reads_the_text_cleaned() -> None:
    task = TASKS["sentiment"]
    asked = request(generation=GenerationOptions(stop=("END", "\nOutput:")), text="a\r\nb")
    checked = task.check(asked)
    assert checked.request.generation.stop == ("END", "\nOutput:")
    assert checked.request.text == "a\r\nb"
    assert checked.read.text == "a\nb"
    assert task.check(checked.request) == checked
    assert checked.with_settings(variants=("base",)).request == replace(checked.request, variants=("base",))
    with pytest.raises(SettingsError, match="The seed is"):
        checked.with_settings(seed=-1)


@pytest.mark.parametrize(
    "variants",
    [(), None, "base", ["base"], ("base", "base"), ("finetuned", "base", "base"), ("",), (1,), ([],)],
)
def test_variants_are_checked(variants: Any) -> None:
    with pytest.raises(SettingsError, match=r"^The models to ask are"):
        TASKS["sentiment"].check(request(variants=variants))


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 10**30, True, False, 1.0, "1", [1]])
def test_seeds_are_checked(seed: Any) -> None:
    with pytest.raises(SettingsError, match=r"^The seed is"):
        TASKS["sentiment"].check(request(seed=seed))


@pytest.mark.parametrize("seed", [None, 0, MAX_SEED])
def test_seeds_that_are_taken(seed: int | None) -> None:
    drawn = TASKS["sentiment"].check(request(seed=seed)).request.seed
    assert drawn == seed if seed is not None else type(drawn) is int


@pytest.mark.parametrize("name", TASKS)
def test_options_of_another_task_are_refused(name: str) -> None:
    other = SummaryOptions() if name != "summarization" else SentimentOptions()
    with pytest.raises(SettingsError, match=f"^{name} takes"):
        TASKS[name].check(request(task=name, options=other))


def test_questions_are_checked() -> None:
    task = TASKS["question_answering"]
    for question, message in (
        ("", "The question is empty"),
        ("a\x00", "The question holds NUL"),
        ("why " * 300, f"ask in at most {MAX_QUESTION_CHARACTERS:,}"),
    ):
        with pytest.raises(InputError, match=message):
            task.check(request(options=QuestionOptions(question)))


def test_a_text_that_does_not_fit_is_refused_and_never_cut() -> None:
    budget = PromptLimit(lambda text: len(text.split()), 20)
    task, options = TASKS["generation"], GenerationTaskOptions("instruct")
    assert task.pieces("word " * 17, options, budget).texts == ("word " * 17,)
    with pytest.raises(
        InputError, match=r"The text has 32 tokens with its instruction; this .* 20 here\. Shorten it, or lower"
    ):
        task.pieces("word " * 30, options, budget)


def test_the_instruction_may_leave_too_little_room_for_a_document() -> None:
    with pytest.raises(InputError, match="Lower the number of new tokens"):
        TASKS["summarization"].pieces("A text.", SummaryOptions(), PromptLimit(lambda text: len(text.split()), 30))
