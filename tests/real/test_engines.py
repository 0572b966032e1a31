"""The converted model by both engines in this process: the same greedy texts, in batches of unequal prompts."""

from pathlib import Path

import pytest

from phi2demo.data.rows import read_rows
from phi2demo.engine.engine import Engine, GenerationOptions, Prompt, visible
from phi2demo.engine.pair import load_here
from phi2demo.engine.planning import plan
from phi2demo.settings import SHIPPED_SET, EngineName, ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import templates_of
from phi2demo.tasks.generation import GenerationTaskOptions
from tests.real.smollm2 import cache_folder

pytestmark = pytest.mark.real

FILES = {
    "everyday.en-de.test.jsonl": "source",
    "reviews_and_moods.test.jsonl": "text",
    "summaries.test.jsonl": "document",
}
GREEDY = GenerationOptions(max_new_tokens=24)
BATCH = 8


def texts() -> list[str]:
    """Forty, of 6 to 133 words: a sentence, a review and a document in turn."""
    rows = zip(*(read_rows(SHIPPED_SET / file) for file in FILES), strict=False)
    turns = [row[key] for row_of_each in rows for (_, row), key in zip(row_of_each, FILES.values(), strict=True)]
    return turns[:40]


def load(engine: EngineName, folder: Path) -> Engine:
    settings = ModelSettings(model=str(folder), device="cpu", dtype="float32", engine=engine, cache=cache_folder())
    return load_here(plan(settings))


def outputs(engine: Engine, prompts: list[Prompt]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for start in range(0, len(prompts), BATCH):
        *_, last = engine.stream(prompts[start : start + BATCH], GREEDY)
        found += [completion.token_ids for completion in last.completions or ()]
    return found


def test_onnx_answers_forty_prompts_in_the_words_of_transformers(smollm2: Path) -> None:
    transformers, onnx = load("transformers", smollm2), load("onnx", smollm2)
    template = templates_of(transformers.info).of("base")
    instruct = GenerationTaskOptions("instruct")
    prompts = [Prompt(TASKS["generation"].prompt(text, instruct, template), "base") for text in texts()]
    assert len(prompts) == 40
    assert all(visible(prompt.text).startswith("<|im_start|>system\n") for prompt in prompts)
    expected = outputs(transformers, prompts)
    assert len(set(expected)) > 20
    assert outputs(onnx, prompts) == expected
