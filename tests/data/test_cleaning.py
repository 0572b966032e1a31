"""One reading for training and asking, with the way back to what was typed."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi2demo.data.cleaning import clean, clean_aligned, looks_changed

PIECES = [
    *" \t\u00a0\u00ad\r\n\u2028\u200d\ufeffeaA.",
    "e\u0301",
    "\u0308",
    "ﬁ",
    "Ａ",
    "𝐇",
    "ｶﾞ",
    "👨‍👩‍👧",
    "🇩🇪",
    "\u1100\u1161\u11a8",
    "\u09c7\u09be",
]
TEXTS = st.one_of(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=20).map("".join),
)


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("  two   spaces\tand a tab ", "two spaces and a tab"),
        ("soft\u00adhyphen, zero\u200bwidth, \ufeffmark", "softhyphen, zerowidth, mark"),
        ("no\u00a0break\u202fspace\u3000wide", "no break space wide"),
        ("cafe\u0301 u\u0308ber", "café über"),
        ("e\u200b\u0301", "é"),
        ("one\r\n\r\ntwo\rthree\u2028four", "one\n\ntwo\nthree\nfour"),
        ("page\x0cpage", "page\npage"),
        ("  indented\n    more \n", "indented\nmore"),
        ("\x07bell\x1b", "bell"),
        ("ﬁnd the ﬂoor, oﬀer", "find the floor, offer"),
        ("Ｔｈｅ ｔｒａｉｎ：８", "The train:8"),
        ("𝐇𝐞𝐥𝐥𝐨 𝓌𝑜𝓇𝓁𝒹", "Hello world"),
        ("ｶﾞ", "ガ"),
        ("well\u2011known, ten\u2010year", "well-known, ten-year"),
        ("❤\ufe0f", "❤"),
        ("“It’s” – no… ½ x² ™", "“It’s” – no… ½ x² ™"),
        ("日本語 русский עברית", "日本語 русский עברית"),
        (" \u00ad\n\ufe0f ", ""),
    ],
)
def test_texts_are_read_as_training_texts_are(dirty: str, expected: str) -> None:
    assert clean(dirty) == expected
    assert clean_aligned(dirty).text == expected


def test_a_layout_can_be_kept() -> None:
    code = "  def f(x):\r\n\treturn  x \n\u00a0\u00a0y\n\n "
    assert clean(code, keep_layout=True) == "def f(x):\n\treturn x\n  y\n\n"
    assert clean("\n\n a\n", keep_layout=True) == "a\n"
    assert clean("a \t", keep_layout=True) == "a"


def test_only_what_a_person_sees_is_a_visible_change() -> None:
    assert not looks_changed("a\tb\u00a0c\u00ad e\u0301 oﬀer well\u2011known")
    assert looks_changed("Ａ")
    assert looks_changed("𝐇")


def test_every_character_is_cleaned_once_and_for_all() -> None:
    for code in range(0x20000):
        if not 0xD800 <= code < 0xE000:
            text = clean(f"a{chr(code)}b")
            assert clean(text) == text, hex(code)
            assert unicodedata.is_normalized("NFC", text), hex(code)


@settings(max_examples=1000, deadline=None)
@given(TEXTS, st.booleans())
def test_cleaning_twice_changes_nothing(text: str, keep: bool) -> None:
    cleaned = clean(text, keep_layout=keep)
    assert clean(cleaned, keep_layout=keep) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)


@settings(max_examples=1000, deadline=None)
@given(TEXTS, st.booleans())
def test_parts_of_the_typed_text_become_the_parts_of_the_cleaned_one(text: str, keep: bool) -> None:
    aligned = clean_aligned(text, keep_layout=keep)
    assert aligned.text == clean(text, keep_layout=keep)
    assert len(aligned.edges) == len(aligned.text) + 1
    assert list(aligned.edges) == sorted(aligned.edges)
    if aligned.text:
        assert (aligned.edges[0], aligned.edges[-1]) == (0, len(text))
        ends = sorted(set(aligned.edges))
        parts = [(text[a:b], aligned.text[slice(*aligned.to_cleaned(a, b))]) for a, b in pairwise(ends)]
        assert "".join(typed for typed, _ in parts) == text
        assert "".join(read for _, read in parts) == aligned.text
        for typed, read in parts:
            assert "".join(clean(typed).split()) == "".join(read.split()), "each part is read from its own characters"
