from dataclasses import replace
from threading import Event
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phi2demo.data.cleaning import clean
from phi2demo.engine.engine import END_OF_TEXT, ChatTemplate, special
from phi2demo.errors import SettingsError, StoppedError
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.scoring_plan import make_scoring_plan, units_of
from phi2demo.explain.units import UnitKind
from phi2demo.explain.value_function import ScoreCache, ValueFunction
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.templates import Templates, make_template
from phi2demo.tasks.translation import TranslationOptions
from tests.explain.planted import PlantedEngine, asked, rewards

TEXT = "  The big train\nleaves at eight. "
"""As typed; the model reads it without the white space around it."""


def value_function_of(
    engine: PlantedEngine, request: ExplainRequest, *, kind: UnitKind = "words", cache: ScoreCache | None = None
) -> ValueFunction:
    value_function = ValueFunction(
        engine,
        request,
        make_scoring_plan(engine, request),
        cache=ScoreCache() if cache is None else cache,
        cancel=Event(),
    )
    value_function.units = units_of(engine, request, kind)
    return value_function


@pytest.fixture
def engine() -> PlantedEngine:
    return PlantedEngine(rewards({"train": 2.0, "eight": 1.0}))


def mask(bits: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([bit == "1" for bit in bits])


@pytest.mark.parametrize(
    ("bits", "replacement", "expected"),
    [
        ("111111", "", "The big train\nleaves at eight."),
        ("111111", "...", "The big train\nleaves at eight."),
        ("011111", "", "big train\nleaves at eight."),
        ("101111", "", "The train\nleaves at eight."),
        ("110111", "", "The big\nleaves at eight."),
        ("111110", "", "The big train\nleaves at"),
        ("000000", "", ""),
        ("100111", "...", "The ...\nleaves at eight."),
        ("100011", "...", "The ... at eight."),
        ("000000", "...", "..."),
    ],
)
def test_hidden_units_are_dropped_or_replaced(
    engine: PlantedEngine, bits: str, replacement: str, expected: str
) -> None:
    assert value_function_of(engine, asked(TEXT, mask=replacement)).masked(mask(bits)) == expected


def test_a_masked_text_is_scored_in_the_prompt_of_its_task(engine: PlantedEngine) -> None:
    request = asked("one two three")
    value_function_of(engine, request)(np.array([mask("101"), mask("111")]))
    assert [prompt.text for prompt, _ in engine.scored] == [
        f"{END_OF_TEXT}{text}" for text in ("one three", "one two three")
    ]
    engine.scored.clear()
    request = replace(request, task="summarization", options=SummaryOptions())
    value_function_of(engine, request)(np.array([mask("101")]))
    assert [prompt.text for prompt, _ in engine.scored] == [
        "Instruct: Summarize the following text in one sentence.\none three\nOutput:"
    ]


def test_each_prompt_is_scored_once_also_by_the_next_explanation(engine: PlantedEngine) -> None:
    cache = ScoreCache()
    request = asked("one two one")
    value_function = value_function_of(engine, request, cache=cache)
    values = value_function(np.array([mask("100"), mask("001"), mask("100")]))
    assert value_function.calls == len(engine.scored) == 1, "both masked texts read `one`"
    assert (values == values[0]).all()
    again = value_function_of(engine, asked("one two one", method="lime"), cache=cache)
    again(np.array([mask("001"), mask("110")]))
    assert again.calls == 1


def test_more_prompts_than_the_cache_holds_are_scored(engine: PlantedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.array([mask(f"{bits:06b}") for bits in range(64)])
    expected = value_function_of(engine, asked(TEXT))(masks)
    monkeypatch.setattr("phi2demo.explain.value_function.CACHE_ROWS", 8)
    monkeypatch.setattr("phi2demo.explain.value_function.MASKS_AT_ONCE", 24)
    cache = ScoreCache()
    np.testing.assert_array_equal(value_function_of(engine, asked(TEXT), cache=cache)(masks), expected)
    assert len(cache) == 8


def test_values_are_log_probabilities_or_log_odds_of_each_token(engine: PlantedEngine) -> None:
    masks = np.array([mask("11"), mask("01")])
    values = value_function_of(engine, asked("train two", " a b"))(masks)
    np.testing.assert_allclose(values, [[-6, -6], [-8, -8]])
    odds = value_function_of(engine, asked("train two", " a b", value="log-odds"))(masks)
    p = np.exp(values)
    np.testing.assert_allclose(odds, np.log(p / (1 - p)))


def test_a_certain_token_has_finite_odds() -> None:
    engine = PlantedEngine(lambda token, text, prompt: 0.0)
    assert np.isfinite(value_function_of(engine, asked("one two", value="log-odds"))(np.array([mask("11")]))).all()


def test_pieces_are_scored_one_by_one(engine: PlantedEngine) -> None:
    text = "I take the train. We leave at eight."
    options = TranslationOptions("en", "de")
    value_function = value_function_of(
        engine, ExplainRequest("translation", text, options, (" eins zwei", " drei")), kind="sentences"
    )
    values = value_function(np.array([mask("11"), mask("01"), mask("10")]))
    np.testing.assert_allclose(values, [[-6, -6, -7], [-8, -8, -7], [-6, -6, -8]])
    prompts = {prompt.text.split("German.\n")[1] for prompt, _ in engine.scored}
    assert prompts == {f"{sentence}\nOutput:" for sentence in ("I take the train.", "We leave at eight.", "")}
    assert value_function.calls == 4


def test_nothing_is_scored_once_cancelled(engine: PlantedEngine) -> None:
    value_function = value_function_of(engine, asked("one two"))
    value_function._cancel.set()
    with pytest.raises(StoppedError):
        value_function(np.array([mask("11")]))
    assert engine.scored == []


def test_no_more_prompts_are_made_once_cancelled(engine: PlantedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi2demo.explain.value_function.MASKS_AT_ONCE", 4)
    value_function = value_function_of(engine, asked(TEXT))
    value_function._report = value_function._cancel.set
    with pytest.raises(StoppedError):
        value_function(np.array([mask(f"{bits:06b}") for bits in range(64)]))
    assert value_function.calls == 4


def test_scores_at_one_strength_are_not_used_for_another(engine: PlantedEngine) -> None:
    cache, whole = ScoreCache(), mask("111111")[None]
    of_both = replace(asked(TEXT), of="difference")
    for strength in (1.0, 0.5, 1.0):
        value_function_of(engine, replace(of_both, adapter_strength=strength), cache=cache)(whole)
    assert engine.strengths == [1.0, 0.5]
    variants = [prompt.variant for prompt, _ in engine.scored]
    assert variants == ["finetuned", "base", "finetuned"], "the base is the same at any strength"
    with pytest.raises(SettingsError, match="adapter_strength is 3; give a value"):
        replace(of_both, adapter_strength=3)


TYPED = st.one_of(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40),
    st.lists(
        st.sampled_from(
            ["The", " train", "\t", "\u00a0", "\u00ad", "\r\n", "  ", ".", "e\u0301", "ﬁ", "Ａ", "\u200b", "👩\u200d👧", "日本"]
        ),
        min_size=1,
    ).map("".join),
)  # fmt: skip


@pytest.mark.parametrize("kind", get_args(UnitKind))
@given(text=TYPED, data=st.data())
@settings(deadline=None, max_examples=100)
def test_units_are_of_the_text_as_typed_and_are_hidden_in_the_text_as_read(
    kind: UnitKind, text: str, data: st.DataObject
) -> None:
    assume(clean(text))
    engine = PlantedEngine(rewards({}))
    request = asked(text)
    value_function = value_function_of(engine, request, kind=kind)
    assert "".join(unit.text for unit in value_function.units) == text
    assert all(unit.text == text[unit.start : unit.end] for unit in value_function.units)
    parts = [request.text_read[slice(*request.span_read(unit.start, unit.end))] for unit in value_function.units]
    assert "".join(parts) == request.text_read
    assert all(map(clean, parts)), "every unit is something that the model reads"
    assert all(clean(unit.text) for unit in value_function.units)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts))))
    assert value_function.masked(np.ones(len(parts), dtype=bool)) == request.text_read
    assert (
        value_function.masked(kept).strip()
        == "".join(part for part, keep in zip(parts, kept, strict=True) if keep).strip()
    )


@pytest.mark.parametrize("name", ["phi", "alpaca", "chatml", "plain", "chat", "<s>[INST] {prompt} [/INST]"])
def test_masking_a_word_changes_nothing_but_that_word(engine: PlantedEngine, name: str) -> None:
    template = make_template(name, chat=ChatTemplate(f"{special('<|user|>')}\n{{prompt}}{special('<|end|>')}\n"))
    request = ExplainRequest("sentiment", TEXT, SentimentOptions(), ("positive",), templates=Templates(template))
    function = value_function_of(engine, request, kind="words")
    whole = request.asked.prompt(clean(TEXT), "finetuned")
    before, text, after = whole.partition("The big train\nleaves at eight.")
    assert after or name == "plain"
    words = ["The ", "big ", "train", "leaves ", "at ", "eight."]
    for place, word in enumerate(words):
        shown = np.ones(len(words), dtype=np.bool_)
        shown[place] = False
        prompt = request.asked.prompt(function.masked(shown, 0), "finetuned")
        assert prompt.startswith(before)
        assert prompt.endswith(after)
        shown_text = prompt.removeprefix(before).removesuffix(after)
        assert shown_text.split() == text.replace(word, "", 1).split()
