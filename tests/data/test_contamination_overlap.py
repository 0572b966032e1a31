"""Runs of words in an index: found whole, never across two texts, equal to a search by hand."""

import random

import pytest

from phi2demo.data.contamination import GRAM, Run, TextIndex

TALE = "Once upon a time there was a small mouse who lived under the stairs of an old house by the sea."


def test_a_run_is_found_whatever_its_case_and_punctuation() -> None:
    index = TextIndex(["Something else, quite else, and long enough to be looked up by anyone.", TALE])
    text = "He said: once upon a time, there was a SMALL mouse who lived -- and he laughed."
    run = index.look_up(text).longest
    assert run.words == 11
    assert text[run.start : run.end] == "once upon a time, there was a SMALL mouse who lived"
    assert index.look_up(text).runs(GRAM) == (4, 9)
    assert index.look_up(text).runs(11) == (1, 6)
    assert index.look_up(text).runs(12) == (0, 5)


def test_no_run_goes_on_from_one_text_into_the_next() -> None:
    index = TextIndex(["a b c d e f g h i j", "k l m n o p q r s t"])
    assert index.look_up("c d e f g h i j k l m n o p q r s t").longest.words == 10
    assert index.look_up("f g h i j k l m n").longest.words == 0


def test_two_halves_known_from_two_texts_are_no_run() -> None:
    """Every run of eight words is there, but the twelve words stand nowhere in a row."""
    index = TextIndex(["a b c d e f g h i j", "c d e f g h i j k l"])
    assert index.look_up("a b c d e f g h i j k l").longest.words == 10


@pytest.mark.parametrize("text", ["", "too short to find", "unknown words alone never stand in any of the texts"])
def test_nothing_is_found_where_nothing_is(text: str) -> None:
    index = TextIndex([TALE])
    assert index.look_up(text).longest == Run(0)
    assert index.look_up(text).runs(13) == (0, max(0, len(text.split()) - 12))


def test_an_empty_index_holds_nothing() -> None:
    index = TextIndex([])
    assert index.words == 0
    assert index.look_up(TALE).longest == Run(0)


def test_as_a_search_by_hand_finds_it() -> None:
    choice = random.Random(5)
    texts = [" ".join(choice.choice("abc") for _ in range(60)) for _ in range(30)]
    index = TextIndex(texts)
    assert index.words == 1800
    for _ in range(60):
        text = " ".join(choice.choice("abc") for _ in range(20))
        words = text.split()
        runs = [
            " ".join(words[start:end])
            for start in range(20)
            for end in range(start + GRAM, 21)
            if any(f" {' '.join(words[start:end])} " in f" {item} " for item in texts)
        ]
        assert index.look_up(text).longest.words == max((len(run.split()) for run in runs), default=0)
        assert index.look_up(text).runs(9)[0] == len([run for run in runs if len(run.split()) == 9])
