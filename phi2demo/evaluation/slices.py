"""Which items of a measure belong together: by length, genre and complexity of the person's text, by whether a model may
have been trained or chosen on it, and by how sure the model is of its answer. Knows no score.

Lengths and complexities are computed from the text by the same rule for any data; a genre is what the row says of
itself, or what is known of its data set.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from phi2demo.data.contamination import CONTAMINATION_LABELS, IN_NEITHER, ContaminationLabel
from phi2demo.data.documents import split_sentences
from phi2demo.data.test_sets import Item, TestSet, text_of

Dimension = Literal["length", "genre", "complexity", "contamination", "confidence"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

LEAST_TO_RANK = 20
"""Items. A slice of fewer is shown, and not ranked: its interval is wider than most differences."""

LENGTHS = ("short", "medium", "long")
SENTENCE_WORDS = (8, 20)
"""A text of a translation or a sentiment is short up to so many words, and medium up to so many."""
DOCUMENT_WORDS = (60, 120)
"""The same of what is summarized, asked about, or prose."""

COMPLEXITIES = ("simple", "middling", "complex")
LIX_BOUNDS = (30.0, 45.0)
"""A text is middling from the first LIX on, complex from the second."""
LONG_WORD = 6
"""A word of more letters is long."""

GENRES = ("news", "story", "dialogue", "encyclopedia", "e-mail", "review")
MOST_GENRES = 100
"""Slices by genres that are not in GENRES."""
LONGEST_GENRE = 100
"""Characters of a genre's name."""
GENRE_OF_SET = {
    "african_storybook": "story",
    "african_storybook_en": "story",
    "english_novels": "story",
    "gutenberg_children": "story",
    "onestop_english": "news",
    "rt_polarity": "review",
    "squad_v1.1_dev": "encyclopedia",
    "sst2": "review",
    "tinystories_sample": "story",
    "wikipedia2015_first_sentence": "encyclopedia",
    "wikipedia2015_leads": "encyclopedia",
}
"""Of data sets that hold one genre and do not say so row by row."""

CONFIDENCE_QUINTILES = ("least sure", "less sure", "middling", "surer", "surest")
"""Of the items, by the confidence of the answers."""

_SENTENCE_KINDS = ("translation", "sentiment")


@dataclass(frozen=True)
class ItemSlice:
    """Items of one measure that share a label."""

    by: Dimension
    name: str
    indexes: tuple[int, ...]
    """Of the items, in their order."""
    bounds: tuple[float, float] | None = None
    """The least and the greatest confidence of its answers, where it is of those."""

    @property
    def enough(self) -> bool:
        """Whether there are enough items to rank models by."""
        return len(self.indexes) >= LEAST_TO_RANK


def slices_of(
    test_set: TestSet,
    *,
    contamination: Sequence[ContaminationLabel] | None = None,
    confidences: Sequence[float | None] | None = None,
) -> list[ItemSlice]:
    """By length, genre, complexity, each from its first label to its last; labels that no item has are left out.

    With the `contamination` of each item by that too, unless all are clean: their slice would be the measure. With the
    `confidences` in the answers by fifths of them, an answer without one among the least sure; not of a small measure.
    """
    labels = [labels_of(item, test_set) for item in test_set.items]
    if contamination is not None and set(contamination) - {IN_NEITHER}:
        for each, standing in zip(labels, contamination, strict=True):
            each["contamination"] = standing
    others = sorted({each["genre"] for each in labels if "genre" in each} - set(GENRES))[:MOST_GENRES]
    orders: dict[Dimension, tuple[str, ...]] = {
        "length": LENGTHS, "genre": (*GENRES, *others), "complexity": COMPLEXITIES,
        "contamination": CONTAMINATION_LABELS, "confidence": (),
    }  # fmt: skip
    found = [
        ItemSlice(by, name, tuple(index for index, each in enumerate(labels) if each.get(by) == name))
        for by in DIMENSIONS
        for name in orders[by]
    ]
    return [each for each in (*found, *_quintiles(confidences or ())) if each.indexes]


