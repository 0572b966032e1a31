"""The comparison with transformers, on a tiny model and with few tokens."""

from dataclasses import replace

import pytest

from phi2demo.benchmark.generating import OPENING, Batch, compare, make_batches
from phi2demo.engine.engine import END_OF_TEXT, Completion, GenerationOptions
from phi2demo.engine.loading import LoadedModel
from phi2demo.engine.local import LocalEngine
from phi2demo.errors import SettingsError

FEW = (
    Batch("one", ("The train leaves",), GenerationOptions(max_new_tokens=5)),
    Batch("three", ("It rained", "A small model reads", "The cat"), GenerationOptions(max_new_tokens=4, num_beams=2)),
    Batch("first token", ("It rained",), GenerationOptions(max_new_tokens=1)),
)


def test_both_sides_generate_the_same_and_the_figures_are_tokens_per_second(
    loaded: LoadedModel, engine: LocalEngine
) -> None:
    lines: list[str] = []
    result = compare(loaded, engine, FEW, repeats=2, report=lines.append)
    assert (result.same, result.rows) == (5, 5)
    assert (result.unit, result.engine) == ("tokens per second", "transformers, float32")
    one, three, first = result.batches
    assert (first.ours_tokens, first.peer_tokens) == (1, 1)
    assert first.ratio == pytest.approx(first.peer_seconds / first.ours_seconds)
    tokens = one.ours_tokens + three.ours_tokens
    assert result.ours == pytest.approx(tokens / (one.ours_seconds + three.ours_seconds)), "without the first token"
    assert result.peer == pytest.approx(tokens / (one.peer_seconds + three.peer_seconds))
    assert result.ratio == pytest.approx(result.ours / result.peer)
    assert len(lines) == 3


def test_another_model_on_our_side_is_seen(loaded: LoadedModel, base_engine: LocalEngine) -> None:
    longer = replace(FEW[0], options=GenerationOptions(max_new_tokens=20))
    assert compare(loaded, base_engine, [longer]).same == 0


def test_a_text_that_we_stop_because_it_repeats_itself_is_the_same_so_far(
    loaded: LoadedModel, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = engine.stream

    def stopped_early(*args: object, **options: object) -> object:
        *_, last = stream(*args, **options)  # type: ignore[arg-type]
        ends = [_without_last(completion) for completion in last.completions or ()]
        return iter([replace(last, completions=tuple(ends))])

    monkeypatch.setattr(engine, "stream", stopped_early)
    result = compare(loaded, engine, FEW[:1])
    (one,) = result.batches
    assert (one.same, one.ours_tokens) == (1, one.peer_tokens - 1)
    assert result.ratio == pytest.approx(one.ours_tokens / one.ours_seconds * one.peer_seconds / one.peer_tokens)


def _without_last(completion: Completion) -> Completion:
    return replace(completion, token_ids=completion.token_ids[:-1], stop_reason="loop")


def test_no_repeats_are_refused(loaded: LoadedModel, engine: LocalEngine) -> None:
    with pytest.raises(SettingsError, match="--repeats 0: give a number from 1"):
        compare(loaded, engine, FEW, repeats=0)


def test_decoding_is_one_text_and_the_time_to_its_first_token() -> None:
    story, first, long = make_batches("decode")
    assert story.prompts == first.prompts == (f"{END_OF_TEXT}{OPENING}",)
    assert [batch.options.max_new_tokens for batch in (story, first, long)] == [128, 1, 1]
    assert len(long.prompts[0].split()) == 350


def test_batches_are_sixteen_unequal_prompts_as_the_app_asks_them() -> None:
    batches = make_batches("batch")
    assert [len(batch.prompts) for batch in batches] == [16, 16, 16]
    assert all(len({len(prompt) for prompt in batch.prompts}) > 8 for batch in batches)
    assert [batch.options.num_beams for batch in batches] == [1, 6, 1]
    for batch in batches[1:]:
        assert all(prompt.startswith("Instruct: ") and prompt.endswith("Output:") for prompt in batch.prompts)
