from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phi2demo.engine.loading import plan
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.spans import covering, decoded
from phi2demo.settings import ModelSettings

TEXTS = ["The train", " two  spaces ", "日本 schläft", "e\u0301 👩\u200d👩\u200d👧!", "a\n\n b\t", "\ufffd�x"]


@pytest.fixture(scope="module")
def engine(tiny_base: Path) -> LocalEngine:
    return LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu")))


def covers(spans: Sequence[tuple[int, int]], length: int) -> bool:
    """No gap, no step back, from 0 to the end."""
    reached = 0
    for start, end in spans:
        if start > reached or end < reached:
            return False
        reached = end
    return reached == length


@given(st.text(min_size=1))
@settings(deadline=None, max_examples=60)
@example(TEXTS[3])
@example(TEXTS[2])
def test_spans_of_a_text_cover_it(engine: LocalEngine, text: str) -> None:
    tokens = engine.tokens(text)
    assert tokens.text == text
    assert len(tokens.ids) == len(tokens.spans) == engine.count_tokens(text)
    assert covers(tokens.spans, len(text))


@pytest.mark.parametrize("text", TEXTS)
def test_ids_stand_for_the_same_text_and_spans(engine: LocalEngine, text: str) -> None:
    forward = engine.tokens(text)
    back = engine.tokens(forward.ids)
    assert (back.text, back.ids) == (text, forward.ids)
    assert covers(back.spans, len(text))
    if "\ufffd" not in text:  # which a decoder also writes for half a character
        assert [text[slice(*span)] for span in back.spans] == [text[slice(*span)] for span in forward.spans]


def test_white_space_that_a_tokenizer_leaves_out_belongs_to_the_next_token() -> None:
    assert covering([(0, 3), (4, 9), (9, 10)], 12) == ((0, 3), (3, 9), (9, 12))
    assert covering([(0, 1), (0, 1), (1, 2)], 2) == ((0, 1), (0, 1), (1, 2))
    assert covering([], 0) == ()


def test_a_special_token_has_an_empty_span(engine: LocalEngine) -> None:
    end = max(engine._end_ids)
    tokens = engine.tokens((*engine.tokens("The train").ids, end))
    assert tokens.text == "The train"
    assert tokens.spans[-1] == (9, 9)


def test_a_character_in_three_parts_has_one_span() -> None:
    parts = {1: b"a", 2: b"\xe6", 3: b"\x97", 4: b"\xa5", 5: b"b", 6: b""}

    def decode(ids: Sequence[int]) -> str:
        return b"".join(parts[token] for token in ids).decode(errors="replace")

    text, spans = decoded([1, 2, 3, 4, 5, 6], decode)
    assert text == "a日b"
    assert spans == ((0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (3, 3))
    assert decoded([1, 2, 3], decode)[1][-1][1] == len(decode([1, 2, 3]))
