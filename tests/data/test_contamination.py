"""Items that were planted in training and validation files, and those that only look so."""

import random
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data import contamination
from phi2demo.data.contamination import IN_NEITHER, IN_TRAINING, IN_VALIDATION, Contamination
from phi2demo.data.test_sets import EvaluationSplit, TestSet, read_test_sets, select
from phi2demo.errors import DataError
from tests.data.conftest import Write

LONG = "The old lighthouse keeper counted eleven gulls on the wall before he went in to supper."
SHORT = "A dull, dull film."


def measures_in(folder: Path, *, split: EvaluationSplit = "test") -> list[TestSet]:
    return read_test_sets(folder, split=split)[0]


def found_in(folder: Path, name: str, *, split: EvaluationSplit = "test") -> contamination.ItemLabels | None:
    test_sets = measures_in(folder, split=split)
    (test_set,) = select(test_sets, names=[name])
    return Contamination(folder, test_sets).of(test_set)


def reviews(*texts: str) -> list[dict[str, Any]]:
    return [{"text": text, "label": 1} for text in texts]


def test_what_was_planted_is_found_where_it_stands(write: Write, tmp_path: Path) -> None:
    write(
        "a/films.test.jsonl",
        reviews("Never seen anywhere at all, of nine words here.", LONG, SHORT, "Fine film.", "..."),
    )
    write("a/films.train.jsonl.xz", reviews("fine  FILM", "Something else"))
    write("b/other.validation.jsonl", [{"text": f"He wrote: {LONG.upper()} And so on."}, {"text": "A dull dull film"}])
    result = found_in(tmp_path / "data", "sentiment.films")
    assert result is not None
    assert result.labels == (IN_NEITHER, IN_VALIDATION, IN_VALIDATION, IN_TRAINING, IN_NEITHER)
    assert list(result.files.items()) == [("b/other.validation.jsonl", 2), ("a/films.train.jsonl.xz", 1)]
    assert result.as_dict() == {IN_TRAINING: 1, IN_VALIDATION: 2, IN_NEITHER: 2, "files": result.files}


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        (LONG, True),
        (LONG.replace("supper", "bed"), True),  # 8 of 9 runs
        (LONG.replace("supper", "a late bed"), True),  # 8 of 11: 73 %
        (LONG.replace("supper", "some late bed time"), False),  # 8 of 12: 67 %
        (LONG.replace("eleven", "twelve"), False),  # no run of eight is without it but those behind
        ("The old lighthouse keeper counted eleven gulls", False),  # seven words are looked up as a whole
    ],
)
def test_a_text_stands_where_seven_tenths_of_its_runs_do(write: Write, tmp_path: Path, text: str, stands: bool) -> None:
    write("films.test.jsonl", reviews(text))
    write("films.train.jsonl", reviews(LONG))
    result = found_in(tmp_path / "data", "sentiment.films")
    assert result is not None
    assert result.labels == ((IN_TRAINING if stands else IN_NEITHER),)


def test_a_short_text_inside_a_longer_one_does_not_stand_there(write: Write, tmp_path: Path) -> None:
    write("films.test.jsonl", reviews(SHORT))
    write("films.train.jsonl", reviews(f"{SHORT} {LONG}", f"It was {SHORT}"))
    result = found_in(tmp_path / "data", "sentiment.films")
    assert result is not None
    assert result.labels == (IN_NEITHER,)


def test_no_run_goes_on_from_one_text_into_the_next(write: Write, tmp_path: Path) -> None:
    words = LONG.split()
    write("films.test.jsonl", reviews(LONG))
    write("films.train.jsonl", reviews(*(" ".join(words[index : index + 8]) for index in range(0, 16, 8))))
    result = found_in(tmp_path / "data", "sentiment.films")
    assert result is not None
    assert result.labels == (IN_NEITHER,)  # two of its nine runs


