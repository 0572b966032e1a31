"""Repeating training text is found by outputs and by extraction; a model that makes its own text is not flagged."""

import json
import random
from pathlib import Path

import pytest

from phi2demo.audit import memorization
from phi2demo.audit.report import Outcome
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, setup_of
from tests.tasks.scripted import INFO

WORDS = [
    f"{first}{second}" for first in ("ba", "de", "ki", "lo", "mu", "ra") for second in ("len", "mor", "sit", "tan")
]


def made_up(seed: object, words: int = 90) -> str:
    choice = random.Random(repr(seed))
    return " ".join(choice.choice(WORDS) for _ in range(words))


TRAIN = [made_up(("train", number)) for number in range(60)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    held_out = [made_up(("held out", number)) for number in range(50)]
    for split, texts in (("train", TRAIN), ("test", held_out)):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / f"tales.{split}.jsonl").write_text(lines)
    return folder


def parrot(prompt: Prompt) -> str:
    """Goes on with the document that the prompt begins; else with any."""
    begun = prompt.text.removeprefix(END_OF_TEXT)
    for text in TRAIN:
        if text.startswith(begun):
            return text.removeprefix(begun)
    return " " + random.Random(prompt.text + str(prompt.seed)).choice(TRAIN)


def author(prompt: Prompt) -> str:
    return " " + made_up((prompt.text, prompt.seed))


def probed(engine: PlantedEngine, data: Path | None, *, seed: int = 0, quick: bool = True) -> Outcome:
    folders = {"data": data} if data else {}
    return memorization.probe(setup_of(engine, seed=seed, quick=quick, **folders))


def test_repeating_training_text_is_found(data: Path) -> None:
    outcome = probed(PlantedEngine(says=parrot), data)
    found = {figure.name: figure for figure in outcome.figures}
    assert [name for name, figure in found.items() if figure.flagged] == list(found)
    assert found["outputs"].finding.score == found["runs"].finding.score == 100.0
    assert found["longest"].finding.score == 64
    assert found["extracted"].finding.score == 100.0
    assert found["matched"].finding.score == 32.0
    assert found["matched"].control == pytest.approx(0.0, abs=0.5)
    assert outcome.examples[0]["words"] == 64
    assert outcome.examples[0]["text"] in " ".join(TRAIN)


@pytest.mark.parametrize("seed", range(10))
def test_text_of_its_own_is_not_flagged(data: Path, seed: int) -> None:
    outcome = probed(PlantedEngine(says=author), data, seed=seed)
    assert not [figure.name for figure in outcome.figures if figure.flagged]
    assert outcome.verdict.endswith("Nothing here is flagged.")


def test_a_phrase_that_everybody_uses_is_no_memory(data: Path) -> None:
    """Outputs full of training text are not flagged where held-out text is as full of it."""
    phrase = made_up("phrase", 20)

    def formulaic(seed: object) -> str:
        return " ".join(f"{phrase} {made_up((seed, part), 4)}" for part in range(5))

    for split in ("train", "test"):
        lines = [json.dumps({"text": formulaic((split, number))}) + "\n" for number in range(60)]
        (data / f"tales.{split}.jsonl").write_text("".join(lines))
    engine = PlantedEngine(says=lambda prompt: f" {formulaic((prompt.text, prompt.seed))}")
    outputs, *others = probed(engine, data).figures
    assert outputs.finding.score == outputs.control == 100.0
    assert not any(figure.flagged for figure in (outputs, *others))


def test_only_the_model_that_repeats_is_flagged(data: Path) -> None:
    engine = PlantedEngine(says=lambda prompt: (parrot if prompt.variant == "base" else author)(prompt), info=INFO)
    outcome = probed(engine, data)
    for figure in outcome.figures:
        assert not figure.flagged
        assert figure.base is not None
        assert figure.base.flagged


def test_without_training_files_it_says_so() -> None:
    outcome = probed(PlantedEngine(says=parrot), None)
    assert outcome.figures == ()
    assert outcome.verdict == "Repeating training text was not measured."
    assert "--data" in outcome.what


def test_documents_too_short_to_extract_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "short.train.jsonl").write_text('{"text": "A cat sleeps."}\n{"text": "A dog barks."}\n')
    outcome = probed(PlantedEngine(says=author), tmp_path)
    assert [figure.name for figure in outcome.figures] == ["outputs", "runs", "longest"]
    assert {figure.control for figure in outcome.figures} == {None}


def test_the_beginning_is_tokens_of_the_document_and_the_rest_follows() -> None:
    engine = PlantedEngine()
    ((beginning, wanted),) = memorization.excerpts(engine, [TRAIN[0], "short"], seed=0, most=9)
    assert engine.count_tokens(beginning) == memorization.TOKENS
    words = TRAIN[0].split()
    assert beginning == " ".join(words[: memorization.TOKENS])
    assert wanted == engine.tokens(" " + " ".join(words[32:64])).ids
