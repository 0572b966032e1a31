"""Two whole models as one engine: each row goes to its model, and what one cannot do is refused."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from phi2demo.engine.engine import GenerationOptions, Prompt, Tokens
from phi2demo.engine.pair import PairEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.process import load_engine
from phi2demo.errors import ModelError, SettingsError
from phi2demo.settings import ModelSettings
from tests.tasks.scripted import BARE, ScriptedEngine

TUNED = replace(BARE, base="tuned", base_revision="cccccccccccc", context=128)
ORIGINAL = replace(BARE, base="original", base_revision="dddddddddddd")
OPTIONS = GenerationOptions(max_new_tokens=5)


@pytest.fixture
def tuned() -> ScriptedEngine:
    return ScriptedEngine(lambda prompt: f" tuned {prompt.text} to the end of it", info=TUNED)


@pytest.fixture
def original() -> ScriptedEngine:
    return ScriptedEngine(lambda prompt: f" original {prompt.text}", info=ORIGINAL)


@pytest.fixture
def pair(tuned: ScriptedEngine, original: ScriptedEngine) -> PairEngine:
    return PairEngine(tuned, original)


def test_the_finetuned_model_stands_where_an_adapter_does(pair: PairEngine) -> None:
    info = pair.info
    assert info.variants == ("finetuned", "base")
    assert (info.base, info.base_revision) == ("original", "dddddddddddd")
    assert info.adapter_of("finetuned") == ("tuned", "cccccccccccc")
    assert info.context == 128


def test_rows_are_answered_by_their_model_in_their_order(
    pair: PairEngine, tuned: ScriptedEngine, original: ScriptedEngine
) -> None:
    prompts = [Prompt("a", "base", 1), Prompt("b", "finetuned", 2), Prompt("c", "base", 3)]
    *steps, last = pair.stream(prompts, OPTIONS)
    assert last.completions is not None
    assert [completion.text for completion in last.completions] == [" original a", " tuned b to the end", " original c"]
    assert last.new_tokens == sum(len(completion.token_ids) for completion in last.completions)
    assert [[(prompt.text, prompt.variant, prompt.seed) for prompt in batch] for batch in tuned.batches] == [
        [("b", "base", 2)]
    ]
    assert [prompt.text for batch in original.batches for prompt in batch] == ["a", "c"]
    assert steps[0].texts == (" original", " tuned", " original"), "both write at the same time"
    assert all(step.completions is None for step in steps)


def test_one_model_alone_runs_alone(pair: PairEngine, original: ScriptedEngine) -> None:
    *_, last = pair.stream([Prompt("b")], OPTIONS)
    assert last.completions is not None
    assert original.batches == []


def test_closing_and_stopping_reach_both(pair: PairEngine, tuned: ScriptedEngine, original: ScriptedEngine) -> None:
    stream = pair.stream([Prompt("a", "base"), Prompt("b")], OPTIONS)
    next(stream)
    assert (tuned.running, original.running) == (1, 1)
    stream.close()  # type: ignore[attr-defined]
    assert (tuned.running, original.running) == (0, 0)
    cancel = Event()
    cancel.set()
    *_, last = pair.stream([Prompt("a", "base"), Prompt("b")], OPTIONS, cancel=cancel)
    assert {completion.stop_reason for completion in last.completions or ()} == {"stopped"}


def test_scores_are_those_of_the_models(pair: PairEngine, tuned: ScriptedEngine, original: ScriptedEngine) -> None:
    prompts, outputs = [Prompt("a", "base"), Prompt("b"), Prompt("c", "base")], [" x", " y", " z"]
    first, third = original.score([prompts[0], prompts[2]], [" x", " z"])
    (second,) = tuned.score([Prompt("b", "base")], [" y"])
    assert pair.score(prompts, outputs) == [first, second, third]


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_whole_model_has_no_adapter_strength(pair: PairEngine, strength: float) -> None:
    with pytest.raises(SettingsError, match=f"adapter_strength is {strength}, but this model was finetuned as a whole"):
        list(pair.stream([Prompt("a")], replace(OPTIONS, adapter_strength=strength)))
    with pytest.raises(SettingsError, match="adapter_strength"):
        pair.score([Prompt("a")], [" x"], adapter_strength=strength)


def test_other_tokenizers_are_refused(tuned: ScriptedEngine, original: ScriptedEngine) -> None:
    original.tokens = lambda text: Tokens(str(text), (1,), ((0, 1),))  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="tuned and original have different tokenizers"):
        PairEngine(tuned, original)


def test_a_merged_model_and_its_base_answer_as_adapter_and_base_do(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), tiny_adapter).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path / "merged")
    adapted = load_engine(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu")))
    whole = load_engine(plan(ModelSettings(model=str(tmp_path / "merged"), base=str(tiny_base), device="cpu")))
    assert (whole.info.adapter, whole.info.base) == ("merged", adapted.info.base)
    prompts = [Prompt("The train leaves", "finetuned"), Prompt("The train leaves", "base")]
    both = [engine.stream(prompts, GenerationOptions(max_new_tokens=8)) for engine in (adapted, whole)]
    (*_, expected), (*_, found) = both
    assert found.texts == expected.texts
    assert found.texts[0] != found.texts[1], "the adapter of this fixture changes the output"
