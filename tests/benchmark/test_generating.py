"""The comparison with transformers, on a tiny model and with few tokens."""

from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.benchmark.generating import OPENINGS, Batch, compare, make_batches
from phi2demo.engine.engine import END_OF_TEXT, GenerationOptions
from phi2demo.engine.loading import LoadedModel, load
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.transformers_model import TransformersModel
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings

FEW = (
    Batch("one", ("The train leaves",), GenerationOptions(max_new_tokens=5)),
    Batch("three", ("It rained", "A small model reads", "The cat"), GenerationOptions(max_new_tokens=4, num_beams=2)),
)


@pytest.fixture(scope="module")
def loaded(tiny_base: Path, tiny_adapter: Path) -> LoadedModel:
    return load(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu")))


def test_both_sides_generate_the_same_and_seconds_add_up(loaded: LoadedModel) -> None:
    lines: list[str] = []
    result = compare(loaded, LocalEngine(TransformersModel(loaded)), FEW, repeats=2, report=lines.append)
    assert (result.same, result.rows) == (4, 4)
    assert [batch.new_tokens <= 4 * batch.rows + 1 for batch in result.batches] == [True, True]
    assert result.ratio == pytest.approx(result.baseline_seconds / result.ours_seconds)
    assert result.baseline_seconds == pytest.approx(sum(batch.baseline_seconds for batch in result.batches))
    assert len(lines) == 2


def test_another_model_on_our_side_is_seen(loaded: LoadedModel, tiny_base: Path) -> None:
    base = LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu")))
    longer = replace(FEW[0], options=GenerationOptions(max_new_tokens=20))
    assert compare(loaded, base, [longer]).same == 0


def test_no_repeats_are_refused(loaded: LoadedModel) -> None:
    with pytest.raises(SettingsError, match="--repeats 0: give a number from 1"):
        compare(loaded, LocalEngine(TransformersModel(loaded)), FEW, repeats=0)


def test_batches_are_the_tasks_as_the_app_asks_them() -> None:
    batches = make_batches()
    assert [len(batch.prompts) for batch in batches] == [1, 1, 2, 16, 16]
    for batch in batches:
        if "stor" in batch.name:
            assert batch.prompts == tuple(f"{END_OF_TEXT}{text}" for text in OPENINGS[: len(batch.prompts)])
        else:
            assert all(prompt.startswith("Instruct: ") and prompt.endswith("Output:") for prompt in batch.prompts)
