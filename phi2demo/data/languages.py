"""Languages by code and name, and which one a text is in (lingua)."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Container
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lingua import LanguageDetector

_log = logging.getLogger(__name__)
_WORD = re.compile(r"[^\W\d_]+")

LANGUAGES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
}
"""What can be asked for: the European languages that Phi-2, mostly trained on English, was seen to write."""

_LOOKALIKES = {
    "da": "Danish",
    "sv": "Swedish",
    "nb": "Norwegian",
    "pl": "Polish",
    "cs": "Czech",
    "ca": "Catalan",
    "ro": "Romanian",
    "tr": "Turkish",
    "ru": "Russian",
    "el": "Greek",
    "ar": "Arabic",
    "he": "Hebrew",
    "hi": "Hindi",
    "ja": "Japanese",
    "zh": "Chinese",
    "ko": "Korean",
}
"""Detected too, so that a text in one of them is not taken for its nearest neighbour."""

SAMPLED = 2000
"""Characters of a text that its language and script are told by."""
MIN_LETTERS = 12
"""Shorter texts ("Tom!", "Hotel") are in many languages at once."""
MIN_CONFIDENCE = 0.75
FOREIGN_LETTERS = 25
"""From here on a text is told to be in another language by `LONG_TEXT`, below by `SHORT_TEXT`."""
LONG_TEXT, SHORT_TEXT = (0.75, 0.01), (0.9, 0.001)
"""What the likeliest language has at least, and each of the expected ones at most, for a text to be in another language.

Of 1,071 English texts, most of them film reviews, 3 were taken for another at the first, and 7 by the likeliest language
alone. Of 1,826 sentences of fewer than 25 letters in English, German, French and Spanish, the second takes one for another.
"""
LEAST_LETTERS = 4
"""Of a text whose language is guessed: "brb" is in none."""
NAME_WORDS = 4
"""The most words of a name."""
_SCRIPTS = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
"""Of Unicode's names of letters, which begin with their script, those that a person calls otherwise."""


def detect_language(text: str) -> str | None:
    """The ISO 639-1 code of the language of `text`, or None where that cannot be said with confidence.

    The first call takes seconds: it reads the detector's tables.
    """
    return _likeliest(_confidences(text, MIN_LETTERS))


def detect_foreign(text: str, known: Container[str]) -> str | None:
    """The language of `text` where it is surely in none of the `known` ones, however short the text is.

    A few words that all begin with a capital, and are not all in capitals, may be a name, in the language of whoever bears
    it.
    """
    is_long, words = _letters(text) >= FOREIGN_LETTERS, text.split()
    if not is_long and 1 < len(words) <= NAME_WORDS and text != text.upper() and all(w[0].isupper() for w in words):
        return None
    likeliest_has, known_have = LONG_TEXT if is_long else SHORT_TEXT
    confidences = _confidences(text, LEAST_LETTERS)
    code = max(confidences, key=confidences.__getitem__, default="")
    if not code or code in known or confidences[code] < likeliest_has:
        return None
    return code if all(value <= known_have for other, value in confidences.items() if other in known) else None


def foreign_script(text: str) -> str | None:
    """The script of a text that has more letters of others than of the Latin one, by its English name.

    All LANGUAGES are written in Latin letters. A letter by itself may be a symbol, as in formulas, and is not counted.
    """
    words = (word for word in _WORD.findall(text[:SAMPLED]) if len(word) > 1)
    scripts = Counter(unicodedata.name(letter, "").partition(" ")[0] for word in words for letter in word)
    if scripts.total() <= 2 * scripts["LATIN"]:
        return None
    del scripts["LATIN"]
    script = "HIRAGANA" if "HIRAGANA" in scripts else scripts.most_common(1)[0][0]
    return _SCRIPTS.get(script, script.capitalize())


def _likeliest(confidences: dict[str, float]) -> str | None:
    code = max(confidences, key=confidences.__getitem__, default="")
    return code if code and confidences[code] >= MIN_CONFIDENCE else None


def _confidences(text: str, min_letters: int) -> dict[str, float]:
    """By language; none of a text that is shorter."""
    sample = text[:SAMPLED]
    if _letters(sample) < min_letters:
        return {}
    try:
        confidences = _detector().compute_language_confidence_values(sample)
    except Exception:  # a remark on the text is not worth a failed request, whatever went wrong
        _log.warning("the language of a text could not be detected", exc_info=True)
        return {}
    return {confidence.language.iso_code_639_1.name.lower(): confidence.value for confidence in confidences}


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text[:SAMPLED]))


@cache
def _detector() -> "LanguageDetector":
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [IsoCode639_1.from_str(code.upper()) for code in (*LANGUAGES, *_LOOKALIKES)]
    # all its tables take 5 s, in which the server answers nobody; the trigrams alone take 0.2 s
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_low_accuracy_mode().build()


def language_name(code: str) -> str:
    """The English name of a language code, or the code itself."""
    return LANGUAGES.get(code) or _LOOKALIKES.get(code, code)
