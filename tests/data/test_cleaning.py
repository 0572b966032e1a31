"""One reading for training and asking, with the way back to what was typed."""

import unicodedata
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi2demo.data.cleaning import clean, clean_aligned, looks_changed, with_beginnings, without_capitals
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check, request_of
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.task import QUOTED
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.scripted import ScriptedEngine, body

PIECES = [
    *" \t\u00a0\u00ad\r\n\u2028\u200d\ufeffeaA.",
    "e\u0301",
    "\u0308",
    "ﬁ",
    "Ａ",
    "𝐇",
    "ｶﾞ",
    "👨‍👩‍👧",
    "🇩🇪",
    "\u1100\u1161\u11a8",
    "\u09c7\u09be",
]
TEXTS = st.one_of(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=20).map("".join),
)


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("  two   spaces\tand a tab ", "two spaces and a tab"),
        ("soft\u00adhyphen, zero\u200bwidth, \ufeffmark", "softhyphen, zerowidth, mark"),
        ("no\u00a0break\u202fspace\u3000wide", "no break space wide"),
        ("cafe\u0301 u\u0308ber", "café über"),
        ("e\u200b\u0301", "é"),
        ("one\r\n\r\ntwo\rthree\u2028four", "one\n\ntwo\nthree\nfour"),
        ("page\x0cpage", "page\npage"),
        ("  indented\n    more \n", "indented\nmore"),
        ("\x07bell\x1b", "bell"),
        ("ﬁnd the ﬂoor, oﬀer", "find the floor, offer"),
        ("Ｔｈｅ ｔｒａｉｎ：８", "The train:8"),
        ("𝐇𝐞𝐥𝐥𝐨 𝓌𝑜𝓇𝓁𝒹", "Hello world"),
        ("ｶﾞ", "ガ"),
        ("well\u2011known, ten\u2010year", "well-known, ten-year"),
        ("❤\ufe0f", "❤"),
        ("“It’s” – no… ½ x² ™", "“It’s” – no… ½ x² ™"),
        ("日本語 русский עברית", "日本語 русский עברית"),
        (" \u00ad\n\ufe0f ", ""),
    ],
)
def test_texts_are_read_as_training_texts_are(dirty: str, expected: str) -> None:
    assert clean(dirty) == expected
    assert clean_aligned(dirty).text == expected


def test_a_layout_can_be_kept() -> None:
    code = "  def f(x):\r\n\treturn  x \n\u00a0\u00a0y\n\n "
    assert clean(code, keep_layout=True) == "def f(x):\n\treturn x\n  y\n\n"
    assert clean("\n\n a\n", keep_layout=True) == "a\n"
    assert clean("a \t", keep_layout=True) == "a"


def test_only_what_a_person_sees_is_a_visible_change() -> None:
    assert not looks_changed("a\tb\u00a0c\u00ad e\u0301 oﬀer well\u2011known")
    assert looks_changed("Ａ")
    assert looks_changed("𝐇")


def test_every_character_is_cleaned_once_and_for_all() -> None:
    for code in range(0x20000):
        if not 0xD800 <= code < 0xE000:
            text = clean(f"a{chr(code)}b")
            assert clean(text) == text, hex(code)
            assert unicodedata.is_normalized("NFC", text), hex(code)


@settings(max_examples=1000, deadline=None)
@given(TEXTS, st.booleans())
def test_cleaning_twice_changes_nothing(text: str, keep: bool) -> None:
    cleaned = clean(text, keep_layout=keep)
    assert clean(cleaned, keep_layout=keep) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)


@settings(max_examples=1000, deadline=None)
@given(TEXTS, st.booleans())
def test_parts_of_the_typed_text_become_the_parts_of_the_cleaned_one(text: str, keep: bool) -> None:
    aligned = clean_aligned(text, keep_layout=keep)
    assert aligned.text == clean(text, keep_layout=keep)
    assert len(aligned.edges) == len(aligned.text) + 1
    assert list(aligned.edges) == sorted(aligned.edges)
    if aligned.text:
        assert (aligned.edges[0], aligned.edges[-1]) == (0, len(text))
        ends = sorted(set(aligned.edges))
        parts = [(text[a:b], aligned.text[slice(*aligned.to_cleaned(a, b))]) for a, b in pairwise(ends)]
        assert "".join(typed for typed, _ in parts) == text
        assert "".join(read for _, read in parts) == aligned.text
        for typed, read in parts:
            assert "".join(clean(typed).split()) == "".join(read.split()), "each part is read from its own characters"


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
