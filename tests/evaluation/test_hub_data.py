import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from phi2demo.data.test_sets import read_test_sets
from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation import hub_data
from phi2demo.evaluation.hub_data import HubData, fetch, is_hub_id, to_row

REVIEWS = HubData("owner/reviews", limit=3)


class Rows:
    """As a streamed data set: rows, and what is known of their columns."""

    def __init__(self, rows: list[dict[str, Any]], **features: Any) -> None:
        self.rows, self.features, self.read = rows, features, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            self.read += 1
            yield row


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A hub that holds what a test puts there."""
    held = SimpleNamespace(rows=Rows([]), asked=[])

    def load_dataset(*given: Any, **more: Any) -> Rows:
        held.asked.append((given, more))
        return held.rows

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(hub_data, "revision_of", lambda repo_id, token: "abc123")
    return held


@pytest.mark.parametrize(
    ("text", "expected"),
    [("owner/name", True), ("a/b-c.d_e", True), ("name", False), ("/a/b", False), ("a/b/c", False), ("../a", False)],
)
def test_what_could_be_an_id(text: str, expected: bool) -> None:
    assert is_hub_id(text) is expected


def test_rows_become_a_folder_that_is_measured(hub: SimpleNamespace, tmp_path: Path) -> None:
    hub.rows = Rows(
        [{"sentence": f"Film {n}.", "label": n % 2, "idx": n} for n in range(9)],
        label=SimpleNamespace(names=["positive", "negative"]),
    )
    result = fetch(REVIEWS, tmp_path)
    assert result.revision == "abc123"
    ((given, more),) = hub.asked
    assert given == ("owner/reviews", None)
    assert (more["split"], more["revision"], more["streaming"]) == ("test", "abc123", True)
    assert hub.rows.read <= 4  # a limit reads no more
    ((test_set,), _) = read_test_sets(tmp_path)
    assert test_set.name == "sentiment.owner_reviews_test"
    assert [item.references[0] for item in test_set.items] == ["positive", "negative", "positive"]
    assert fetch(REVIEWS, tmp_path) == result
    assert len(hub.asked) == 1
    with pytest.raises(SettingsError, match=r"holds other rows, of owner/reviews.*--output"):
        fetch(HubData("owner/other"), tmp_path)


@pytest.mark.parametrize(
    ("raw", "columns", "expected"),
    [
        (
            {"id": "1", "translation": {"de": "Hund", "en": "dog"}},
            {},
            {"source": "Hund", "target": "dog", "source_lang": "de", "target_lang": "en"},
        ),
        ({"article": "a", "highlights": "b", "id": "7"}, {}, {"document": "a", "summary": "b", "id": "7"}),
        ({"text": "bill", "summary": "b", "title": "t"}, {}, {"document": "bill", "summary": "b", "title": "t"}),
        (
            {"context": "c", "question": "q", "answers": {"text": ["x", "y"], "answer_start": [0, 2]}},
            {},
            {"context": "c", "question": "q", "answers": [{"text": "x"}, {"text": "y"}]},
        ),
        ({"content": "fine", "label": 1, "image": b""}, {}, {"text": "fine", "label": 1}),
        ({"text": "Once."}, {}, {"text": "Once."}),
        ({"story": "a", "gist": "b"}, {"document": "story", "summary": "gist"}, {"document": "a", "summary": "b"}),
    ],
)
def test_columns_become_fields(raw: dict[str, Any], columns: dict[str, str], expected: dict[str, Any]) -> None:
    assert to_row(raw, columns=columns) == expected


def test_columns_of_no_kind_say_how_to_map(hub: SimpleNamespace, tmp_path: Path) -> None:
    hub.rows = Rows([{"story": "a", "gist": "b"}])
    with pytest.raises(DataError, match=r"owner/x, row 1: the columns story, gist .*--hub-columns document=story"):
        fetch(HubData("owner/x"), tmp_path)
    with pytest.raises(DataError, match=r"row 1: there is no column 'tale'; there are story, gist"):
        fetch(HubData("owner/x", columns={"document": "tale"}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SettingsError, match=r"owner/reviews is no folder here.*pip install datasets"):
        fetch(REVIEWS, tmp_path)


def test_a_hub_that_does_not_answer_is_given_up(
    hub: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_data, "revision_of", lambda repo_id, token: time.sleep(5))
    monkeypatch.setattr(hub_data, "REACH_S", 0.1)
    started = time.monotonic()
    with pytest.raises(DataError, match="no folder owner/reviews, and the hub was not reached"):
        fetch(REVIEWS, tmp_path)
    assert time.monotonic() - started < 3


def test_a_missing_split_is_refused(hub: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        raise ValueError("Bad split: test. Available splits: ['train']")

    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", refuse)
    with pytest.raises(DataError, match=r"Available splits: \['train'\].*--hub-split"):
        fetch(REVIEWS, tmp_path)


def test_the_library_itself_reads_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder, which it takes in the place of an id."""
    pytest.importorskip("datasets", reason="datasets is not installed")
    source = tmp_path / "source"
    source.mkdir()
    rows = [{"sentence": f"Film {n}.", "label": n % 2} for n in range(5)]
    (source / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(hub_data, "revision_of", lambda repo_id, token: None)
    fetch(HubData(str(source), split="validation", limit=4), tmp_path / "data")
    ((test_set,), _) = read_test_sets(tmp_path / "data")
    assert [item.row["text"] for item in test_set.items] == [f"Film {n}." for n in range(4)]
    with pytest.raises(DataError, match="--hub-split"):
        fetch(HubData(str(source), split="nothing"), tmp_path / "other")
