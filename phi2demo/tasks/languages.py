"""Languages by code and name, and which one a text is in (lingua)."""

import logging
from collections.abc import Container
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lingua import LanguageDetector

_log = logging.getLogger(__name__)

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
"""Told apart from the languages above, so that a text in one of them is not taken for its nearest neighbour."""

MIN_LETTERS = 12
"""Shorter texts ("Tom!", "Hotel") are in many languages at once."""
MIN_CONFIDENCE = 0.75
FOREIGN_LETTERS = 25
"""A name may be shorter, and is in the language of whoever bears it."""
FOREIGN_CONFIDENCE = 0.01
"""A text that is no likelier than this to be in a language is in another: of 1,071 English ones, most of them film
reviews, 3 were taken for another at it, and 7 by the likeliest language alone."""


def detect_language(text: str) -> str | None:
    """The ISO 639-1 code of the language of `text`, or None where that cannot be said with confidence.

    The first call takes seconds: it reads the detector's tables.
    """
    return _likeliest(_confidences(text, MIN_LETTERS))


def detect_foreign(text: str, known: Container[str]) -> str | None:
    """The language of `text` where it is surely in none of the `known` ones."""
    found = _confidences(text, FOREIGN_LETTERS)
    likeliest = _likeliest(found)
    sure = all(value <= FOREIGN_CONFIDENCE for code, value in found.items() if code in known)
    return likeliest if sure and likeliest not in known else None


def _likeliest(confidences: dict[str, float]) -> str | None:
    code = max(confidences, key=confidences.__getitem__, default="")
    return code if code and confidences[code] >= MIN_CONFIDENCE else None


def _confidences(text: str, min_letters: int) -> dict[str, float]:
    """By language; none of a text that is shorter."""
    sample = text[:2000]
    if sum(character.isalpha() for character in sample) < min_letters:
        return {}
    try:
        found = _detector().compute_language_confidence_values(sample)
    except Exception:  # a remark on the text is not worth a failed request, whatever went wrong
        _log.warning("the language of a text could not be detected", exc_info=True)
        return {}
    return {each.language.iso_code_639_1.name.lower(): each.value for each in found}


@cache
def _detector() -> "LanguageDetector":
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [IsoCode639_1.from_str(code.upper()) for code in (*LANGUAGES, *_LOOKALIKES)]
    # all its tables take 5 s, in which the server answers nobody; the trigrams alone take 0.2 s
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_low_accuracy_mode().build()


def language_name(code: str) -> str:
    """The English name of a language code, or the code itself."""
    return LANGUAGES.get(code) or _LOOKALIKES.get(code, code)
