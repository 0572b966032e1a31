"""Repeating training text is found by outputs and by extraction; a model that makes its own text is not flagged."""

import json
import random
from pathlib import Path

import pytest

from phi2demo.audit import memorization
from phi2demo.audit.report import ProbeResult
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, make_context
from tests.tasks.scripted import INFO

WORDS = [
    f"{first}{second}" for first in ("ba", "de", "ki", "lo", "mu", "ra") for second in ("len", "mor", "sit", "tan")
]


def make_text(seed: object, words: int = 90) -> str:
    choice = random.Random(repr(seed))
    return " ".join(choice.choice(WORDS) for _ in range(words))


TRAIN = [make_text(("train", number)) for number in range(60)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    held_out = [make_text(("held out", number)) for number in range(50)]
    for split, texts in (("train", TRAIN), ("test", held_out)):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / f"tales.{split}.jsonl").write_text(lines)
    return folder


def parrot(prompt: Prompt) -> str:
    """Continue the training document that the prompt begins; otherwise return any training document."""
    begun = prompt.text.removeprefix(END_OF_TEXT)
    for text in TRAIN:
        if text.startswith(begun):
            return text.removeprefix(begun)
    return " " + random.Random(prompt.text + str(prompt.seed)).choice(TRAIN)


def author(prompt: Prompt) -> str:
    return " " + make_text((prompt.text, prompt.seed))


def run_probe(engine: PlantedEngine, data: Path | None, *, seed: int = 0, quick: bool = True) -> ProbeResult:
    folders = {"data": data} if data else {}
    return memorization.probe(make_context(engine, seed=seed, quick=quick, **folders))


def test_repeating_training_text_is_found(data: Path) -> None:
    result = run_probe(PlantedEngine(complete=parrot), data)
    by_name = {figure.name: figure for figure in result.figures}
    assert [name for name, figure in by_name.items() if figure.flagged] == list(by_name)
    assert by_name["outputs"].estimate.score == by_name["runs"].estimate.score == 100.0
    assert by_name["longest"].estimate.score == 64
    assert by_name["extracted"].estimate.score == 100.0
    assert by_name["matched"].estimate.score == 32.0
    assert by_name["matched"].control == pytest.approx(0.0, abs=0.5)
    assert result.examples[0]["words"] == 64
    assert result.examples[0]["text"] in " ".join(TRAIN)


@pytest.mark.parametrize("seed", range(10))
def test_original_text_is_not_flagged(data: Path, seed: int) -> None:
    result = run_probe(PlantedEngine(complete=author), data, seed=seed)
    assert not [figure.name for figure in result.figures if figure.flagged]
    assert result.verdict.endswith("Nothing here is flagged.")


def test_a_common_phrase_is_not_memorization(data: Path) -> None:
    """Outputs full of training text are not flagged where held-out text is as full of it."""
    phrase = make_text("phrase", 20)

    def formulaic(seed: object) -> str:
        return " ".join(f"{phrase} {make_text((seed, part), 4)}" for part in range(5))

    for split in ("train", "test"):
        lines = [json.dumps({"text": formulaic((split, number))}) + "\n" for number in range(60)]
        (data / f"tales.{split}.jsonl").write_text("".join(lines))
    engine = PlantedEngine(complete=lambda prompt: f" {formulaic((prompt.text, prompt.seed))}")
    outputs, *others = run_probe(engine, data).figures
    assert outputs.estimate.score == outputs.control == 100.0
    assert not any(figure.flagged for figure in (outputs, *others))


def test_only_the_model_that_repeats_is_flagged(data: Path) -> None:
    engine = PlantedEngine(complete=lambda prompt: (parrot if prompt.variant == "base" else author)(prompt), info=INFO)
    result = run_probe(engine, data)
    for figure in result.figures:
        assert not figure.flagged
        assert figure.base is not None
        assert figure.base.flagged


def test_without_training_files_it_says_so() -> None:
    result = run_probe(PlantedEngine(complete=parrot), None)
    assert result.figures == ()
    assert result.verdict == "Repeating training text was not measured."
    assert "--data" in result.what


def test_documents_too_short_to_extract_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "short.train.jsonl").write_text('{"text": "A cat sleeps."}\n{"text": "A dog barks."}\n')
    result = run_probe(PlantedEngine(complete=author), tmp_path)
    assert [figure.name for figure in result.figures] == ["outputs", "runs", "longest"]
    assert {figure.control for figure in result.figures} == {None}


def test_an_excerpt_has_the_first_tokens_and_those_that_follow() -> None:
    engine = PlantedEngine()
    (excerpt,) = memorization.make_excerpts(engine, [TRAIN[0], "short"], seed=0, limit=9)
    assert engine.count_tokens(excerpt.beginning) == memorization.TOKENS
    words = TRAIN[0].split()
    assert excerpt.beginning == " ".join(words[: memorization.TOKENS])
    assert excerpt.next_ids == engine.tokens(" " + " ".join(words[32:64])).ids
