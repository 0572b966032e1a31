"""Sentiment of people exchanged: planted dislikes are found, noise is not, and pairs differ in the person alone."""

import re
from dataclasses import replace

import pytest

from phi2demo.audit import counterfactual
from phi2demo.audit.counterfactual import PRONOUNS, fill, read_axes, read_sentences
from phi2demo.audit.setup import read_texts
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, noise, setup_of
from tests.tasks.scripted import INFO, body

POLISH = {name for names in read_texts("people.json")["names"]["Polish"].values() for name in names}
NAMES = {
    name
    for genders in read_texts("people.json")["names"].values()
    for names in genders.values()
    for name in names
}  # fmt: skip


def words_of(prompt: Prompt) -> set[str]:
    return set(re.findall(r"[\w-]+", body(prompt.text)))


def flags(engine: PlantedEngine, *, seed: int = 0) -> list[str]:
    outcome = counterfactual.probe(setup_of(engine, seed=seed))
    return [figure.name for figure in outcome.figures if figure.flagged]


def test_a_dislike_of_one_groups_names_is_found_and_nothing_else() -> None:
    def likes(prompt: Prompt, output: str) -> float:
        disliked = bool(words_of(prompt) & POLISH) and output == " positive"
        return (-0.4 if disliked else 0.0) + 0.2 * noise(prompt.text, output)

    assert flags(PlantedEngine(likes)) == ["origin.Polish"]


def test_a_like_of_one_gender_is_found_by_words_and_by_names() -> None:
    texts = read_texts("people.json")
    female = {name for names in texts["names"].values() for name in names["female"]}
    female |= {words.split()[-1] for words in texts["gendered"]["female"]}

    def likes(prompt: Prompt, output: str) -> float:
        return 0.3 if output == " positive" and words_of(prompt) & female else 0.0

    outcome = counterfactual.probe(setup_of(PlantedEngine(likes)))
    found = {figure.name: figure.finding.score for figure in outcome.figures if figure.flagged}
    assert set(found) == {"words.female", "names.female"}
    assert found["words.female"] == pytest.approx(7.44, abs=0.01)  # 1 / (1 + exp(-0.3)) less one half
    assert "for 2 of 31 groups" in outcome.verdict


@pytest.mark.parametrize("seed", range(10))
def test_noise_of_the_texts_is_not_flagged(seed: int) -> None:
    def likes(prompt: Prompt, output: str) -> float:
        return noise(seed, prompt.text, output)

    assert flags(PlantedEngine(likes), seed=seed) == []


@pytest.mark.parametrize("seed", range(10))
def test_single_names_that_are_liked_are_not_taken_for_their_group(seed: int) -> None:
    """Each name has a mood of its own, far above the threshold; no group has."""

    def likes(prompt: Prompt, output: str) -> float:
        return sum(0.5 * noise(seed, word, output) for word in words_of(prompt) & NAMES)

    assert flags(PlantedEngine(likes), seed=seed) == []


def test_too_small_a_shift_is_not_flagged_however_sure() -> None:
    def likes(prompt: Prompt, output: str) -> float:
        return 0.05 if output == " positive" and words_of(prompt) & POLISH else 0.0

    outcome = counterfactual.probe(setup_of(PlantedEngine(likes)))
    polish = next(figure for figure in outcome.figures if figure.name == "origin.Polish")
    assert polish.finding.p is not None
    assert polish.finding.p < 0.05
    assert not polish.flagged
    assert "for none of 31 groups" in outcome.verdict


def test_the_base_stands_beside_and_is_asked_in_the_form_it_knows() -> None:
    def likes(prompt: Prompt, output: str) -> float:
        assert prompt.text.startswith(f"{END_OF_TEXT}Review: " if prompt.variant == "base" else "Instruct: ")
        return -0.5 if prompt.variant == "base" and "Muslim" in prompt.text and output == " positive" else 0.0

    engine = PlantedEngine(likes, info=INFO)
    outcome = counterfactual.probe(setup_of(engine, quick=True))
    muslim = next(figure for figure in outcome.figures if figure.name == "religion.Muslim")
    assert muslim.base is not None
    assert muslim.base.flagged
    assert not muslim.flagged


def test_the_same_seed_gives_the_same() -> None:
    def likes(prompt: Prompt, output: str) -> float:
        return noise(prompt.text, output)

    engine = PlantedEngine(likes)
    assert counterfactual.probe(setup_of(engine, quick=True)) == counterfactual.probe(setup_of(engine, quick=True))
    other = counterfactual.probe(setup_of(engine, quick=True, seed=1))
    assert other.figures[0].finding.score == counterfactual.probe(setup_of(engine, quick=True)).figures[0].finding.score


def test_the_texts_are_many_and_well_formed() -> None:
    sentences, axes = read_sentences(), read_axes()
    assert len(sentences) == len(set(sentences)) == 45
    assert [axis.name for axis in axes] == ["words", "names", "origin", "nationality", "age", "religion"]
    for sentence in sentences:
        assert sentence.count("{person}") == 1
        assert sentence.endswith(".")
    for axis in axes:
        sizes = {len(persons) for persons in axis.groups.values()}
        assert len(sizes) == 1, f"groups of {axis.name} are not of one size"
        words = [person.words for persons in axis.groups.values() for person in persons]
        assert len(words) == len(set(words)), f"a person stands twice in {axis.name}"
        assert axis.reference in axis.groups


def test_pairs_differ_in_the_person_and_the_pronouns_alone() -> None:
    pronouns = {word for words in PRONOUNS.values() for word in words}
    for axis in read_axes():
        for group, persons in axis.groups.items():
            for number, sentence in enumerate(read_sentences()):
                for person, other in zip(persons, axis.groups[axis.reference], strict=True):
                    rest, other_rest = (
                        _without(fill(sentence, each, number=number), each.words, pronouns) for each in (person, other)
                    )
                    assert rest == other_rest, f"{axis.name} {group}: {sentence}"
                    assert "{" not in rest
                    if axis.name not in ("words", "names"):
                        assert person.gender == other.gender


def _without(text: str, words: str, pronouns: set[str]) -> list[str]:
    """The sentence's other words, the first letter's case aside."""
    left = re.sub(re.escape(words), "PERSON", text, count=1, flags=re.IGNORECASE)
    assert left.count("PERSON") == 1
    return ["THEY" if word in pronouns else word for word in re.findall(r"\w+|[^\w\s]", left)]


def test_a_sentence_begins_with_a_capital() -> None:
    person = next(iter(read_axes())).groups["female"][0]
    assert fill("{person} left {their} book.", person, number=0) == "The woman left her book."
    neighbour = replace(person, words="our Polish neighbour", gender="")
    assert fill("{person} left {their} book.", neighbour, number=1) == "Our Polish neighbour left his book."
