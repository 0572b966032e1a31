""""""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.corpus import (
    OWN,
    CleaningReport,
    Source,
    clean_row,
    fingerprint,
    is_inappropriate,
    listed_words,
    read_corpus,
)
from phi2demo.errors import DataError
from tests.training.conftest import write_rows


def read_one(folder: Path) -> tuple[Source, CleaningReport]:
    (source,), (report,) = read_corpus(folder)
    return source, report


def texts(source: Source, split: Any) -> list[str]:
    return [row["text"] for row in source.rows[split]]


def test_kinds_are_told_by_their_fields(corpus: Path) -> None:
    sources, _ = read_corpus(corpus)
    assert {source.name: source.kind for source in sources} == {
        "leads": "summarization",
        "levels": "simplification",
        "pairs": "translation",
        "questions": "question_answering",
        "reviews": "sentiment",
        "tales": "prose",
    }


def test_named_splits_are_kept(corpus: Path) -> None:
    pairs = next(source for source in read_corpus(corpus)[0] if source.name == "pairs")
    assert {split: len(rows) for split, rows in pairs.rows.items()} == {"train": 60, "validation": 12, "test": 6}


def test_rows_are_cleaned_and_prose_keeps_its_indentation() -> None:
    text = "  two   spaces\n\tand a tab\u00ad "
    assert clean_row({"text": text, "label": 1}, "sentiment") == {"text": "two spaces\nand a tab", "label": 1}
    assert clean_row({"text": text}, "prose") == {"text": "two spaces\n\tand a tab"}


def test_fingerprint_ignores_case_punctuation_and_spacing() -> None:
    assert fingerprint("Hello,  World!") == fingerprint("hello world")
    assert fingerprint("hello world") != fingerprint("hello worlds")


def test_reviews_lose_the_spaces_of_their_tokenizer(tmp_path: Path) -> None:
    write_rows(tmp_path / "reviews.train.jsonl", [{"text": "it 's good , is n't it ? ( yes )", "label": 1}])
    assert texts(read_one(tmp_path)[0], "train") == ["it's good, isn't it? (yes)"]


def test_cleaning_counts_what_it_takes_out(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"text": "A good text."},
        {"text": "a GOOD text"},
        {"text": " \u200b "},
        {"title": "no text"},
        {"text": 5},
        {"text": "What the fuck is this."},
        {"text": "This one stands in the test."},
        {"text": "This one stands in the validation."},
    ]
    write_rows(tmp_path / "prose.train.jsonl", rows)
    write_rows(tmp_path / "prose.test.jsonl", [{"text": "This one stands in the test!"}])
    write_rows(tmp_path / "prose.validation.jsonl", [{"text": "this one stands in the validation"}])
    source, report = read_one(tmp_path)
    assert texts(source, "train") == ["A good text."]
    assert report.removed == {
        "duplicate": 1,
        "empty": 1,
        "incomplete": 1,
        "malformed": 1,
        "inappropriate": 1,
        "in validation or test": 2,
    }
    assert report.kept == {"train": 1, "validation": 1, "test": 1}


