from collections import Counter

import pytest

from phi2demo.data import languages
from phi2demo.data.languages import LANGUAGES, detect_language, language_name
from phi2demo.errors import InputError
from phi2demo.tasks.task import PromptLimit
from phi2demo.tasks.translation import Translation, TranslationOptions, numbers

ENGLISH = "The weather was fine yesterday, and the children played in the garden until it became dark."
GERMAN = "Gestern war das Wetter schön, und die Kinder spielten im Garten, bis es dunkel wurde."
SWEDISH = "Vädret var fint i går, och barnen lekte i trädgården tills det blev mörkt utanför."


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", []),
        ("no numbers", []),
        ("12 and 3", ["12", "3"]),
        ("1,000.50", ["100050"]),
        ("1.000,50", ["100050"]),
        ("1 000,50", ["100050"]),
        ("1\u00a0000\u202f000", ["1000000"]),
        ("1'000 und 1’000", ["1000", "1000"]),
        ("in 2010 300 people", ["2010", "300"]),
        ("3:30", ["3", "30"]),
        ("page 7.", ["7"]),
        ("5, 6", ["5", "6"]),
        ("v2x4", ["2", "4"]),
        ("١٢ كتب", ["12"]),
        ("²", []),
    ],
)
def test_numbers(text: str, result: list[str]) -> None:
    assert numbers(text) == Counter(result)


def notes(text: str, output: str, source: str = "en", target: str = "de") -> tuple[str, ...]:
    return Translation().notes(text, output, TranslationOptions(source, target))


def test_lost_and_added_numbers_are_pointed_out() -> None:
    assert notes("It cost 1,200 euros in 1999.", "Es kostete 1.200 Euro im Jahr 1999.") == ()
    lost, added = notes("7 of 9, 9", "7 von 10, 9")
    assert lost == "Numbers of the text that the translation lacks: 9."
    assert added == "Numbers in the translation that the text lacks: 10."


def test_a_text_in_another_language_is_pointed_out() -> None:
    assert notes(ENGLISH, "", "en") == ()
    assert notes(GERMAN, "", "de", "en") == ()
    assert notes(ENGLISH, "", "de", "en") == (
        "The text looks like English, not German: the translation may be worthless.",
    )
    assert notes(SWEDISH, "", "de", "en") == (
        "The text looks like Swedish, not German: the translation may be worthless.",
    )


@pytest.mark.parametrize(
    "text", ["Hotel", "Tom!", "OK", "12.5.2024", "???", "", "\u200b" * 50, "😀" * 50, "ababababababab"]
)
def test_what_is_short_or_no_language_is_left_alone(text: str) -> None:
    assert detect_language(text) is None


def test_every_language_is_found_and_has_a_name() -> None:
    texts = {
        "en": ENGLISH,
        "de": GERMAN,
        "fr": "Il faisait beau hier et les enfants ont joué dans le jardin jusqu'à la nuit.",
        "es": "Ayer hizo buen tiempo y los niños jugaron en el jardín hasta que se hizo de noche.",
        "it": "Ieri il tempo era bello e i bambini hanno giocato in giardino fino al buio.",
        "pt": "Ontem o tempo estava bom e as crianças brincaram no jardim até escurecer.",
        "nl": "Gisteren was het mooi weer en de kinderen speelden in de tuin tot het donker werd.",
    }
    assert texts.keys() == LANGUAGES.keys()
    assert {code: detect_language(text) for code, text in texts.items()} == {code: code for code in texts}
    assert {language_name(code)[:1].isupper() for code in (*LANGUAGES, *languages._LOOKALIKES)} == {True}
    assert language_name("sv") == "Swedish"
    assert language_name("xx") == "xx"


def test_a_detector_that_fails_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> object:
        raise OSError("no tables")

    monkeypatch.setattr(languages, "_detector", fail)
    assert notes(ENGLISH, "", "de", "en") == ()
    assert "could not be detected" in caplog.text


def test_a_text_without_words_is_refused() -> None:
    budget = PromptLimit(lambda text: len(text.split()), 100)
    for text in ("12\n---\n", "😀", "3 + 4 = 7"):
        with pytest.raises(InputError, match="no words to translate"):
            Translation().pieces(text, TranslationOptions(), budget)


def test_a_sentence_that_does_not_fit_is_cut_between_words() -> None:
    budget = PromptLimit(lambda text: len(text.split()), 40)
    text = "word " * 100 + "end."
    pieces = Translation().pieces(text, TranslationOptions(), budget)
    assert len(pieces.texts) > 3
    assert pieces.join(pieces.texts) == text
