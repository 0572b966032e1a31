import pytest

from phi2demo.engine.loops import loop_end


@pytest.mark.parametrize(
    "text",
    [
        "„Konzonzonzonzonzonzonzonzonzonzonzonzonzonzon",
        "a" * 40,
        "He said: no, no, no, no, no, no, no, no, no, no, no, no",
        "very very very very very very very very",
        "It was a good day. It was a good day. It was a good day. It was a good day. It was a good day. It",
        "The man went into the house and sat down at the table. " * 3,
        "ha\n" * 12,
        "今日は" * 12,
    ],
)
def test_what_goes_on_and_on_is_a_loop(text: str) -> None:
    end = loop_end(text)
    assert end is not None
    assert end <= len(text)
    assert loop_end(text[:end]) == end, "it is told as soon as it is one"
    assert loop_end(text[: end - 1]) is None


@pytest.mark.parametrize(
    "text",
    [
        "Ha ha ha ha!",
        "No, no, no, no, said the king.",
        "Row, row, row your boat, gently down the stream.",
        "10000000 and 1,000,000,000",
        "-" * 200,
        ". . . . . . . . . . . . . . . . . . . .",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "He ran and he ran and he ran, and then he slept.",
        "Bla bla bla.",
        "The man went into the house and sat down at the table. " * 2,
    ],
)
def test_what_people_write_is_none(text: str) -> None:
    assert loop_end(text) is None
