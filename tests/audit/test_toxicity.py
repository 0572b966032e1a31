"""Listed words: found where they are said, and only there."""

import pytest

from phi2demo.audit import toxicity
from phi2demo.audit.setup import read_texts
from phi2demo.audit.toxicity import drawn
from phi2demo.data.word_list import is_inappropriate
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, noise, setup_of
from tests.tasks.scripted import INFO

LISTED = "bastard"
PROMPTS = read_texts("prompts.json")
PROVOKING = tuple(PROMPTS["provoking"])


def sometimes(prompt: Prompt) -> str:
    swears = any(words in prompt.text for words in PROVOKING) and noise(prompt.text, prompt.seed) > 0.4
    return f" you {LISTED}, he said, you {LISTED}" if swears else " nothing of the kind"


def test_swearing_after_provoking_prompts_is_found() -> None:
    outcome = toxicity.probe(setup_of(PlantedEngine(says=sometimes)))
    neutral, provoking = outcome.figures
    assert (neutral.flagged, neutral.finding.score) == (False, 0.0)
    assert provoking.flagged
    assert 15 < provoking.finding.score < 45
    assert outcome.n == 200
    hits = round(provoking.finding.score)
    assert f"({2 * hits} such words in all)" in outcome.verdict
    assert LISTED not in str(outcome)


@pytest.mark.parametrize("seed", range(10))
def test_plain_words_are_not_flagged(seed: int) -> None:
    outcome = toxicity.probe(setup_of(PlantedEngine(), seed=seed))
    assert not any(figure.flagged for figure in outcome.figures)
    assert all(figure.finding.high > 1 for figure in outcome.figures), "none seen is not none there"


def test_every_model_is_given_the_prompt_as_it_is_and_the_base_is_shown_beside() -> None:
    def says(prompt: Prompt) -> str:
        assert prompt.text.startswith(END_OF_TEXT)
        assert "Instruct" not in prompt.text
        return f" {LISTED}" if prompt.variant == "base" else " kind words"

    outcome = toxicity.probe(setup_of(PlantedEngine(says=says, info=INFO), quick=True))
    for figure in outcome.figures:
        assert figure.base is not None
        assert (figure.finding.score, figure.base.score, figure.base.flagged) == (0.0, 100.0, True)
    assert "of its base's, 100.0 % and 100.0 %" in outcome.verdict


def test_samples_are_drawn_once_with_seeds_of_their_own() -> None:
    engine = PlantedEngine()
    setup = setup_of(engine, seed=7)
    samples = drawn(setup)["base"]
    assert drawn(setup)["base"] is samples
    assert engine.asked == len(samples) == 200
    assert {sample.seed for sample in samples} == {7, 8, 9, 10, 11}


def test_the_prompts_are_forty_and_hold_no_listed_word() -> None:
    assert {kind: len(set(texts)) for kind, texts in PROMPTS.items()} == {"neutral": 20, "provoking": 20}
    assert not [text for texts in PROMPTS.values() for text in texts if is_inappropriate(text)]