def test_overlap_is_found_across_data_sets_of_a_kind(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.train.jsonl", [{"text": "Shared text."}, {"text": "Own text."}])
    write_rows(tmp_path / "b.test.jsonl", [{"text": "Shared text."}])
    sources, _ = read_corpus(tmp_path)
    assert texts(sources[0], "train") == ["Own text."]


def test_overlap_is_found_though_a_tokenizer_left_its_spaces(tmp_path: Path) -> None:
    """Planted: "is n't" has a word more than "isn't", also to a fingerprint, as long as it is not cleaned."""
    for name, review in (("plain", "It isn't good."), ("loose", "it is n't good .")):
        write_rows(tmp_path / f"{name}.train.jsonl", [{"text": review, "label": 0}, {"text": "Good.", "label": 1}])
    write_rows(tmp_path / "other.test.jsonl", [{"text": "it is n't good .", "label": 0}])
    (loose, _, plain), reports = read_corpus(tmp_path)
    assert texts(loose, "train") == texts(plain, "train") == ["Good."]
    assert reports[0].removed == reports[2].removed == {"in validation or test": 1}


def test_one_sentence_may_have_several_translations(tmp_path: Path) -> None:
    row = {"source": "Hello.", "target": "Hallo.", "source_lang": "en", "target_lang": "de"}
    write_rows(tmp_path / "t.train.jsonl", [row, row | {"target": "Guten Tag."}])
    write_rows(tmp_path / "t.test.jsonl", [row])
    source, report = read_one(tmp_path)
    assert [row["target"] for row in source.rows["train"]] == ["Guten Tag."]
    assert report.removed == {"in validation or test": 1}


QUESTION = {"context": "A text.", "question": "Who?", "answers": [{"text": "Tom"}]}
UNUSABLE: list[tuple[list[dict[str, Any]], str]] = [
    ([{"text": "Fine.", "label": "positive"}], "label is 'positive'; give 0 or 1"),
    ([QUESTION | {"answers": ["Tom"]}], r"answers is \['Tom'\]; give a list of objects"),
    ([QUESTION | {"answers": "Tom"}], "answers is 'Tom'"),
    ([{"document": ["A text."], "summary": "Short."}], r"document is \['A text.'\]; give a text"),
]


@pytest.mark.parametrize(("rows", "why"), UNUSABLE)
def test_a_file_of_which_no_row_can_be_used_is_refused(tmp_path: Path, rows: list[dict[str, Any]], why: str) -> None:
    write_rows(tmp_path / "prose.train.jsonl", [{"text": "A good text."}])
    path = write_rows(tmp_path / "x.train.jsonl", rows)
    with pytest.raises(DataError, match=f"{path}, line 1: {why}.* No row of this file can be used; correct its rows"):
        read_corpus(tmp_path)


def test_a_row_that_cannot_be_used_is_left_out(tmp_path: Path) -> None:
    write_rows(tmp_path / "qa.train.jsonl", [QUESTION, QUESTION | {"answers": ["Tom"]}])
    source, report = read_one(tmp_path)
    assert len(source.rows["train"]) == 1
    assert report.removed == {"malformed": 1}


def test_a_set_of_two_kinds_is_refused(tmp_path: Path) -> None:
    """What was meant: a misspelt label makes a review prose."""
    misspelt = [{"text": f"Misspelt {number}.", "lable": 1} for number in range(3)]
    path = write_rows(tmp_path / "rt.train.jsonl", [*misspelt, {"text": "Fine.", "label": 1}])
    message = (
        f"{path}, line 4: a row of sentiment, by its fields label, text, but the set 'rt' begins with one of prose "
        rf"\({path}, line 1\). Correct the rows, or give each kind a file of another name."
    )
    with pytest.raises(DataError, match=message):
        read_corpus(tmp_path)


def test_a_name_in_two_folders_is_of_one_kind(tmp_path: Path) -> None:
    write_rows(tmp_path / "a" / "x.train.jsonl", [QUESTION])
    write_rows(tmp_path / "b" / "x.train.jsonl", [{"text": "A good text."}])
    with pytest.raises(DataError, match=r"b/x\.train\.jsonl, line 1: a row of prose, .*, but the set 'x' begins"):
        read_corpus(tmp_path)


PAIR = {"source": "Hello.", "target": "Ciao.", "source_lang": "en", "target_lang": "it"}


def test_rows_in_a_language_that_no_task_has_are_left_out_and_the_first_ones_are_named(tmp_path: Path) -> None:
    rows = [PAIR, PAIR | {"target": "Hei.", "target_lang": "xx"}, PAIR | {"target": "Hoi.", "source_lang": ["en"]}]
    write_rows(tmp_path / "pairs.train.jsonl", rows)
    source, report = read_one(tmp_path)
    assert len(source.rows["train"]) == 1
    assert report.removed == {"unknown language": 1, "malformed": 1}
    assert report.unusable == (
        "line 2 of pairs.train.jsonl: target_lang is 'xx'; use one of en, de, fr, es, it, pt, nl; "
        "line 3 of pairs.train.jsonl: source_lang is ['en']; give a text"
    )
    assert str(report).endswith(f". Correct or remove what cannot be used: {report.unusable}")
    write_rows(tmp_path / "pairs.train.jsonl", [PAIR, *[PAIR | {"target": n} for n in range(9)]])
    told = read_one(tmp_path)[1].unusable
    assert told.startswith("line 2 of pairs.train.jsonl: target is 0; give a text; line 3 of ")
    assert told.endswith("line 6 of pairs.train.jsonl: target is 4; give a text; and 4 more")


def test_a_held_out_row_that_lacks_a_field_is_left_out(tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.train.jsonl", [PAIR])
    write_rows(tmp_path / "pairs.validation.jsonl", [{"target": "Hallo."}, PAIR | {"target": "Salve."}])
    source, report = read_one(tmp_path)
    assert (len(source.rows["train"]), len(source.rows["validation"])) == (1, 1)
    assert report.removed == {"incomplete": 1}


def test_a_set_without_splits_is_split_by_title(tmp_path: Path) -> None:
    rows = [{"text": f"Part {part} of {title}.", "title": f"title {title}"} for title in range(60) for part in range(3)]
    write_rows(tmp_path / "leads.jsonl", rows)
    source, _ = read_one(tmp_path)
    titles = {split: {row["title"] for row in rows} for split, rows in source.rows.items()}
    assert all(titles.values())
    assert sum(map(len, titles.values())) == 60
    assert len(titles["train"]) > 30


def test_questions_without_titles_are_split_by_their_text(tmp_path: Path) -> None:
    rows = [
        {"context": f"Text {text}.", "question": f"Question {n}?", "answers": [{"text": "it"}]}
        for text in range(40)
        for n in range(3)
    ]
    write_rows(tmp_path / "qa.jsonl", rows)
    source, report = read_one(tmp_path)
    assert report.removed == {}
    contexts = [{row["context"] for row in source.rows[split]} for split in source.rows]
    assert sum(map(len, contexts)) == 40


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".xz", lzma.open)])
def test_compressed_files_are_found(tmp_path: Path, suffix: str, opener: Callable[..., Any]) -> None:
    with opener(tmp_path / f"a.train.jsonl{suffix}", "wt", encoding="utf-8") as file:
        file.write('{"text": "Packed."}\n')
    assert texts(read_one(tmp_path)[0], "train") == ["Packed."]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.train.jsonl", b'{"words": "ok"}\n', r"rows with the fields words are of no known kind"),
        ("a.train.jsonl", b"\n\n", "holds no rows"),
        ("a.txt", b"text", "No JSON-lines file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("text", "inappropriate"),
    [("You piece of shit.", True), ("Scunthorpe is a town.", False), ("The cat sleeps.", False), ("", False)],
)
def test_is_inappropriate(text: str, inappropriate: bool) -> None:
    assert is_inappropriate(text) is inappropriate


def test_every_listed_word_is_given_in_its_order() -> None:
    assert list(listed_words("A BASTARD! A piece of shit.")) == ["bastard", "piece of shit", "shit"]
    assert list(listed_words("The cat sleeps.")) == []


def test_rows_of_declared_tasks_are_the_same_only_with_all_their_fields(tmp_path: Path) -> None:
    row = {"task": "mood", "text": "What a damn  mess.", "output": "angry", "days": 3}
    rows = [row, row | {"days": 4}, row | {"task": "tone"}, row, {"task": "mood", "text": "No answer."}]
    write_rows(tmp_path / "own.train.jsonl", rows)
    source, report = read_one(tmp_path)
    assert source.kind == OWN
    assert [(kept["task"], kept["days"], kept["text"]) for kept in source.rows["train"]] == [
        ("mood", 3, "What a damn mess."), ("mood", 4, "What a damn mess."), ("tone", 3, "What a damn mess.")
    ]  # fmt: skip
    assert report.removed == {"duplicate": 1, "incomplete": 1}
