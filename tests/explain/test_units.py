import re
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.explain.units import Unit, UnitKind, split
from phi2demo.settings import ModelSettings

KINDS = get_args(UnitKind)
FAMILY = "👩\u200d👩\u200d👧"
TEXTS = st.one_of(
    st.text(min_size=1),
    st.lists(
        st.sampled_from(
            ["The", " train", "\n", "\n\n", "  ", ".", " e\u0301", FAMILY, "🇩🇪", "👍🏽", "日本", "ß", "\t"]
        ),
        min_size=1,
    ).map("".join),
)


@pytest.fixture(scope="module")
def engine(tiny_base: Path) -> LocalEngine:
    return LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu")))


def units(engine: LocalEngine, text: str, kind: UnitKind) -> tuple[Unit, ...]:
    return split(text, kind, tokens=engine.tokens(text).spans)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
@example(text="  two.\r\n\r\n  paragraphs \n")
@example(text=f"a{FAMILY}b e\u0301.")
@settings(deadline=None, max_examples=60)
def test_units_are_the_text_as_typed(engine: LocalEngine, kind: UnitKind, text: str) -> None:
    parts = units(engine, text, kind)
    assert "".join(unit.text for unit in parts) == text
    assert [unit.text for unit in parts] == [text[unit.start : unit.end] for unit in parts]
    assert [unit.end for unit in parts[:-1]] == [unit.start for unit in parts[1:]]
    assert len(parts) == 1 or all(unit.text.strip() for unit in parts)
    for unit in parts[1:]:
        first = unit.text[0]
        assert not unicodedata.category(first).startswith("M"), "a mark is not torn from its letter"
        assert "\u200d" not in (first, text[unit.start - 1]), "a joined emoji is one character"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("words", "The  train\nleaves. ", ["The", "  train", "\nleaves. "]),
        ("words", "日本 schläft", ["日", "本", " schläft"]),
        ("words", "one", ["one"]),
        ("sentences", "It rains. We stay.\n\nThe end.", ["It rains. ", "We stay.\n", "\nThe end."]),
        ("paragraphs", "One.\nTwo.\n\n \nThree.", ["One.\nTwo.\n\n \n", "Three."]),
        ("paragraphs", "One.\nTwo.", ["One.\n", "Two."]),
        ("words", f"a {FAMILY} 🇩🇪🇫🇷 👍🏽", ["a", f" {FAMILY}", " 🇩🇪🇫🇷", " 👍🏽"]),
    ],
)
def test_units_of_a_kind(engine: LocalEngine, kind: UnitKind, text: str, expected: Sequence[str]) -> None:
    assert [unit.text for unit in units(engine, text, kind)] == expected


def test_tokens_of_one_character_are_one_unit(engine: LocalEngine) -> None:
    text = f"The train {FAMILY} 🇩🇪🇫🇷"
    parts = [unit.text for unit in units(engine, text, "tokens")]
    assert engine.count_tokens(text) > len(parts)
    assert [unit for unit in parts if not re.match(r"[\s\w]+$", unit)] == [f" {FAMILY}", " 🇩🇪", "🇫🇷"]


@pytest.mark.parametrize("run", [" ", "\U0001f1e9\U0001f1ea", "\u0301"])
def test_a_long_run_that_cannot_be_split_takes_linear_time(run: str) -> None:
    text = f"a{run * 300_000}b"
    started = time.process_time()
    units = split(text, "tokens", tokens=[(start, start + 1) for start in range(len(text))])
    assert time.process_time() - started < 10
    assert "".join(unit.text for unit in units) == text
    assert len(units) == (300_002 if len(run) == 2 else 2)
