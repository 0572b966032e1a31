import json
from pathlib import Path

import pytest

from phi2demo.cards.samples import Sample, make_samples, read_failures, read_prompts, read_samples
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.errors import DataError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.declaration import Declaration

PROMPTS = ["The train", "The small cat", "The train"]


def test_the_prompts_of_the_cards_are_twenty_different_ones() -> None:
    prompts = read_prompts()
    assert len(set(prompts)) == len(prompts) == 20


def load(base: Path, adapter: Path | None = None) -> LocalEngine:
    settings = ModelSettings(model=str(base), adapter=str(adapter) if adapter else None, device="cpu", dtype="float32")
    return LocalEngine.load(plan(settings))


def test_each_prompt_has_its_seed_and_a_rerun_gives_the_same(tiny_base: Path, tiny_adapter: Path) -> None:
    engine = load(tiny_base, tiny_adapter)
    samples = list(make_samples(engine, PROMPTS, Declaration()))
    assert [(sample.prompt, sample.seed, sample.use) for sample in samples] == [
        ("The train", 0, "finetuned"), ("The small cat", 1, "finetuned"), ("The train", 2, "finetuned"),
    ]  # fmt: skip
    assert samples[0].text != samples[2].text
    assert list(make_samples(engine, PROMPTS, Declaration())) == samples


def test_a_bare_base_goes_on_with_the_prompt_itself(tiny_base: Path, tiny_adapter: Path) -> None:
    bare = list(make_samples(load(tiny_base), PROMPTS, Declaration()))
    assert [(sample.prompt, sample.use) for sample in bare] == [(prompt, "base") for prompt in PROMPTS]
    assert bare[0].text != bare[2].text


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    sample = Sample("Où est", 3, "la gare?\n|", "base")
    path = tmp_path / "samples.jsonl"
    path.write_text(sample.to_json() + "\n", encoding="utf-8")
    assert read_samples(path) == [sample]


def test_failures(tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    path.write_text(json.dumps({"input": "a", "output": "b", "reference": "c"}) + "\n")
    (found,) = read_failures(path)
    assert (found.input, found.output, found.reference, found.note) == ("a", "b", "c", "")


@pytest.mark.parametrize(("text", "message"), [("", "holds no lines"), ('{"prompt": "a"}\n', "line 1: KeyError")])
def test_what_is_no_file_of_samples(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_samples(path)
