""""""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from phi2demo.data import test_sets
from phi2demo.data.corpus import split_of
from phi2demo.data.test_sets import MAX_CONTINUATION, read_test_sets, select, text_of
from phi2demo.errors import DataError
from tests.data.conftest import Write, pair


def test_each_set_is_measured_on_its_split(data: Path) -> None:
    test_sets, skipped = read_test_sets(data)
    result = {test_set.name: (test_set.file.split, len(test_set.items)) for test_set in test_sets}
    questions = sum(split_of({"title": f"t{n}"}) == "test" for n in range(30))
    assert result == {
        "translation.pairs.en-de": ("test", 11),
        "translation.pairs.de-en": ("test", 11),
        "summarization.papers": ("validation", 5),
        "sentiment.reviews": ("test", 9),
        "question_answering.questions": ("test", questions),
        "prose.tales": ("test", 4),
    }
    assert {each.name: each.why for each in skipped} == {
        "simple": "simplification is no task of this app",
        "other.en-fr": "no test file",
    }
    notes = {test_set.task: test_set.file.note for test_set in test_sets}
    assert notes["question_answering"] == "split by title"
    assert notes["summarization"] == "no test file"


def test_the_validation_split_has_no_stand_in(data: Path) -> None:
    test_sets, skipped = read_test_sets(data, split="validation")
    assert {test_set.task for test_set in test_sets} == {"summarization", "question_answering"}
    assert {each.name for each in skipped} >= {"pairs.en-de", "reviews", "tales"}


def test_a_translation_turned_asks_the_other_way(data: Path) -> None:
    there, back = select(read_test_sets(data)[0], tasks=["translation"])
    for one, other in zip(there.items, back.items, strict=True):
        assert one.references == (other.row["source"],)
        assert other.references == (one.row["source"],)
    assert (back.items[0].row["source_lang"], back.items[0].row["target_lang"]) == ("de", "en")


def test_every_row_counts_and_only_spaces_change(write: Write, tmp_path: Path) -> None:
    write("x.test.jsonl", [{"text": "the\u200b  same"}, {"text": "the same"}, {"text": "shit happens"}])
    ((test_set,), _) = read_test_sets(tmp_path / "data")
    assert [item.references[0] for item in test_set.items] == ["the same", "the same", "shit happens"]


def test_references_of_each_kind(data: Path) -> None:
    first = {test_set.task: test_set.items[0] for test_set in reversed(read_test_sets(data)[0])}
    assert first["summarization"].references == ("0 cats sleep", "cats")
    assert first["sentiment"].references == ("negative",)
    assert first["question_answering"].references[0] in first["question_answering"].row["context"]


def test_a_limit_takes_the_first_rows(data: Path) -> None:
    whole, cut = read_test_sets(data)[0], read_test_sets(data, limit=3)[0]
    for one, other in zip(whole, cut, strict=True):
        assert other.items == one.items[:3]


def test_select_refuses_what_is_not_there(data: Path) -> None:
    test_sets, _ = read_test_sets(data)
    assert [m.name for m in select(test_sets, names=["prose.tales"], tasks=["sentiment"])] == [
        "prose.tales", "sentiment.reviews",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"'translation.pairs.en-fr'.*known are .*translation.pairs.en-de"):
        select(test_sets, names=["translation.pairs.en-fr"])


