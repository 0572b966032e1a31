""""""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi2demo.data.documents import WINDOW, balance, count_words, lay_out, pack, split_sentences

TEXTS = st.text(
    alphabet=st.one_of(
        st.sampled_from(list(" \n\t\r.!?,:()\"'-—…。！\u00a0\u2028\u200dabcABC123éñüßשمक我😀")),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=300,
)
PROSE = st.lists(
    st.sampled_from(
        ["Hello there. ", "Mr. Smith is 3.5 m tall! ", "\n", "\n\n", "  - a point", "我很好。", "12,5\n", "ok "]
    ),
    max_size=60,
).map("".join)


def tokens(text: str) -> int:
    """Words, signs and line breaks: what a tokenizer does, roughly."""
    return len(re.findall(r"\w{1,4}|[^\w\s]|\n", text))


def tokens_unlike_their_sum(text: str) -> int:
    """A tokenizer whose parts do not add up: more together than apart."""
    return tokens(text) + text.count(". ") * 2


def characters(text: str) -> str:
    return "".join(text.split())


@given(st.one_of(TEXTS, PROSE))
def test_sentences_joined_are_the_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text


@given(st.one_of(TEXTS, PROSE), st.integers(5, 100))
def test_a_layout_around_its_own_sentences_is_the_text(text: str, longest: int) -> None:
    layout = lay_out(text, fits=lambda sentence: len(sentence) <= longest)
    assert all(len(sentence) <= longest for sentence in layout.sentences)
    assert all(any(character.isalpha() for character in sentence) for sentence in layout.sentences)
    assert len(layout.glue) == len(layout.sentences) + 1
    assert "".join(a + b for a, b in zip(layout.glue, (*layout.sentences, ""), strict=True)) == text
    joined = layout.join(layout.sentences)
    assert joined.count("\n") == text.count("\n")
    assert [characters(line) for line in joined.split("\n")] == [characters(line) for line in text.split("\n")]


@pytest.mark.parametrize(
    "text",
    [
        "One.\n\nTwo.\n",
        "\n\n  Indented. Twice.\n\tTabbed.\n",
        "***\nA title\n===\n\n1.\n2.\n",
        "1,000\nwords",
        "- a\n- b\n\n\n- c",
        "No end",
        " ",
        "",
    ],
)
def test_a_layout_keeps_lines_blank_lines_and_indentation(text: str) -> None:
    layout = lay_out(text, fits=lambda sentence: True)
    assert layout.join([s.upper() for s in layout.sentences]) == text.upper()


def test_lines_without_letters_are_copied() -> None:
    layout = lay_out("Total\n12.5\n---\n😀\nEnd", fits=lambda sentence: True)
    assert layout.sentences == ("Total", "End")
    assert layout.join(["Summe", "Ende"]) == "Summe\n12.5\n---\n😀\nEnde"


def test_a_line_break_in_an_output_does_not_add_a_line() -> None:
    layout = lay_out("One.\nTwo.", fits=lambda sentence: True)
    assert layout.join(["Eins.\n\nUnd", "Zwei.\r\n"]) == "Eins. Und\nZwei."


def test_fewer_outputs_give_the_text_up_to_there() -> None:
    layout = lay_out("One.\n\nTwo.\n\nThree.", fits=lambda sentence: True)
    assert [layout.join(layout.sentences[:n]) for n in range(4)] == [
        "",
        "One.",
        "One.\n\nTwo.",
        "One.\n\nTwo.\n\nThree.",
    ]


@given(st.one_of(TEXTS, PROSE), st.integers(3, 60), st.sampled_from([tokens, tokens_unlike_their_sum]))
def test_parts_never_exceed_the_limit_and_lose_nothing(text: str, limit: int, count: object) -> None:
    assert callable(count)
    parts = pack(text, count=count, limit=limit)
    assert all(count(part) <= limit for part in parts)
    assert all(part == part.strip() != "" for part in parts)
    assert characters("".join(parts)) == characters(text)


HUGE = {
    "one sentence": " ".join(f"word{n}" for n in range(5000)),
    "no spaces": "x" * 50_000,
    "chinese": "我今天很好也很高兴" * 3000,
    "chinese sentences": "我很好。你呢？" * 3000,
    "spaces": "a" + " " * 50_000 + "b",
    "one letter": "a\n" * 10_000,
}


@pytest.mark.parametrize("text", HUGE.values(), ids=list(HUGE))
def test_huge_texts_are_packed_whole(text: str) -> None:
    parts = pack(text, count=tokens, limit=200)
    assert all(tokens(part) <= 200 for part in parts)
    assert characters("".join(parts)) == characters(text)
    if " " in text.strip():
        assert [word for part in parts for word in part.split()] == text.split()


def test_parts_are_few() -> None:
    text = "Five words are in here. " * 100
    assert len(pack(text, count=tokens, limit=70)) <= 100 * tokens("Five words are in here. ") / 70 * 1.2 + 1


def test_every_sentence_is_counted_once_and_every_part_once() -> None:
    calls: list[str] = []
    text = "Five words are in here. " * 1000
    parts = pack(text, count=lambda piece: calls.append(piece) or tokens(piece), limit=70)  # type: ignore[func-returns-value]
    assert len(calls) <= 1000 + len(parts)


def seconds(text: str) -> float:
    started = time.perf_counter()
    pack(text, count=tokens, limit=700)
    lay_out(text, fits=lambda sentence: len(sentence) < 1000)
    return time.perf_counter() - started


def test_20_000_words_are_packed_in_well_under_a_second() -> None:
    assert seconds("The quick brown fox jumps over the lazy dog again. " * 2000) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["The quick brown fox. ", "x", "我很好。", "我", "a\n", "( ", '"a. ', "😀", ". "])
def test_a_million_characters_do_not_hang(unit: str) -> None:
    assert seconds((unit * 1_000_000)[:1_000_000]) < 30


@given(st.one_of(TEXTS, PROSE), st.integers(1, 8), st.integers(0, 30))
@settings(max_examples=60)
def test_balance_gives_at_most_so_many_groups_and_loses_nothing(text: str, parts: int, min_words: int) -> None:
    groups = balance(text, parts=parts, min_words=min_words)
    assert len(groups) <= parts
    assert characters("".join(groups)) == characters(text)
    assert all(group.strip() for group in groups)


def test_balance_gives_groups_of_about_the_same_length() -> None:
    groups = balance("Five words are in here. " * 60, parts=6, min_words=40)
    assert [count_words(group) for group in groups] == [50] * 6
    assert len(balance("Five words are in here. " * 20, parts=6, min_words=40)) == 2
    assert balance("", parts=3, min_words=40) == []


def test_a_sentence_over_the_window_is_cut_between_words() -> None:
    text = " ".join(f"word{n}" for n in range(WINDOW // 2)) + ". And one more."
    sentences = split_sentences(text)
    assert [word for sentence in sentences for word in sentence.split()] == text.split()
    assert sentences[-1] == "And one more."


def test_windows_do_not_move_sentence_ends() -> None:
    text = "Dr. Smith met Mrs. Jones at 5 p.m. on Monday. They talked! " * 300
    assert set(map(str.strip, split_sentences(text))) == {
        "Dr. Smith met Mrs. Jones at 5 p.m. on Monday.",
        "They talked!",
    }
