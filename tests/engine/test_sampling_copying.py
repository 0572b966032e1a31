"""What stands in the prompt is preferred, row by row, whoever writes and whatever stands beside it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from phi2demo.engine.engine import GenerationOptions, Prompt
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.sampling import CopyBias, Vocabulary
from tests.engine.engines import KINDS, made_for
from tests.engine.test_local import last, texts

ROWS = [
    Prompt("The train leaves the station and", "finetuned", without="The"),
    Prompt("A small model", "base", without="A"),
    Prompt("It rained", "finetuned", without="It"),
]
END, PAD, COMMON = 0, 1, 4


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest, tiny_adapter: Path) -> LocalEngine:
    return made_for(request.param, tiny_adapter)


def biased(prompts: list[list[int]], scores: list[list[float]], *, guided: bool = False) -> torch.Tensor:
    vocabulary = Vocabulary(torch.tensor([END, COMMON, 99]), PAD)
    ids: Any = torch.tensor(prompts)
    given: Any = torch.tensor(scores)
    return CopyBias(2.0, 3, vocabulary, guided=guided)(ids, given)


def test_tokens_of_the_prompt_and_common_tokens_get_the_bias() -> None:
    """Not what stands in the output alone, nor padding, nor a common token that the model has no score for."""
    biased_values = biased([[PAD, 5, 2, 3], [5, 6, 5, 3]], [[0.0] * 7, [0.5] * 7])
    assert biased_values.exp().sum(-1).tolist() == pytest.approx([1.0, 1.0])
    above = (biased_values - biased_values[:, 3:4]).tolist()
    assert above[0] == pytest.approx([2.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0])
    assert above[1] == pytest.approx([2.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0])


def test_a_guide_has_the_words_of_its_row() -> None:
    row, guide = biased([[5, 6, 2], [PAD, PAD, 3]], [[0.0] * 7, [0.0] * 7], guided=True)
    assert torch.equal(row, guide)
    assert row[6] > row[3]


def test_tokens_that_every_text_needs(engine: LocalEngine) -> None:
    tokenizer = engine._tokenizer
    vocabulary = engine._model._vocabulary()
    assert vocabulary is engine._model._vocabulary(), "found once"
    texts = {tokenizer.decode([token]) for token in vocabulary.common.tolist()}
    assert {".", ",", "\n", " the", tokenizer.eos_token} <= texts
    assert not {" train", "t", "1", "\ufffd", tokenizer.pad_token} & texts
    assert vocabulary.pad_id == engine._model.pad_token_id


@pytest.mark.parametrize("guidance", [1.0, 1.5])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_great_bias_leaves_nothing_else(engine: LocalEngine, guidance: float, beams: int) -> None:
    options = GenerationOptions(max_new_tokens=12, copy_bias=10.0, guidance_scale=guidance, num_beams=beams)
    common = set(engine._model._vocabulary().common.tolist())
    free = last(engine.stream(ROWS, GenerationOptions(max_new_tokens=12))).completions or ()
    bound = last(engine.stream(ROWS, options)).completions or ()
    for row, free_completion, bound_completion in zip(ROWS, free, bound, strict=True):
        allowed = common | set(engine._encoder.encode_prompts([row.text])[0])
        assert not set(free_completion.token_ids) <= allowed, "this model says other things by itself"
        assert set(bound_completion.token_ids) <= allowed


@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(max_new_tokens=12, copy_bias=2.0),
        GenerationOptions(max_new_tokens=12, copy_bias=2.0, guidance_scale=1.5, repetition_penalty=1.3),
        GenerationOptions(max_new_tokens=12, copy_bias=2.0, guidance_scale=1.5, num_beams=3),
        GenerationOptions(max_new_tokens=12, copy_bias=2.0, temperature=1.0),
    ],
    ids=["greedy", "guided", "beams", "sampled"],
)
def test_a_row_writes_the_same_alone_and_among_others(engine: LocalEngine, options: GenerationOptions) -> None:
    together = texts(engine, ROWS, options)
    assert together == [texts(engine, [row], options)[0] for row in ROWS]
