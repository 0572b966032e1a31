""""""

from dataclasses import dataclass

import pytest
from pydantic import TypeAdapter, ValidationError

from phi2demo.data.checks import MAX_CHARACTERS, check_text, first_problem
from phi2demo.errors import InputError

ACCEPTED = {
    "emoji": "😀👩‍👩‍👧",
    "right to left": "\u202bمرحبا بالعالم\u202c",
    "hebrew": "שלום",
    "combining": "e\u0301",
    "chinese": "你好",
    "one letter": "x",
    "number": "5",
    "byte order mark": "\ufeffHello",
    "a million": "x" * MAX_CHARACTERS,
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=list(ACCEPTED))
def test_texts_that_are_taken_as_they_are(text: str) -> None:
    assert check_text(text) == text


REFUSED = {
    "empty": ("", "The text is empty"),
    "spaces": (" \t \u00a0\u3000", "The text is empty"),
    "line breaks": ("\n\r\n\u2028", "The text is empty"),
    "invisible": ("\u200b\u200d\ufeff\u200e\u00ad", "The text is empty"),
    "nul": ("a\x00b", "NUL bytes"),
    "high surrogate": ("a\ud83d", "not valid Unicode"),
    "low surrogate": ("\udcff", "not valid Unicode"),
    "too long": ("x" * (MAX_CHARACTERS + 1), "has 1,000,001 characters; at most 1,000,000"),
    "ten million": ("x\x00" * 5_000_000, "has 10,000,000 characters"),
    "none": (None, "of type NoneType"),
    "number": (5, "of type int"),
    "bytes": (b"text", "of type bytes"),
    "list": (["text"], "of type list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_texts_that_are_refused(case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        check_text(text)


def test_the_message_says_which_text() -> None:
    with pytest.raises(InputError, match=r"^The question is empty"):
        check_text("", what="question")


@pytest.mark.parametrize("text", ["a\r\nb\r\n", "a\rb\r", "a\nb\n"])
def test_line_ends_stay_as_typed(text: str) -> None:
    assert check_text(text) == text


@dataclass(frozen=True)
class Progress:
    step: int


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"step": 1}, {"step": "x"}],
            "[1].step is 'x' (input should be a valid integer, unable to parse string as an integer)",
        ),
        ([{}], "the field [0].step is missing"),
        (3, "the content is 3 (input should be a valid list)"),
    ],
)
def test_a_refused_file_is_told_by_its_first_wrong_field(content: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[Progress]).validate_python(content)
    assert first_problem(caught.value) == message
