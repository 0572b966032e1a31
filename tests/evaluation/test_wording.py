import pytest

from phi2demo.evaluation.wording import measure_title, number


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [(-1.25, 1, True, "−1.2"), (0.04, 1, True, "0.0"), (-0.0, 0, False, "0"), (3.0, 2, True, "+3.00")],
)
def test_numbers(value: float, digits: int, signed: bool, text: str) -> None:
    assert number(value, digits, signed=signed) == text


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("translation.tatoeba.en-de", "English to German, tatoeba"),
        ("translation.own.xx-yy", "Translate, own.xx-yy"),
        ("sentiment.sst2", "Sentiment, sst2"),
        ("prose.tinystories", "Prose, tinystories"),
        ("odd", "Odd"),
    ],
)
def test_names_of_measures(name: str, title: str) -> None:
    assert measure_title(name) == title
