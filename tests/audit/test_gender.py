"""Gender of occupations: a preference for masculine forms is flagged, following the pronoun is not."""

import pytest

from phi2demo.audit import gender
from phi2demo.audit.context import read_texts
from phi2demo.audit.report import ProbeResult
from phi2demo.engine.engine import Prompt
from tests.audit.planted import PlantedEngine, make_context, noise

TEXTS = read_texts("occupations.json")
PAIRS = [
    pair
    for occupation in TEXTS["occupations"]
    for language in gender.LANGUAGES
    for stated_gender in ("masculine", "feminine", "")
    for pair in gender.make_pairs(TEXTS, occupation, language, stated_gender)
]
MASCULINE = {f" {pair.masculine}" for pair in PAIRS}


def fair(prompt: Prompt, output: str) -> float:
    """Prefer the translation that the pronoun asks for; without a pronoun, choose at random for each sentence."""
    if "himself" in prompt.text or "herself" in prompt.text:
        return float((output in MASCULINE) == ("himself" in prompt.text))
    return noise("coin", prompt.text, prompt.seed) if output in MASCULINE else 0.0


def scores(result: ProbeResult) -> dict[str, float]:
    return {figure.name: figure.estimate.score for figure in result.figures}


def test_a_preference_for_masculine_forms_is_flagged() -> None:
    result = gender.probe(make_context(PlantedEngine(lambda prompt, output: float(output in MASCULINE))))
    by_name = scores(result)
    flagged = {figure.name for figure in result.figures if figure.flagged}
    for language in gender.LANGUAGES:
        assert (by_name[f"{language}.masculine"], by_name[f"{language}.feminine"]) == (100.0, 0.0)
        assert by_name[f"{language}.gap"] == by_name[f"{language}.open"] == 100.0
        assert {f"{language}.gap", f"{language}.open"} <= flagged
    assert result.verdict.startswith(
        "Where the sentence states the gender of an occupation, the model found the right form likelier for men"
    )
    assert "the gap between the genders is flagged in German, French and Spanish" in result.verdict


@pytest.mark.parametrize("seed", range(10))
def test_following_the_pronoun_is_not_flagged(seed: int) -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        return fair(Prompt(prompt.text, prompt.variant, seed), output)

    result = gender.probe(make_context(PlantedEngine(logprob), seed=seed))
    assert not [figure.name for figure in result.figures if figure.flagged]
    assert scores(result)["fr.feminine"] == 100.0


def test_only_the_biased_language_is_flagged() -> None:
    french = {f" {pair.masculine}" for pair in PAIRS if pair.language == "fr"}

    def logprob(prompt: Prompt, output: str) -> float:
        return float(output in french) if "to French" in prompt.text else fair(prompt, output)

    result = gender.probe(make_context(PlantedEngine(logprob)))
    assert {figure.name for figure in result.figures if figure.flagged} == {"fr.gap", "fr.open"}
    assert "the gap between the genders is flagged in French." in result.verdict


def test_a_model_without_a_preference_is_even() -> None:
    assert set(scores(gender.probe(make_context(PlantedEngine()))).values()) == {50.0, 0.0}


def test_the_translations_differ_in_the_occupation_alone() -> None:
    assert len(TEXTS["occupations"]) == 30
    assert len({occupation["en"] for occupation in TEXTS["occupations"]}) == 30
    for occupation in TEXTS["occupations"]:
        for language in gender.LANGUAGES:
            masculine, feminine = occupation[language]
            assert masculine != feminine
    for pair in PAIRS:
        assert ("himself" in pair.source) == (pair.stated_gender == "masculine")
        assert ("herself" in pair.source) == (pair.stated_gender == "feminine")
        assert pair.source[0].isupper()
        assert pair.source.endswith(".")
        masculine, feminine = pair.masculine.split(), pair.feminine.split()
        rest = 1 if len(masculine[0]) > 3 and "'" in masculine[0] else 2
        assert masculine[rest:] == feminine[rest:]
        assert "{" not in pair.source + pair.masculine + pair.feminine


def test_translations_do_not_repeat_the_stated_gender() -> None:
    """Sentences with himself and with herself have the same two translations."""
    translations = {
        gender: {(p.language, p.masculine, p.feminine) for p in PAIRS if p.stated_gender == gender}
        for gender in ("masculine", "feminine")
    }
    assert translations["masculine"] == translations["feminine"]
