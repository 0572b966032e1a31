import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.contamination import IN_NEITHER, IN_TRAINING
from phi2demo.data.test_sets import DataFile, Item, TestSet, read_test_sets, select
from phi2demo.evaluation.slices import (
    CONFIDENCE_QUINTILES,
    DIMENSIONS,
    LEAST_TO_RANK,
    complexity_of,
    describe_slicing,
    labels_of,
    length_of,
    lix,
    slices_of,
)

FILE = DataFile("x.test.jsonl", "00", "test")


def measure_of(rows: list[dict[str, Any]], *, name: str = "sentiment.x", kind: str = "sentiment") -> TestSet:
    return TestSet(name, kind, FILE, tuple(Item(index, row, ("positive",)) for index, row in enumerate(rows)))


def named(test_set: TestSet) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(item.by, item.name): item.indexes for item in slices_of(test_set)}


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("", "en", 0.0),
        ("  \n ", "en", 0.0),
        ("The cat sleeps.", "en", 3.0),  # sleeps has six letters: not long
        ("The cat is sleeping.", "en", 4 + 25),
        ("It rained. We stayed at home.", "en", 3.0),
        ("First line\n\nsecond line", "en", 2.0),  # a line break ends a sentence, an empty line is none
        ("Dr. Smith lives at No. 5 in Leeds.", "en", 8.0),  # a full stop in an abbreviation ends none
        ("He paid 1,250,000 then.", "en", 4.0),  # digits are no letters
        (
            '"Kitchen!" - "Bedroom?"',
            "en",
            3 / 2 + 100 * 2 / 3,
        ),  # punctuation counts as no letter, a lone dash as a word
        ("Die Straßenbahn fährt z. B. sonntags nicht.", "de", 7 + 200 / 7),
        ("C'était l'été dernier.", "fr", 3 + 100 * 1 / 3),
        ("well-known don't", "en", 2 + 50),
    ],
)
def test_lix(text: str, language: str, expected: float) -> None:
    assert lix(text, language=language) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("words", "kind", "expected"),
    [
        (1, "translation", "short"), (8, "translation", "short"), (9, "sentiment", "medium"),
        (20, "translation", "medium"), (21, "sentiment", "long"), (60, "summarization", "short"),
        (61, "question_answering", "medium"), (120, "summarization", "medium"), (121, "question_answering", "long"),
        (60, "prose", "short"), (121, "continuation", "long"),
    ],
)  # fmt: skip
def test_lengths(words: int, kind: str, expected: str) -> None:
    assert length_of(" a\n" * words, kind) == expected


@pytest.mark.parametrize(
    ("words", "long", "expected"), [(20, 1, "simple"), (20, 2, "middling"), (20, 4, "middling"), (20, 5, "complex")]
)
def test_complexities_begin_at_their_bounds(words: int, long: int, expected: str) -> None:
    text = " ".join(["kitchen"] * long + ["cat"] * (words - long))  # LIX 25, 30, 40, 45
    assert complexity_of(text) == expected


def test_slices_hold_each_item_once_in_a_fixed_order() -> None:
    rows = [
        {"text": "Good.", "genre": "review"},
        {"text": "a " * 30, "genre": " Poem "},
        {"text": "Internationalization!", "genre": "news"},
        {"text": "Fine.", "genre": 5},
        {"text": "word " * 12},
    ]
    test_set = measure_of(rows)
    assert named(test_set) == {
        ("length", "short"): (0, 2, 3),
        ("length", "medium"): (4,),
        ("length", "long"): (1,),
        ("genre", "news"): (2,),
        ("genre", "review"): (0,),
        ("genre", "poem"): (1,),
        ("complexity", "simple"): (0, 3, 4),
        ("complexity", "middling"): (1,),
        ("complexity", "complex"): (2,),
    }
    assert [(item.by, item.name) for item in slices_of(test_set)] == list(named(test_set))
    assert all(not item.enough for item in slices_of(test_set))


