"""The words and phrases of safetext's lists, looked up in a text. Knows nothing of rows."""

import re
from collections.abc import Iterator
from importlib import resources

_Listed = tuple[frozenset[str], dict[str, list[tuple[str, ...]]]]
"""Single words, and phrases by their first word."""

_WORD_LISTS: dict[str, _Listed] = {}
"""Those read so far, by language."""


def is_inappropriate(text: str, *, language: str = "en") -> bool:
    """Whether a word or phrase of safetext's list for `language` stands in `text`.

    Training pairs are screened on their English side: what is crude there is crude in its translation too, and the
    French list holds everyday words ("faire", "chat").
    """
    return next(listed_words(text, language=language), None) is not None


def listed_words(text: str, *, language: str = "en") -> Iterator[str]:
    """The words and phrases of safetext's list for `language` that stand in `text`, in lower case, in their order."""
    if language not in _WORD_LISTS:
        _WORD_LISTS[language] = _word_list(language)
    words, phrases = _WORD_LISTS[language]
    tokens = re.findall(r"\w+", text.casefold())
    for place, token in enumerate(tokens):
        if token in words:
            yield token
        for phrase in phrases.get(token, ()):
            if tuple(tokens[place : place + len(phrase)]) == phrase:
                yield " ".join(phrase)


def _word_list(language: str) -> _Listed:
    lines = resources.files("safetext").joinpath(f"languages/{language}/words.txt").read_text(encoding="utf-8")
    entries = [tuple(re.findall(r"\w+", line.casefold())) for line in lines.splitlines() if line.strip()]
    phrases: dict[str, list[tuple[str, ...]]] = {}
    for entry in entries:
        if len(entry) > 1:
            phrases.setdefault(entry[0], []).append(entry)
    return frozenset(entry[0] for entry in entries if len(entry) == 1), phrases
