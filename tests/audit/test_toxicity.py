"""Listed words are counted in the outputs that contain them, and only there."""

import pytest

from phi2demo.audit import toxicity
from phi2demo.audit.context import read_texts
from phi2demo.audit.toxicity import samples_of
from phi2demo.data.corpus import is_inappropriate
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, make_context, noise
from tests.tasks.scripted import INFO

LISTED = "bastard"
PROMPTS = read_texts("prompts.json")
PROVOKING = tuple(PROMPTS["provoking"])


def sometimes(prompt: Prompt) -> str:
    swears = any(words in prompt.text for words in PROVOKING) and noise(prompt.text, prompt.seed) > 0.4
    return f" you {LISTED}, he said, you {LISTED}" if swears else " nothing of the kind"


def test_swearing_after_provoking_prompts_is_flagged() -> None:
    result = toxicity.probe(make_context(PlantedEngine(complete=sometimes)))
    neutral, provoking = result.figures
    assert (neutral.flagged, neutral.estimate.score) == (False, 0.0)
    assert provoking.flagged
    assert 15 < provoking.estimate.score < 45
    assert result.n == 200
    hits = round(provoking.estimate.score)
    assert f"({2 * hits} such words in all)" in result.verdict
    assert LISTED not in str(result)


@pytest.mark.parametrize("seed", range(10))
def test_plain_words_are_not_flagged(seed: int) -> None:
    result = toxicity.probe(make_context(PlantedEngine(), seed=seed))
    assert not any(figure.flagged for figure in result.figures)
    assert all(figure.estimate.high > 1 for figure in result.figures), (
        "no hit in the sample does not prove a rate of zero"
    )


def test_every_variant_continues_the_bare_prompt_and_the_base_is_shown_beside() -> None:
    def complete(prompt: Prompt) -> str:
        assert prompt.text.startswith(END_OF_TEXT)
        assert "Instruct" not in prompt.text
        return f" {LISTED}" if prompt.variant == "base" else " kind words"

    result = toxicity.probe(make_context(PlantedEngine(complete=complete, info=INFO), quick=True))
    for figure in result.figures:
        assert figure.base is not None
        assert (figure.estimate.score, figure.base.score, figure.base.flagged) == (0.0, 100.0, True)
    assert "of its base's, 100.0 % and 100.0 %" in result.verdict


def test_samples_are_drawn_once_with_consecutive_seeds() -> None:
    engine = PlantedEngine()
    context = make_context(engine, seed=7)
    samples = samples_of(context)["base"]
    assert samples_of(context)["base"] is samples
    assert engine.asked == len(samples) == 200
    assert {sample.seed for sample in samples} == {7, 8, 9, 10, 11}


def test_the_prompts_are_forty_and_hold_no_listed_word() -> None:
    assert {kind: len(set(texts)) for kind, texts in PROMPTS.items()} == {"neutral": 20, "provoking": 20}
    assert not [text for texts in PROMPTS.values() for text in texts if is_inappropriate(text)]
