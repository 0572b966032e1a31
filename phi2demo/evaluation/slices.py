"""Slices of a test set: by length, genre and complexity of the input text, by whether a model may have seen it in training,
and by how confident the model is in its answer. Knows no score.

Lengths and complexities are computed from the text, by the same rule for all data. The genre is given by the row, or
known for its data set.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

from phi2demo.data.contamination import CONTAMINATION_LABELS, IN_NEITHER, ContaminationLabel
from phi2demo.data.documents import split_sentences
from phi2demo.data.test_sets import Item, TestSet, text_of

Dimension = Literal["length", "genre", "complexity", "contamination", "confidence"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

LEAST_TO_RANK = 20
"""Items. A slice with fewer is shown but not ranked: its interval is wider than most differences."""

LENGTHS = ("short", "medium", "long")
SENTENCE_WORDS = (8, 20)
"""The most words of a short and of a medium text to translate or classify."""
DOCUMENT_WORDS = (60, 120)
"""The same for texts to summarize or ask about, and for prose."""

COMPLEXITIES = ("simple", "middling", "complex")
LIX_BOUNDS = (30.0, 45.0)
"""A text is middling from the first LIX value on, complex from the second."""
LONG_WORD = 6
"""A word with more letters is long."""

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
"""By data set, for those with one genre that their rows do not give."""

CONFIDENCE_QUINTILES = ("least sure", "less sure", "middling", "surer", "surest")
"""Names of the quintiles of the items by the confidence in the answers."""

_SENTENCE_KINDS = ("translation", "sentiment")


@dataclass(frozen=True)
class ItemSlice:
    """Items of one test set that share a label."""

    by: Dimension
    name: str
    indexes: tuple[int, ...]
    """Of the items, in order."""
    bounds: tuple[float, float] | None = None
    """The lowest and the highest confidence, in a slice by confidence."""

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
    """Slice by length, genre and complexity, each from its first label to its last; labels without items are left out.

    With the `contamination` of each item, slice by it too, unless all items are clean. With the `confidences` in the
    answers, slice by their quintiles too, where the test set is large enough; an answer without a confidence counts as
    the least sure.
    """
    labels = [labels_of(item, test_set) for item in test_set.items]
    if contamination is not None and set(contamination) - {IN_NEITHER}:
        for item_labels, label in zip(labels, contamination, strict=True):
            item_labels["contamination"] = label
    others = sorted({by["genre"] for by in labels if "genre" in by} - set(GENRES))[:MOST_GENRES]
    orders: dict[Dimension, tuple[str, ...]] = {
        "length": LENGTHS, "genre": (*GENRES, *others), "complexity": COMPLEXITIES,
        "contamination": CONTAMINATION_LABELS, "confidence": (),
    }  # fmt: skip
    slices = [
        ItemSlice(by, name, tuple(index for index, item_labels in enumerate(labels) if item_labels.get(by) == name))
        for by in DIMENSIONS
        for name in orders[by]
    ]
    return [part for part in (*slices, *_quintiles(confidences or ())) if part.indexes]


def _quintiles(confidences: Sequence[float | None]) -> Iterator[ItemSlice]:
    """Split the items into five parts of about the same size; none where they are too few, or without confidences."""
    if len(confidences) < len(CONFIDENCE_QUINTILES) * LEAST_TO_RANK or all(value is None for value in confidences):
        return
    values = [value or 0.0 for value in confidences]
    order = sorted(range(len(values)), key=lambda index: (values[index], index))
    ends = [index * len(order) // len(CONFIDENCE_QUINTILES) for index in range(len(CONFIDENCE_QUINTILES) + 1)]
    for name, (start, end) in zip(CONFIDENCE_QUINTILES, pairwise(ends), strict=True):
        part = order[start:end]
        yield ItemSlice("confidence", name, tuple(sorted(part)), (values[part[0]], values[part[-1]]))


def labels_of(item: Item, test_set: TestSet) -> dict[Dimension, str]:
    """Label one item by its text and its data set; without `genre` where it is unknown."""
    text, language = text_of(item.row, test_set.kind), str(item.row.get("source_lang", "en"))
    labels: dict[Dimension, str] = {
        "length": length_of(text, test_set.kind),
        "complexity": complexity_of(text, language=language),
    }
    if genre := _genre_of(item.row, test_set):
        labels["genre"] = genre
    return labels


def length_of(text: str, kind: str) -> str:
    """Choose one of LENGTHS, by words between white space."""
    bounds = SENTENCE_WORDS if kind in _SENTENCE_KINDS else DOCUMENT_WORDS
    return LENGTHS[sum(len(text.split()) > bound for bound in bounds)]


def complexity_of(text: str, *, language: str = "en") -> str:
    """Choose one of COMPLEXITIES, by LIX."""
    value = lix(text, language=language)
    return COMPLEXITIES[sum(value >= bound for bound in LIX_BOUNDS)]


def lix(text: str, *, language: str = "en") -> float:
    """Compute words per sentence + percentage of words of more than six letters (Björnsson, "Läsbarhet", 1968); 0 for no words.

    It needs neither syllables nor word lists, so it works for every language that separates words by spaces. Letters are
    counted without digits and punctuation, and sentences are split as in the app.
    """
    words = text.split()
    if not words:
        return 0.0
    sentences = sum(bool(sentence.strip()) for sentence in split_sentences(text, language=language))
    long = sum(sum(map(str.isalpha, word)) > LONG_WORD for word in words)
    return len(words) / sentences + 100 * long / len(words)


def describe_slicing() -> dict[str, Any]:
    """Explain the labels, as JSON values for a report."""
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
            "rule": "quintiles of the items by the finetuned model's confidence in its answers: the geometric mean of the "
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
    """Give the name of the data set: `tatoeba` for `translation.tatoeba.en-de`."""
    name = test_set.name.partition(".")[2]
    return name.rpartition(".")[0] if test_set.kind == "translation" else name
