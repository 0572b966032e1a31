"""Sentiment of exchanged persons: planted biases are flagged, noise is not, and pairs differ in the person alone."""

import re
from dataclasses import replace

import pytest

from phi2demo.audit import counterfactual
from phi2demo.audit.context import read_texts
from phi2demo.audit.counterfactual import PRONOUNS, fill, read_axes, read_sentences
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, make_context, noise
from tests.tasks.scripted import INFO, body

POLISH = {name for names in read_texts("demographics.json")["names"]["Polish"].values() for name in names}
NAMES = {
    name
    for genders in read_texts("demographics.json")["names"].values()
    for names in genders.values()
    for name in names
}  # fmt: skip


def words_of(prompt: Prompt) -> set[str]:
    return set(re.findall(r"[\w-]+", body(prompt.text)))


def flags(engine: PlantedEngine, *, seed: int = 0) -> list[str]:
    result = counterfactual.probe(make_context(engine, seed=seed))
    return [figure.name for figure in result.figures if figure.flagged]


def test_a_bias_against_one_groups_names_is_flagged_and_nothing_else() -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        disliked = bool(words_of(prompt) & POLISH) and output == " positive"
        return (-0.4 if disliked else 0.0) + 0.2 * noise(prompt.text, output)

    assert flags(PlantedEngine(logprob)) == ["origin.Polish"]


def test_a_bias_for_one_gender_is_flagged_by_words_and_by_names() -> None:
    texts = read_texts("demographics.json")
    female = {name for names in texts["names"].values() for name in names["female"]}
    female |= {words.split()[-1] for words in texts["gendered"]["female"]}

    def logprob(prompt: Prompt, output: str) -> float:
        return 0.3 if output == " positive" and words_of(prompt) & female else 0.0

    result = counterfactual.probe(make_context(PlantedEngine(logprob)))
    by_name = {figure.name: figure.estimate.score for figure in result.figures if figure.flagged}
    assert set(by_name) == {"words.female", "names.female"}
    assert by_name["words.female"] == pytest.approx(7.44, abs=0.01)  # 1 / (1 + exp(-0.3)) less one half
    assert "for 2 of 31 groups" in result.verdict


@pytest.mark.parametrize("seed", range(10))
def test_noise_of_the_texts_is_not_flagged(seed: int) -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        return noise(seed, prompt.text, output)

    assert flags(PlantedEngine(logprob), seed=seed) == []


@pytest.mark.parametrize("seed", range(10))
def test_preferences_for_single_names_are_not_taken_for_their_group(seed: int) -> None:
    """Every name has its own preference, far above the threshold; no group has one."""

    def logprob(prompt: Prompt, output: str) -> float:
        return sum(0.5 * noise(seed, word, output) for word in words_of(prompt) & NAMES)

    assert flags(PlantedEngine(logprob), seed=seed) == []


def test_a_small_shift_is_not_flagged_even_if_significant() -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        return 0.05 if output == " positive" and words_of(prompt) & POLISH else 0.0

    result = counterfactual.probe(make_context(PlantedEngine(logprob)))
    polish = next(figure for figure in result.figures if figure.name == "origin.Polish")
    assert polish.estimate.p is not None
    assert polish.estimate.p < 0.05
    assert not polish.flagged
    assert "for none of 31 groups" in result.verdict


def test_the_base_is_shown_beside_and_prompted_in_its_plain_style() -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        assert prompt.text.startswith(f"{END_OF_TEXT}Review: " if prompt.variant == "base" else "Instruct: ")
        return -0.5 if prompt.variant == "base" and "Muslim" in prompt.text and output == " positive" else 0.0

    engine = PlantedEngine(logprob, info=INFO)
    result = counterfactual.probe(make_context(engine, quick=True))
    muslim = next(figure for figure in result.figures if figure.name == "religion.Muslim")
    assert muslim.base is not None
    assert muslim.base.flagged
    assert not muslim.flagged


def test_the_same_seed_gives_the_same() -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        return noise(prompt.text, output)

    engine = PlantedEngine(logprob)
    assert counterfactual.probe(make_context(engine, quick=True)) == counterfactual.probe(
        make_context(engine, quick=True)
    )
    partner = counterfactual.probe(make_context(engine, quick=True, seed=1))
    assert (
        partner.figures[0].estimate.score
        == counterfactual.probe(make_context(engine, quick=True)).figures[0].estimate.score
    )


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
                for person, partner in zip(persons, axis.groups[axis.reference], strict=True):
                    rest, other_rest = (
                        _without(fill(sentence, named, number=number), named.words, pronouns)
                        for named in (person, partner)
                    )
                    assert rest == other_rest, f"{axis.name} {group}: {sentence}"
                    assert "{" not in rest
                    if axis.name not in ("words", "names"):
                        assert person.gender == partner.gender


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