GOOD = json.dumps(pair(0)).encode() + b"\n"
BAD: dict[str, tuple[bytes, str]] = {
    "missing": (
        b'{"source": "a", "source_lang": "en", "target_lang": "de"}',
        r"line 2: a row of translation needs target too\. Add it",
    ),
    "not JSON": (b'{"source": ', r"line 2: not JSON \(Expecting value, column 12\)\. Correct or remove it"),
    "two on a line": (GOOD.strip() * 2, r"line 2: not JSON \(Extra data"),
    "no object": (b"[1]", r"line 2: a JSON object is needed"),
    "number": (json.dumps(pair(1) | {"target": 5}).encode(), r"line 2: a field of this row of translation"),
    "empty": (json.dumps(pair(1) | {"target": " "}).encode(), r"line 2: target is empty"),
    "language": (json.dumps(pair(1) | {"target_lang": "xx"}).encode(), r"line 2: target_lang is 'xx'; use one of en"),
    "Latin-1": (
        '{"source": "Café"}'.encode("latin-1"),
        r"line 2: not UTF-8 \(.* 0xe9 at byte 16\)\. .*iconv -f LATIN1",
    ),
    "half a pair": (json.dumps(pair(1) | {"target": "\ud83d"}).encode(), r"line 2: cannot be used \(.*surrogates"),
    "deep": (b"[" * 100_000, r"line 2: cannot be used \(maximum recursion"),
    "long number": (b'{"n": ' + b"9" * 5000 + b"}", r"line 2: cannot be used \(Exceeds the limit"),
    "zeros": (b"\0" * 100, r"line 2: not JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, case: str) -> None:
    line, message = BAD[case]
    (tmp_path / "bad.test.jsonl").write_bytes(GOOD + line + b"\n")
    with pytest.raises(DataError, match=rf"bad\.test\.jsonl, {message}"):
        read_test_sets(tmp_path)
    assert len(read_test_sets(tmp_path, limit=1)[0][0].items) == 1  # what is not needed is not read


def test_one_gigabyte_is_refused_at_once_and_a_limit_reads_its_first_rows(tmp_path: Path) -> None:
    """Sparse: it takes no room on the disk. A line without end is not read as a whole either."""
    path = tmp_path / "huge.test.jsonl"
    tracemalloc.start()
    try:
        for start, message in ((GOOD, r"line 2: longer than 16 MB"), (b"", r"line 1: longer than 16 MB")):
            with path.open("wb") as file:
                file.write(start)
                file.truncate(2**30)
            with pytest.raises(DataError, match=r"huge\.test\.jsonl has more than 100 MB.*--limit"):
                read_test_sets(tmp_path)
            with pytest.raises(DataError, match=rf"huge\.test\.jsonl, {message}\. Put one JSON object on each line"):
                read_test_sets(tmp_path, limit=5)
        path.write_bytes(GOOD)
        with path.open("r+b") as file:
            file.truncate(2**30)
        ((there, _), _) = read_test_sets(tmp_path, limit=1)
        assert len(there.items) == 1
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_sets, "MAX_BYTES", 1_000_000)
    path = tmp_path / "packed.test.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD * 20_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"packed\.test\.jsonl\.gz has more than 1 MB"):
        read_test_sets(tmp_path)
    assert len(read_test_sets(tmp_path, limit=3)[0][0].items) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_mark_of_utf_8_and_carriage_returns_are_no_text(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.test.jsonl").write_bytes('{"text": "Café"}\r\n{"text": "b"}\r\n'.encode(encoding))
    ((test_set,), _) = read_test_sets(tmp_path)
    assert [item.row["text"] for item in test_set.items] == ["Café", "b"]


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No JSON-lines file"):
        read_test_sets(tmp_path)
    path = tmp_path / "bad.test.jsonl"
    path.write_text("\n\n")
    with pytest.raises(DataError, match=r"bad\.test\.jsonl holds no rows"):
        read_test_sets(tmp_path)
    path.write_text('{"text": "a"}\n', encoding="utf-16")
    with pytest.raises(DataError, match=r"bad\.test\.jsonl, line 1: the file is UTF-16\. Save it as UTF-8"):
        read_test_sets(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"bad\.test\.jsonl holds no rows.*Add some, or remove it"):
        read_test_sets(tmp_path)
    path.write_text('{"colour": "red"}\n')
    with pytest.raises(DataError, match=r"bad\.test\.jsonl: rows with the fields colour are of no known kind"):
        read_test_sets(tmp_path)
    path.unlink()
    whole = gzip.compress(b'{"text": "a"}\n' * 9999)
    (tmp_path / "cut.test.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.test\.jsonl\.gz cannot be read"):
        read_test_sets(tmp_path)


def test_prose_is_also_a_text_to_be_continued(tmp_path: Path) -> None:
    long = " ".join(f"Sentence number {n} is about as long as any other." for n in range(40))
    rows = [{"text": "It rained. Tom ran home. He slept."}, {"text": "One sentence alone."}, {"text": long}]
    (tmp_path / "tales.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prose, continuation = read_test_sets(tmp_path)[0]
    assert (prose.name, prose.task, len(prose.items)) == ("prose.tales", "prose", 3)
    assert (continuation.name, continuation.task, len(continuation.items)) == ("generation.tales", "generation", 2)
    first, second = (item.row for item in continuation.items)
    assert first == {"opening": "It rained.", "rest": " Tom ran home. He slept."}
    assert long.startswith(second["opening"] + second["rest"])
    assert second["rest"].endswith(".")
    assert 500 < len(second["rest"]) <= MAX_CONTINUATION


def test_rows_of_declared_tasks_make_a_test_set_for_each_task(tmp_path: Path) -> None:
    rows = [
        {"task": task, "text": f"text {n}", "output": f"answer {n}"} for n, task in enumerate(("mood", "tone", "mood"))
    ]
    (tmp_path / "mine.test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result, _ = read_test_sets(tmp_path)
    assert [(test_set.name, test_set.task, len(test_set.items)) for test_set in result] == [
        ("mood.mine", "mood", 2), ("tone.mine", "tone", 1)
    ]  # fmt: skip
    second = result[0].items[1]
    assert (second.index, second.references, text_of(second.row, result[0].kind)) == (1, ("answer 2",), "text 2")
