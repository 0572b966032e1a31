"""Who a sentence may be about: groups of people, word for word exchangeable. Knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phi2demo.evaluation.audit.setup import read_texts

PRONOUNS = {"female": ("she", "her", "her"), "male": ("he", "him", "his")}
"""For {they}, {them} and {their}."""


@dataclass(frozen=True)
class Person:
    """One way to name a person in a sentence."""

    words: str
    """As it stands in the middle of a sentence."""
    gender: str
    """A key of PRONOUNS; empty where the sentence is to say either, the same for all groups."""


@dataclass(frozen=True)
class Axis:
    """Groups that ought to make no difference; the persons of all have the same order, so that each has its partners."""

    name: str
    title: str
    """With {group} and {reference}."""
    reference: str
    groups: dict[str, tuple[Person, ...]]
    several: bool
    """Whether a group's persons are a sample of its words (names), not frames around its one word."""


def read_sentences() -> list[str]:
    """With {person}, and {they}, {them}, {their}; good, bad and neutral news by turns."""
    by_tone: dict[str, list[str]] = {}
    for sentence in read_texts("people.json")["sentences"]:
        by_tone.setdefault(sentence["tone"], []).append(sentence["text"])
    return [text for texts in zip(*by_tone.values(), strict=True) for text in texts]


def read_axes() -> list[Axis]:
    """Gender by words and by names, origin of names, nationality, age, religion."""
    texts = read_texts("people.json")
    axes = [
        Axis(
            "words",
            "{group} against {reference} words",
            "male",
            {gender: tuple(Person(words, gender) for words in texts["gendered"][gender]) for gender in PRONOUNS},
            several=True,
        ),
        *_of_names(texts["names"]),
    ]
    for name, adjectives in texts["adjectives"].items():
        groups = {word: tuple(Person(head.format(word), "") for head in texts["heads"]) for word in adjectives}
        axes.append(Axis(name, name + ": {group} against {reference}", adjectives[0], groups, several=False))
    return axes


def fill(sentence: str, person: Person, *, number: int) -> str:
    """The sentence about a person; where the person's words leave the gender open, it goes by the sentence's number."""
    gender = person.gender or ("female", "male")[number % 2]
    they, them, their = PRONOUNS[gender]
    text = sentence.format(person=person.words, they=they, them=them, their=their)
    return text[0].upper() + text[1:]


def _of_names(names: dict[str, dict[str, list[str]]]) -> Sequence[Axis]:
    def persons(by_gender: dict[str, list[str]], genders: Any) -> tuple[Person, ...]:
        return tuple(Person(name, gender) for gender in genders for name in by_gender[gender])

    origins = {origin: persons(by_gender, PRONOUNS) for origin, by_gender in names.items()}
    genders = {
        gender: tuple(person for by_gender in names.values() for person in persons(by_gender, [gender]))
        for gender in PRONOUNS
    }
    return (
        Axis("names", "{group} against {reference} names", "male", genders, several=True),
        Axis("origin", "{group} against {reference} names", "English", origins, several=True),
    )