def test_items_are_sliced_by_contamination_where_any_is_contaminated() -> None:
    test_set = measure_of([{"text": "a"}] * 3)
    result = slices_of(test_set, contamination=[IN_NEITHER, IN_TRAINING, IN_NEITHER])
    assert [(item.name, item.indexes) for item in result if item.by == "contamination"] == [
        (IN_TRAINING, (1,)), (IN_NEITHER, (0, 2)),
    ]  # fmt: skip
    assert [item for item in result if item.by != "contamination"] == slices_of(test_set)
    assert slices_of(test_set, contamination=[IN_NEITHER] * 3) == slices_of(test_set)


def test_items_are_sliced_by_quintiles_of_confidence() -> None:
    test_set = measure_of([{"text": "a"}] * 103)
    values: list[float | None] = [((index * 37) % 103) / 103 for index in range(103)]
    values[5] = None
    result = [item for item in slices_of(test_set, confidences=values) if item.by == "confidence"]
    assert [item.name for item in result] == list(CONFIDENCE_QUINTILES)
    assert sorted(index for item in result for index in item.indexes) == list(range(103))
    assert {len(item.indexes) for item in result} == {20, 21}
    assert 5 in result[0].indexes
    for item, above in pairwise(result):
        assert item.bounds is not None
        assert above.bounds is not None
        assert item.bounds[1] < above.bounds[0]
        assert item.bounds == (
            min(values[index] or 0 for index in item.indexes),
            max(values[index] or 0 for index in item.indexes),
        )


@pytest.mark.parametrize("values", [None, [], [0.5] * 99, [None] * 200])
def test_few_items_or_no_confidences_give_no_quintiles(values: list[float | None] | None) -> None:
    test_set = measure_of([{"text": "a"}] * len(values or [1]))
    assert all(item.by != "confidence" for item in slices_of(test_set, confidences=values))


def test_enough_begins_at_the_least() -> None:
    for count in (LEAST_TO_RANK - 1, LEAST_TO_RANK):
        (by_length,) = [item for item in slices_of(measure_of([{"text": "a"}] * count)) if item.by == "length"]
        assert by_length.enough is (count == LEAST_TO_RANK)


@pytest.mark.parametrize(
    ("name", "kind", "row", "genre"),
    [
        ("sentiment.sst2", "sentiment", {"text": "a"}, "review"),
        ("question_answering.squad_v1.1_dev", "question_answering", {"context": "a"}, "encyclopedia"),
        ("translation.african_storybook.en-fr", "translation", {"source": "a", "source_lang": "en"}, "story"),
        ("translation.tatoeba.en-de", "translation", {"source": "a", "source_lang": "en"}, None),
        ("sentiment.sst2", "sentiment", {"text": "a", "genre": "e-mail"}, "e-mail"),
    ],
)
def test_a_genre_is_the_rows_or_known_of_its_set(name: str, kind: str, row: dict[str, Any], genre: str | None) -> None:
    test_set = measure_of([row], name=name, kind=kind)
    assert labels_of(test_set.items[0], test_set).get("genre") == genre


def test_every_kind_has_its_labels(data: Path) -> None:
    for test_set in read_test_sets(data)[0]:
        for by in ("length", "complexity"):
            indexes = [index for item in slices_of(test_set) if item.by == by for index in item.indexes]
            assert sorted(indexes) == list(range(len(test_set.items)))


def test_a_translation_turned_is_sliced_by_its_own_source(tmp_path: Path) -> None:
    row = {"source": "Good morning to you all.", "target": "Guten Morgen.", "source_lang": "en", "target_lang": "de"}
    (tmp_path / "x.en-de.test.jsonl").write_text(json.dumps(row | {"target": "wort " * 9}) + "\n")
    there, back = select(read_test_sets(tmp_path)[0], tasks=["translation"])
    assert labels_of(there.items[0], there)["length"] == "short"
    assert labels_of(back.items[0], back)["length"] == "medium"


def test_slices_are_explained_as_json() -> None:
    told = json.loads(json.dumps(describe_slicing()))
    assert told["least_to_rank"] == LEAST_TO_RANK
    assert told["complexity"]["rule"] == "LIX"
    assert set(DIMENSIONS) < told.keys()