def test_runs_of_several_files_count_together_but_not_for_any_of_them(write: Write, tmp_path: Path) -> None:
    words = LONG.split()
    write("films.test.jsonl", reviews(LONG))
    write("one.train.jsonl", reviews(" ".join(words[:12])))
    write("two.train.jsonl", reviews(" ".join(words[5:])))
    result = found_in(tmp_path / "data", "sentiment.films")
    assert result is not None
    assert result.labels == (IN_TRAINING,)
    assert result.files == {}


def test_references_of_translations_and_summaries_are_looked_up_but_no_answers(write: Write, tmp_path: Path) -> None:
    ends = {"source_lang": "en", "target_lang": "de"}
    write("pairs.en-de.test.jsonl", [{"source": "Good day.", "target": "Guten Tag."} | ends])
    write(
        "papers.test.jsonl", [{"document": "On cats and dogs.", "summary": "Cats.", "references": ["Dogs and cats."]}]
    )
    asked = {"context": "Tom is ten.", "question": "How old is Tom?", "answers": [{"text": "ten"}]}
    write("questions.test.jsonl", [asked])
    write("tales.train.jsonl", [{"text": text} for text in ("guten tag", "dogs, and cats", "How old is Tom?", "ten")])
    test_sets = measures_in(tmp_path / "data")
    looked_up = Contamination(tmp_path / "data", test_sets)
    labels = {test_set.name: result.labels for test_set in test_sets if (result := looked_up.of(test_set))}
    assert labels == {
        "translation.pairs.en-de": (IN_TRAINING,),
        "translation.pairs.de-en": (IN_TRAINING,),
        "summarization.papers": (IN_TRAINING,),
        "question_answering.questions": (IN_NEITHER,),
    }


def test_the_rows_that_are_measured_and_those_of_a_test_file_do_not_count(write: Write, tmp_path: Path) -> None:
    write("films.validation.jsonl", reviews(LONG, SHORT))
    assert found_in(tmp_path / "data", "sentiment.films", split="validation") is None
    write("other.test.jsonl", reviews(LONG))
    assert found_in(tmp_path / "data", "sentiment.films", split="validation") is None
    write("films.train.jsonl", reviews(SHORT))
    result = found_in(tmp_path / "data", "sentiment.films", split="validation")
    assert result is not None
    assert result.labels == (IN_NEITHER, IN_TRAINING)


def test_a_file_without_a_split_is_told_apart_as_training_splits_it(write: Write, tmp_path: Path) -> None:
    rows = [
        {
            "context": f"Context {number} is of its own.",
            "question": "What?",
            "answers": [{"text": "own"}],
            "title": f"t{number}",
        }
        for number in range(40)
    ]
    write("questions.jsonl", rows)
    test_sets = measures_in(tmp_path / "data")
    result = Contamination(tmp_path / "data", test_sets).of(test_sets[0])
    assert result is not None
    assert set(result.labels) == {IN_NEITHER}
    write("questions.jsonl", rows + [row | {"title": f"u{row['title']}"} for row in rows])
    result = found_in(tmp_path / "data", test_sets[0].name)
    assert result is not None
    assert {IN_TRAINING, IN_VALIDATION} <= set(result.labels)


def test_texts_that_do_not_fit_at_once_are_compared_in_parts(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = random.Random(3)
    texts = [" ".join(choice.choice("abcde") for _ in range(40)) for _ in range(60)]
    write("films.test.jsonl", reviews(*texts[:40]))
    write("films.train.jsonl", reviews(*texts[20:]))
    expected = (IN_NEITHER,) * 20 + (IN_TRAINING,) * 20
    for at_once in (100, 1_000_000):
        monkeypatch.setattr(contamination, "_AT_ONCE", at_once)
        result = found_in(tmp_path / "data", "sentiment.films")
        assert result is not None
        assert result.labels == expected


def test_a_file_that_cannot_be_read_is_named(write: Write, tmp_path: Path) -> None:
    write("films.test.jsonl", reviews(LONG))
    (tmp_path / "data" / "broken.train.jsonl").write_text("no json\n")
    with pytest.raises(DataError, match=r"broken\.train\.jsonl, line 1"):
        found_in(tmp_path / "data", "sentiment.films")
