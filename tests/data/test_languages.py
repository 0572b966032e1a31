"""What is told to be in another script or language than expected, however short, and what is not."""

import pytest

from phi2demo.data.languages import detect_foreign, foreign_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        *(("今日は天気がいいです。", "Japanese"), ("你好", "Chinese"), ("안녕", "Korean"), ("Да, это он", "Cyrillic")),
        *(("Πού είναι;", "Greek"), ("שלום", "Hebrew"), ("أين المحطة؟", "Arabic"), ("สวัสดี", "Thai")),
        *(("π", None), ("Ω", None), ("μ = 3, σ = 2", None), ("42", None), ("The word 東京 is Tokyo.", None)),
        *(("Title:\n寿司\nSushi is tasty.", None), ("naïve Straße œuvre", None), ("👍🏽", None)),
    ],
)
def test_scripts(text: str, script: str | None) -> None:
    assert foreign_script(text) == script


@pytest.mark.parametrize(
    ("text", "known", "language"),
    [
        *(
            ("Dzień dobry", "en", "pl"),
            ("Buongiorno", "en", "it"),
            ("Hoe gaat het?", "de", "nl"),
            ("Günaydın", "fr", "tr"),
        ),
        *(("GUTEN MORGEN LIEBE LEUTE", "en", "de"), ("Ich habe heute keine Zeit.", "en", "de")),
        *(("brb", "en", None), ("Tom!", "en", None), ("Klaus Schmidt", "en", None), ("", "en", None)),
        *(("Gabriel García Márquez", "en", None), ("I have no time.", "en", None), ("Ça va ?", "fr", None)),
    ],
)
def test_languages(text: str, known: str, language: str | None) -> None:
    assert detect_foreign(text, (known,)) == language
