"""The shipped evaluation set: well-formed, evenly filled, labelled as the code labels it, short enough to be asked."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.corpus import clean_row, fingerprint, kind_of
from phi2demo.data.documents import count_words
from phi2demo.data.test_sets import Item, TestSet, read_test_sets
from phi2demo.evaluation.slices import COMPLEXITIES, GENRES, LENGTHS, labels_of
from phi2demo.settings import EMBEDDED_MODEL

SET = Path(__file__).parents[2] / "assets" / "evaluation" / "set"
README = (SET / "README.md").read_text(encoding="utf-8")
FILES = sorted(SET.glob("*.jsonl"))
ROWS: dict[str, list[dict[str, Any]]] = {
    path.name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in FILES
}
TRANSLATIONS = [name for name in ROWS if name.startswith("everyday.")]
MOST_TOKENS = 380
"""So that a text, its template and its answer fit 1,024 tokens."""
LABELS = {"genre": GENRES, "length": LENGTHS, "complexity": COMPLEXITIES}


def as_asked() -> list[TestSet]:
    """Measures in the direction that the files are written in."""
    test_sets, skipped = read_test_sets(SET)
    assert not skipped
    return [m for m in test_sets if m.kind != "translation" or m.items[0].row["source_lang"] == "en"]


def items() -> list[tuple[TestSet, Item]]:
    return [(test_set, item) for test_set in as_asked() for item in test_set.items]


def test_it_is_read_as_it_is() -> None:
    test_sets, _ = read_test_sets(SET)
    assert {test_set.name: len(test_set.items) for test_set in test_sets} == {
        **{f"translation.everyday.{pair}": 36 for pair in ("en-de", "de-en", "en-fr", "fr-en", "en-es", "es-en")},
        "summarization.summaries": 48, "sentiment.reviews_and_moods": 54, "question_answering.questions": 54,
    }  # fmt: skip
    assert {test_set.file.split for test_set in test_sets} == {"test"}
    assert sum(map(len, ROWS.values())) >= 240


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_cleaning_changes_nothing(path: Path) -> None:
    rows = ROWS[path.name]
    assert rows == [clean_row(row, kind_of(row, path)) for row in rows]
    assert path.read_text(encoding="utf-8") == "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_labels_are_those_computed() -> None:
    for test_set, item in items():
        assert labels_of(item, test_set) == {by: item.row[by] for by in LABELS}, item.row["id"]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("by", LABELS)
def test_every_margin_is_filled_evenly(name: str, by: str) -> None:
    counts = Counter(row[by] for row in ROWS[name])
    assert set(counts) == set(LABELS[by])
    assert max(counts.values()) - min(counts.values()) <= 1, counts


@pytest.mark.parametrize("by", LABELS)
def test_half_of_each_group_is_positive(by: str) -> None:
    rows = ROWS["reviews_and_moods.test.jsonl"]
    assert sum(row["label"] for row in rows) * 2 == len(rows)
    for name in LABELS[by]:
        labels = [row["label"] for row in rows if row[by] == name]
        assert abs(2 * sum(labels) - len(labels)) <= 1, name


def test_ids_are_unique_and_name_one_source_in_every_language() -> None:
    for rows in ROWS.values():
        assert len({row["id"] for row in rows}) == len(rows)
    sources = [[(row["id"], row["source"], row["genre"]) for row in ROWS[name]] for name in TRANSLATIONS]
    assert len(sources) == 3
    assert sources[0] == sources[1] == sources[2]
    others = [row["id"] for name, rows in ROWS.items() if name not in TRANSLATIONS for row in rows]
    assert not set(others) & {name for name, *_ in sources[0]}
    assert len(set(others)) == len(others)


def test_no_text_stands_twice() -> None:
    texts = [row["source"] for row in ROWS[TRANSLATIONS[0]]]
    fields = ("target", "document", "summary", "text", "context", "question")
    texts += [row[field] for rows in ROWS.values() for row in rows for field in fields if field in row]
    result = Counter(map(fingerprint, texts))
    assert [text for text in texts if result[fingerprint(text)] > 1] == []


def test_answers_are_a_few_words_of_the_context_and_the_question_does_not_say_them() -> None:
    for row in ROWS["questions.test.jsonl"]:
        for answer in row["answers"]:
            result = rf"(?<!\w){re.escape(answer['text'])}(?!\w)"
            assert re.search(result, row["context"]), row["id"]
            assert not re.search(result, row["question"], re.I), row["id"]
            assert 1 <= count_words(answer["text"]) <= 6, row["id"]
        assert row["question"].endswith("?")


def test_summaries_are_one_sentence_that_the_document_does_not_hold() -> None:
    for row in ROWS["summaries.test.jsonl"]:
        assert 12 <= count_words(row["summary"]) <= 30, row["id"]
        assert re.fullmatch(r"[^.!?\n]+\.", row["summary"]), row["id"]
        words = re.findall(r"\w+", row["summary"].lower())
        document = " ".join(re.findall(r"\w+", row["document"].lower()))
        for start in range(len(words) - 7):
            assert " ".join(words[start : start + 8]) not in document, row["id"]


WRONG = {
    "de": r"[\"“](?=\w)|[«»]|\s[?!:;,.]",
    "fr": r"[\"“”„]|[^\s][?!:;»]|«(?! )",
    "es": r"[\"“”„]|\s[?!:;,.]|^[^¿]*\?|^[^¡]*!",
}
"""What a writer of the language would not type: another language's quotes, a space too many or too few."""


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_translations_are_typed_as_their_language_is(name: str) -> None:
    for row in ROWS[name]:
        wrong = re.search(WRONG[row["target_lang"]], row["target"])
        assert not wrong, (row["id"], wrong)
        assert row["source"] != row["target"]


def test_nothing_is_too_long_to_be_asked() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODEL / "tokenizer.json"))
    fields = ("source", "target", "document", "summary", "text", "context")
    for rows in ROWS.values():
        for row in rows:
            for field in fields:
                assert len(tokenizer.encode(row.get(field, "")).ids) <= MOST_TOKENS, row["id"]


def test_the_readme_says_what_there_is_and_under_which_licence() -> None:
    assert re.search(r"^## Licence\n\n.*CC0-1\.0", README, re.M)
    assert f"{sum(map(len, ROWS.values()))} items in" in README
    for name, rows in ROWS.items():
        (line,) = [line for line in README.splitlines() if line.startswith("|") and f"`{name}`" in line]
        assert f"| {len(rows)} " in line
