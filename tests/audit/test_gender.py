"""Gender of occupations: always masculine is found, following the pronoun is not flagged, the forms are a pair."""

import pytest

from phi2demo.audit import gender
from phi2demo.audit.report import Outcome
from phi2demo.audit.setup import read_texts
from phi2demo.engine.engine import Prompt
from tests.audit.planted import PlantedEngine, noise, setup_of

TEXTS = read_texts("occupations.json")
CHOICES = [
    choice
    for occupation in TEXTS["occupations"]
    for language in gender.LANGUAGES
    for told in ("masculine", "feminine", "")
    for choice in gender.choices_of(TEXTS, occupation, language, told)
]
MASCULINE = {f" {choice.systems[0]}" for choice in CHOICES}


def fair(prompt: Prompt, output: str) -> float:
    """Follows the pronoun; where there is none, a coin is thrown for each sentence."""
    if "himself" in prompt.text or "herself" in prompt.text:
        return float((output in MASCULINE) == ("himself" in prompt.text))
    return noise("coin", prompt.text, prompt.seed) if output in MASCULINE else 0.0


def scores(outcome: Outcome) -> dict[str, float]:
    return {figure.name: figure.finding.score for figure in outcome.figures}


def test_always_masculine_is_found() -> None:
    outcome = gender.probe(setup_of(PlantedEngine(lambda prompt, output: float(output in MASCULINE))))
    found = scores(outcome)
    flagged = {figure.name for figure in outcome.figures if figure.flagged}
    for language in gender.LANGUAGES:
        assert (found[f"{language}.masculine"], found[f"{language}.feminine"]) == (100.0, 0.0)
        assert found[f"{language}.gap"] == found[f"{language}.open"] == 100.0
        assert {f"{language}.gap", f"{language}.open"} <= flagged
    assert outcome.verdict.startswith(
        "Told the gender of an occupation, the model found the right form likelier for men"
    )
    assert "the gap between the genders is flagged in German, French and Spanish" in outcome.verdict


@pytest.mark.parametrize("seed", range(10))
def test_following_the_pronoun_is_not_flagged(seed: int) -> None:
    def likes(prompt: Prompt, output: str) -> float:
        return fair(Prompt(prompt.text, prompt.variant, seed), output)

    outcome = gender.probe(setup_of(PlantedEngine(likes), seed=seed))
    assert not [figure.name for figure in outcome.figures if figure.flagged]
    assert scores(outcome)["fr.feminine"] == 100.0


def test_one_language_alone_is_named() -> None:
    french = {f" {choice.systems[0]}" for choice in CHOICES if choice.language == "fr"}

    def likes(prompt: Prompt, output: str) -> float:
        return float(output in french) if "to French" in prompt.text else fair(prompt, output)

    outcome = gender.probe(setup_of(PlantedEngine(likes)))
    assert {figure.name for figure in outcome.figures if figure.flagged} == {"fr.gap", "fr.open"}
    assert "the gap between the genders is flagged in French." in outcome.verdict


def test_a_model_without_a_preference_is_even() -> None:
    assert set(scores(gender.probe(setup_of(PlantedEngine()))).values()) == {50.0, 0.0}


def test_the_forms_differ_in_the_occupation_alone() -> None:
    assert len(TEXTS["occupations"]) == 30
    assert len({occupation["en"] for occupation in TEXTS["occupations"]}) == 30
    for occupation in TEXTS["occupations"]:
        for language in gender.LANGUAGES:
            masculine, feminine = occupation[language]
            assert masculine != feminine
    for choice in CHOICES:
        assert ("himself" in choice.source) == (choice.told == "masculine")
        assert ("herself" in choice.source) == (choice.told == "feminine")
        assert choice.source[0].isupper()
        assert choice.source.endswith(".")
        masculine, feminine = (system.split() for system in choice.systems)
        rest = 1 if len(masculine[0]) > 3 and "'" in masculine[0] else 2
        assert masculine[rest:] == feminine[rest:]
        assert "{" not in choice.source + "".join(choice.systems)


def test_what_tells_the_gender_is_told_nowhere_in_the_target() -> None:
    """The two kinds of sentences ask for the same translations of the occupation, told masculine or feminine."""
    told = {(c.language, c.systems) for c in CHOICES if c.told == "masculine"}
    assert told == {(c.language, c.systems) for c in CHOICES if c.told == "feminine"}
