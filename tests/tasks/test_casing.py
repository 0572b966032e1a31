from dataclasses import replace

import pytest

from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.casing import with_beginnings, without_capitals
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check, request_of
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.task import QUOTED
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.scripted import ScriptedEngine, body

CASED = GenerationOptions(sentence_case=True)
SHOUTED = Request("translation", "I LOVE IT. SO DO WE!", TranslationOptions("en", "de"), CASED)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("WHERE IS THE STATION?", "Where is the station?"),
        ("I LOVE YOU. DO I?", "I love you. Do I?"),
        ("I'M HERE, AND I'LL STAY", "I'm here, and I'll stay"),
        ("¿DÓNDE ESTÁ?", "¿Dónde está?"),
        ("“NO, THANKS”", "“No, thanks”"),
        ("3 MEN CAME.", "3 men came."),
        ("WHAT IS\nTHIS HERE?", "What is\nThis here?"),
        ("TERRIBLE!", "Terrible!"),
        ("NEWS OF TODAY\nThe BBC reports.", "News of today\nThe BBC reports."),
        ("It rained. NOBODY CAME. Why?", "It rained. Nobody came. Why?"),
        ("İSTANBUL IS LARGE", "İstanbul is large"),
    ],
)
def test_sentences_in_capitals_are_read_in_small_letters(typed: str, read: str) -> None:
    assert without_capitals(typed) == read
    assert len(read) == len(typed)


@pytest.mark.parametrize(
    "typed",
    [
        *("OK.", "NATO", "I.", "A", "The BBC is here.", "1 + 1 = 2", "日本語です。", "where is it?", "WE said no."),
        *("U.S. President Wilson came.", "In the U.S. they do.", "J.K. Rowling wrote it.", "U.S.A."),
        "It was 0.5 vs. AUC-ROC=0.62). Then",
    ],
)
def test_other_texts_are_left_as_they_are(typed: str) -> None:
    assert without_capitals(typed) == typed


def test_only_the_english_i_is_a_capital_within_a_sentence() -> None:
    assert without_capitals("TU I JA IDZIEMY", language="pl") == "Tu i ja idziemy"
    assert with_beginnings("pietro i maria", language="it") == "Pietro i maria"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("where is the station", "Where is the station"),
        ("i do. so do i!", "I do. So do I!"),
        ("¿dónde está?", "¿Dónde está?"),
        ("3 men came", "3 men came"),
        ("one\n\ntwo", "One\n\nTwo"),
        ("straße", "Straße"),
        ("ßa", "ßa"),
    ],
)
def test_a_text_without_a_capital_gets_those_of_its_sentences(typed: str, read: str) -> None:
    assert with_beginnings(typed) == read
    assert len(read) == len(typed)


def test_a_text_with_one_capital_gets_no_other() -> None:
    assert with_beginnings("he met Tom. then he left.") == "he met Tom. then he left."


def test_a_person_is_told_how_a_text_was_read() -> None:
    task = TASKS["translation"]
    assert task.reading_notes(replace(SHOUTED, text="The same.\u00a0")) == ()
    assert task.reading_notes(replace(SHOUTED, text="One.\r\nTWO HERE.")) == (
        "The model read your text in sentence case: Two here.",
    )
    (note,) = task.reading_notes(replace(SHOUTED, text="A" * 200))
    assert note.endswith(f" A{'a' * (QUOTED - 1)} …")


def test_the_model_is_asked_the_text_as_it_is_read_and_the_receipt_has_it_as_typed() -> None:
    engine = ScriptedEngine(lambda prompt: f" {body(prompt.text)}")
    (result,) = Assistant(engine).answer(check(SHOUTED))
    assert result.text == "I love it. So do we!"
    assert result.notes[0] == "The model read your text in sentence case: I love it. So do we!"
    assert result.receipt.text == SHOUTED.text
    assert request_of(result.receipt).generation.sentence_case
    *_, last = Assistant(engine).replay(result.receipt)
    assert last.results is not None
    assert last.results[0].text == result.text


def test_a_receipt_that_says_nothing_of_case_is_replayed_as_typed() -> None:
    engine = ScriptedEngine(lambda prompt: f" {body(prompt.text)}")
    (result,) = Assistant(engine).answer(check(SHOUTED))
    old = {name: value for name, value in result.receipt.generation.items() if name != "sentence_case"}
    *_, last = Assistant(engine).replay(replace(result.receipt, generation=old))
    assert last.results is not None
    assert last.results[0].text == SHOUTED.text


def test_a_question_is_read_like_its_text() -> None:
    task = TASKS["question_answering"]
    asked = Request(task.name, "TOM IS FIVE.", QuestionOptions("HOW OLD IS TOM?"), CASED)
    assert task.read(asked) == replace(asked, text="Tom is five.", options=QuestionOptions("How old is tom?"))
    assert task.read(replace(asked, generation=GenerationOptions())).options == asked.options


def test_only_a_translation_begins_a_text_without_capitals_with_one() -> None:
    review = Request("sentiment", "a warm film .", SentimentOptions(), CASED)
    assert TASKS["sentiment"].read(review).text == "a warm film ."
    assert TASKS["translation"].read(replace(SHOUTED, text="a warm film.")).text == "A warm film."


def test_a_text_to_go_on_with_is_read_as_typed() -> None:
    asked = Request("generation", "ONCE UPON A TIME", GenerationTaskOptions(), CASED)
    with pytest.raises(SettingsError, match="leave sentence_case off"):
        TASKS["generation"].check(asked)