def _quintiles(confidences: Sequence[float | None]) -> Iterator[ItemSlice]:
    """Of about as many items each; nothing where those would be too few to rank, or no answer has a confidence."""
    if len(confidences) < len(CONFIDENCE_QUINTILES) * LEAST_TO_RANK or all(value is None for value in confidences):
        return
    values = [value or 0.0 for value in confidences]
    order = sorted(range(len(values)), key=lambda index: (values[index], index))
    for at, name in enumerate(CONFIDENCE_QUINTILES):
        part = order[at * len(order) // len(CONFIDENCE_QUINTILES) : (at + 1) * len(order) // len(CONFIDENCE_QUINTILES)]
        yield ItemSlice("confidence", name, tuple(sorted(part)), (values[part[0]], values[part[-1]]))


def labels_of(item: Item, test_set: TestSet) -> dict[Dimension, str]:
    """The labels of one item that its text and its set give; without `genre` where none is known."""
    text, language = text_of(item.row, test_set.kind), str(item.row.get("source_lang", "en"))
    labels: dict[Dimension, str] = {
        "length": length_of(text, test_set.kind),
        "complexity": complexity_of(text, language=language),
    }
    if genre := _genre_of(item.row, test_set):
        labels["genre"] = genre
    return labels


def length_of(text: str, kind: str) -> str:
    """One of LENGTHS, by words between white space."""
    bounds = SENTENCE_WORDS if kind in _SENTENCE_KINDS else DOCUMENT_WORDS
    return LENGTHS[sum(len(text.split()) > bound for bound in bounds)]


def complexity_of(text: str, *, language: str = "en") -> str:
    """One of COMPLEXITIES, by LIX."""
    found = lix(text, language=language)
    return COMPLEXITIES[sum(found >= bound for bound in LIX_BOUNDS)]


def lix(text: str, *, language: str = "en") -> float:
    """Words per sentence + percentage of words of more than six letters (Björnsson, "Läsbarhet", 1968); 0 for no words.

    It needs neither syllables nor word lists, so it works for every language that separates words by spaces. Words
    stand between white space, their letters are counted without digits and punctuation, and sentences end where the
    app ends them.
    """
    words = text.split()
    if not words:
        return 0.0
    sentences = sum(bool(sentence.strip()) for sentence in split_sentences(text, language=language))
    long = sum(sum(map(str.isalpha, word)) > LONG_WORD for word in words)
    return len(words) / sentences + 100 * long / len(words)


def describe_slicing() -> dict[str, Any]:
    """What the labels mean, as JSON values for a report."""
    words = {"sentences": SENTENCE_WORDS, "documents": DOCUMENT_WORDS}
    return {
        "length": {
            "rule": "words between white space",
            "names": list(LENGTHS),
            "up_to": {name: list(bounds) for name, bounds in words.items()},
            "sentences": list(_SENTENCE_KINDS),
        },
        "genre": {"rule": "as the row says, else as known of its data set", "names": list(GENRES)},
        "complexity": {
            "rule": "LIX",
            "names": list(COMPLEXITIES),
            "from": list(LIX_BOUNDS),
            "formula": f"words / sentences + 100 * words of more than {LONG_WORD} letters / words",
        },
        "contamination": {
            "rule": "whether the text or a good answer stands in training or validation files beside the measured one: "
            "of eight words and more where they hold 70 % of its runs of eight words, of fewer as a whole",
            "names": list(CONTAMINATION_LABELS),
        },
        "confidence": {
            "rule": "fifths of the items by the finetuned model's confidence in its answers: the geometric mean of the "
            "probabilities of the tokens, or the probability of the label",
            "names": list(CONFIDENCE_QUINTILES),
        },
        "least_to_rank": LEAST_TO_RANK,
    }


def _genre_of(row: Mapping[str, Any], test_set: TestSet) -> str | None:
    genre = row.get("genre")
    if isinstance(genre, str):
        printable = "".join(character if character.isprintable() else " " for character in genre.lower())
        if words := " ".join(printable.split()):
            return words[:LONGEST_GENRE]
    return GENRE_OF_SET.get(_set_of(test_set))


def _set_of(test_set: TestSet) -> str:
    """The name of the data set: of `translation.tatoeba.en-de`, `tatoeba`."""
    name = test_set.name.partition(".")[2]
    return name.rpartition(".")[0] if test_set.kind == "translation" else name
