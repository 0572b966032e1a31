""""""

import json
from typing import Any

import pytest

from phi2demo.data.own_pairs import (
    FIELDS,
    MAX_BYTES,
    MAX_FIELD,
    MAX_ROWS,
    TASKS_WITH_PAIRS,
    OwnColumns,
    pairs_of,
    read_pairs,
    template,
)
from phi2demo.errors import InputError, SettingsError


@pytest.mark.parametrize("task", TASKS_WITH_PAIRS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_template_reads_as_it_is(task: str, as_json: bool) -> None:
    test_set = read_pairs(template(task, as_json=as_json), task=task)
    assert test_set.task == task
    assert len(test_set.items) == 2
    assert all(item.references[0] for item in test_set.items)
    assert [item.index for item in test_set.items] == [0, 1]


def test_csv_and_json_lines_give_the_same_items() -> None:
    for task in TASKS_WITH_PAIRS:
        one, other = (read_pairs(template(task, as_json=as_json), task=task) for as_json in (False, True))
        assert one == other


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_quotes_and_line_breaks_inside_quotes(separator: str) -> None:
    rows = [["Target", "source", "note"], ['"Ja, ""so"" ist es."', '"Yes,\nthat; is it."', "x"]]
    text = "\ufeff" + "\r\n".join(separator.join(row) for row in rows) + "\r\n\r\n"
    (item,) = read_pairs(text, task="translation", source="en", target="fr").items
    assert item.row["source"] == "Yes,\nthat; is it."
    assert item.references == ('Ja, "so" ist es.',)
    assert (item.row["source_lang"], item.row["target_lang"]) == ("en", "fr")


def test_the_direction_is_part_of_the_name() -> None:
    assert read_pairs(template("translation"), task="translation").name == "translation.own.en-de"
    assert read_pairs(template("sentiment"), task="sentiment").name == "sentiment.own"


def test_a_number_that_is_no_label_is_told_which_are() -> None:
    with pytest.raises(InputError, match="Row 1: label is 5; give negative or 0, or positive or 1"):
        pairs_of([{"text": "good", "label": 5}], task="sentiment")


def test_labels_and_answers_in_the_forms_that_data_sets_have() -> None:
    reviews = [{"text": "good", "label": 1}, {"text": "bad", "label": "Negative"}, {"text": "so", "label": False}]
    test_set = pairs_of(reviews, task="sentiment")
    assert [item.references for item in test_set.items] == [("positive",), ("negative",), ("negative",)]
    question = {"context": "It is red.", "question": "What colour?", "answers": [{"text": "red"}]}
    assert pairs_of([question], task="question_answering").items[0].references == ("red",)
    assert read_pairs(json.dumps([question]), task="question_answering").items[0].references == ("red",)


@pytest.mark.parametrize(
    ("task", "text", "says"),
    [
        ("translation", "  \n", r"There are no pairs\. Paste CSV with the columns source, target"),
        ("translation", "source,target\n", "names of columns, and no pair below"),
        ("translation", "from,to\na,b\n", r"has to name the columns source, target; it is 'from,to', without source"),
        ("translation", "source,target\na,b\nc\n", r"Line 3: 1 columns instead of 2"),
        ("translation", "source,target\na,b,c\n", r"Line 2: 3 columns instead of 2; put a text that holds ',' in quotes"),
        ("translation", "source,target\na,\n\nc,d\n", r"^1 pair cannot be used\. Line 2: target is missing\."),
        ("translation", 'source,target\n"a\nb",x\n"",y\n', r"Line 4: source is missing"),
        ("translation", 'source,target\na,"b\n', r"Line 2: not CSV"),
        ("translation", '{"source": "a", "target": "b"}\n{"source": \n', r"Line 2: not JSON, column"),
        ("translation", '{"source": "a", "target": "b"}\n\n[1]\n', r"Line 3: no JSON object"),
        ("translation", '{"source": "a", "target": 3}\n', r"Line 1: target is 3; give a text"),
        ("translation", '[{"source": "a", "target": "b"}, 3]', r"Row 2: it is no object"),
        ("translation", '[{"source": "a",]', r"not JSON: line 1, column"),
        ("translation", "[]", "at least one"),
        ("translation", "[" * 100_000, "not JSON|nested too deeply"),
        ("translation", f'{{"source": "{"a" * (MAX_FIELD + 1)}", "target": "b"}}', r"Line 1: source has 20,001 characters"),
        ("translation", "source,target\na,b\x00\n", "NUL"),
        ("sentiment", f'{{"text": "x", "label": {"1" * 5000}}}\n', r"^1 pair cannot be used\. Line 1: not JSON\."),
        ("sentiment", f'[{{"text": "x", "label": {"1" * 5000}}}]', r"The list is not JSON: it has a number of too many"),
        ("sentiment", '{"text": ' + "[" * 100_000, r"Line 1: not JSON"),
        ("sentiment", "text,label\nfine,maybe\n", r"Line 2: label is 'maybe'; give negative or 0, or positive or 1"),
        ("question_answering", "context,question,answer\na,,c\n", r"Line 2: question is missing"),
    ],
)  # fmt: skip
def test_bad_pairs_say_which_line_and_what_to_do(task: str, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_pairs(text, task=task)


def test_many_bad_lines_are_counted_and_the_first_named() -> None:
    text = "source,target\n" + "a,\n" * 9
    with pytest.raises(InputError, match=r"9 pairs cannot be used\. Line 2: .*; line 6: target is missing and 4 more"):
        read_pairs(text, task="translation")


def test_limits_on_rows_and_size() -> None:
    row = "a,b\n"
    assert len(read_pairs("source,target\n" + row * MAX_ROWS, task="translation").items) == MAX_ROWS
    with pytest.raises(InputError, match=f"more than {MAX_ROWS} pairs"):
        read_pairs("source,target\n" + row * (MAX_ROWS + 1), task="translation")
    with pytest.raises(InputError, match=r"have 1\.0 MB; at most 1 MB"):
        read_pairs("source,target\n" + "ä" * (MAX_BYTES // 2 + 1), task="translation")


def test_tasks_and_languages_that_do_not_fit() -> None:
    for wrong in ({"task": "generation"}, {"task": None}, {"task": "translation", "source": "xx"}):
        given: dict[str, Any] = wrong
        with pytest.raises(SettingsError, match=r"task|source"):
            read_pairs("source,target\na,b\n", **given)
    with pytest.raises(SettingsError, match="both 'de'"):
        read_pairs("source,target\na,b\n", task="translation", source="de", target="de")
    assert set(FIELDS) == set(TASKS_WITH_PAIRS)


def accept(row: dict[str, Any]) -> dict[str, Any]:
    if row["output"] == "lwo":
        raise SettingsError("output is 'lwo'; give one of low, high.")
    return row | {"days": int(row.get("days", 0))}


OWN = OwnColumns(("team", "days"), (("It leaks.", "sales", "3", "low"),), accept)


@pytest.mark.parametrize(
    "text",
    ["text,days,output\n It  leaks. ,3,low\n", '{"text": "It leaks.", "days": 3, "output": "low", "team": ""}\n'],
)
def test_pairs_of_a_declared_task_have_its_fields(text: str) -> None:
    test_set = read_pairs(text, task="urgency", own=OWN)
    assert (test_set.name, test_set.task) == ("urgency.own", "urgency")
    (item,) = test_set.items
    assert item.row == {"task": "urgency", "text": "It leaks.", "output": "low", "days": 3}
    assert item.references == ("low",)
    assert read_pairs(template("urgency", own=OWN), task="urgency", own=OWN).items[0].row["team"] == "sales"
    with pytest.raises(InputError, match="Line 2: output is 'lwo'; give one of low, high"):
        read_pairs("text,output\na,lwo\n", task="urgency", own=OWN)
    with pytest.raises(InputError, match="Row 1: output is missing"):
        pairs_of([{"text": "a"}], task="urgency", own=OWN)
