import itertools
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi2demo.evaluation.differences import Change, differences, shared

SIGNS = {"same": "={}", "gone": "-{}", "new": "+{}"}


def shown(before: str, after: str) -> list[str]:
    return [SIGNS[change.kind].format(change.text) for change in differences(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", []),
        ("", "new words", ["+new words"]),
        ("old words", "", ["-old words"]),
        ("  \n", "a", ["+a"]),
        ("one two", "one two", ["=one two"]),
        ("The train leaves.", "The train departs.", ["=The train", "- leaves", "+ departs", "=."]),
        ("Red car", "Blue car", ["-Red", "+Blue", "= car"]),
        ("word later.", "word.", ["=word", "- later", "=."]),
        ("a b", "a\n\nb  ", ["=a\n\nb"]),
        ("Yes", "yes", ["-Yes", "+yes"]),
        ("isn't it?", "isn’t it?", ["-isn't", "+isn’t", "= it?"]),
        ("It costs 3.50 now", "It costs 3.60 now", ["=It costs", "- 3.50", "+ 3.60", "= now"]),
        ("snake_case-name ok", "snake_case ok", ["-snake_case-name", "+snake_case", "= ok"]),
        ("«Oui», dit-il", "«Non», dit-il", ["=«", "-Oui", "+Non", "=», dit-il"]),
        ("<script>alert(1)</script>", "<script>alert(2)</script>", ["=<script>alert(", "-1", "+2", "=)</script>"]),
    ],
)
def test_known_differences(before: str, after: str, expected: list[str]) -> None:
    assert shown(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("I 👍 it", "I 👎 it", ["=I", "- 👍", "+ 👎", "= it"]),
        ("ok 👍🏽!", "ok 👍🏿!", ["=ok", "- 👍🏽", "+ 👍🏿", "=!"]),
        ("👩‍👩‍👧 here", "👩‍👩‍👦 here", ["-👩‍👩‍👧", "+👩‍👩‍👦", "= here"]),
        ("from 🇩🇪 now", "from 🇩🇰 now", ["=from", "- 🇩🇪", "+ 🇩🇰", "= now"]),
        ("press 1️⃣ twice", "press 2️⃣ twice", ["=press", "- 1️⃣", "+ 2️⃣", "= twice"]),
        ("e\u0301te\u0301 long", "été court", ["=été", "- long", "+ court"]),
        ("प्रेम है", "प्रेमी है", ["-प्रेम", "+प्रेमी", "= है"]),
        ("a\u0301 b", "a\u0300 b", ["-a\u0301", "+a\u0300", "= b"]),
    ],
)
def test_what_is_read_as_one_character_is_never_cut(before: str, after: str, expected: list[str]) -> None:
    assert shown(before, after) == expected


def test_unlike_sentences_do_not_share_their_articles() -> None:
    assert shown("the cat sat on the mat", "a dog ran on a rug") == ["-the cat sat on the mat", "+a dog ran on a rug"]
    long = "quite a long passage that both of the texts have in common"
    assert shown(f"aaa {long} bbb", f"ccc {long} ddd") == ["-aaa", "+ccc", f"= {long}", "- bbb", "+ ddd"]


TEXTS = st.text(alphabet=st.sampled_from("ab e\u0301'-.\n👍🏽\u200d🇩🇪<é"), max_size=40)


@given(TEXTS, TEXTS)
def test_same_and_new_are_the_second_text_same_and_gone_the_words_of_the_first(before: str, after: str) -> None:
    changes = differences(before, after)
    assert "".join(change.text for change in changes if change.kind != "gone") == after.rstrip()
    first = "".join(change.text for change in changes if change.kind != "new")
    assert normal(first) == normal(before)
    assert all(change.text for change in changes)
    assert all(one.kind != other.kind for one, other in itertools.pairwise(changes))


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", "".join(text.split()))


def test_the_share_of_words_in_common() -> None:
    assert shared(differences("", "")) == 1.0
    assert shared(differences("a b", "a b")) == 1.0
    assert shared(differences("a", "b")) == 0.0
    assert shared(differences("The train leaves.", "The train departs.")) == pytest.approx(6 / 8)
    assert shared((Change("new", "a b c"),)) == 0.0


def test_a_book_takes_seconds_not_minutes() -> None:
    before = " ".join(f"the {at % 997} and" for at in range(10_000))
    after = " ".join(f"the {at % 991} and" for at in range(10_000))
    started = time.process_time()
    changes = differences(before, after)
    assert time.process_time() - started < 20
    assert "".join(change.text for change in changes if change.kind != "gone") == after
