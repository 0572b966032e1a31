""""""

import pytest

from phi2demo.data.word_list import is_inappropriate, listed_words


@pytest.mark.parametrize(
    ("text", "inappropriate"),
    [("You piece of shit.", True), ("Scunthorpe is a town.", False), ("The cat sleeps.", False), ("", False)],
)
def test_is_inappropriate(text: str, inappropriate: bool) -> None:
    assert is_inappropriate(text) is inappropriate


def test_every_listed_word_is_given_in_its_order() -> None:
    assert list(listed_words("A BASTARD! A piece of shit.")) == ["bastard", "piece of shit", "shit"]
    assert list(listed_words("The cat sleeps.")) == []
