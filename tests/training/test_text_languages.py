import pytest

from phi2demo.training.corpus import Source
from phi2demo.training.text_languages import text_languages

ENGLISH = "The old man walked slowly through the garden and looked at the roses."
GERMAN = "Der alte Mann ging langsam durch den Garten und sah sich die Rosen an."
POLISH = "Stary człowiek szedł powoli przez ogród i oglądał piękne czerwone róże."


def reviews(*counted: tuple[str, int]) -> Source:
    rows = tuple({"text": text, "label": 1} for text, count in counted for _ in range(count))
    return Source("reviews", "sentiment", {"train": rows, "validation": (), "test": ()})


@pytest.mark.parametrize(
    ("counted", "codes"),
    [
        (((ENGLISH, 20),), ("en",)),
        (((GERMAN, 500), (ENGLISH, 500)), ("en", "de")),
        (((ENGLISH, 200), (GERMAN, 199)), ("en", "de")),  # evenly taken, to the last
        (((ENGLISH, 300), (GERMAN, 3)), ("en",)),  # a quotation, or a mistake
        (((ENGLISH, 3),), ()),  # too few to tell
        (((ENGLISH, 20), (POLISH, 20)), ()),  # no language that the app has a name for
        ((("no", 50),), ()),  # too short to tell
    ],
)
def test_languages_of_the_texts(counted: tuple[tuple[str, int], ...], codes: tuple[str, ...]) -> None:
    assert text_languages([reviews(*counted)], "sentiment") == codes


def test_every_data_set_is_looked_at() -> None:
    assert text_languages([reviews((ENGLISH, 9000)), reviews((GERMAN, 200))], "sentiment") == ("en", "de")
    assert text_languages([], "sentiment") == ()
