""""""

import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.cards.examples import choose_failures, make_samples, read_failures, read_prompts, read_samples
from phi2demo.cards.facts import Sample
from phi2demo.data.files import sha256_of
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.errors import DataError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.declared import AdapterTasks
from tests.cards.reports import figure, one_test_set, write_report

PROMPTS = ["The train", "The small cat", "The train"]


def test_the_prompts_of_the_cards_are_twenty_different_ones() -> None:
    prompts = read_prompts()
    assert len(set(prompts)) == len(prompts) == 20


def load(base: Path, adapter: Path | None = None) -> LocalEngine:
    settings = ModelSettings(model=str(base), adapter=str(adapter) if adapter else None, device="cpu", dtype="float32")
    return LocalEngine.load(plan(settings))


def test_each_prompt_has_its_seed_and_a_rerun_gives_the_same(tiny_base: Path, tiny_adapter: Path) -> None:
    engine = load(tiny_base, tiny_adapter)
    samples = list(make_samples(engine, PROMPTS, AdapterTasks()))
    assert [(sample.prompt, sample.seed, sample.variant) for sample in samples] == [
        ("The train", 0, "finetuned"), ("The small cat", 1, "finetuned"), ("The train", 2, "finetuned"),
    ]  # fmt: skip
    assert samples[0].text != samples[2].text
    assert list(make_samples(engine, PROMPTS, AdapterTasks())) == samples


def test_a_bare_base_goes_on_with_the_prompt_itself(tiny_base: Path, tiny_adapter: Path) -> None:
    bare = list(make_samples(load(tiny_base), PROMPTS, AdapterTasks()))
    assert [(sample.prompt, sample.variant) for sample in bare] == [(prompt, "base") for prompt in PROMPTS]
    assert bare[0].text != bare[2].text


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    sample = Sample("Où est", 3, "la gare?\n|", "base")
    path = tmp_path / "samples.jsonl"
    path.write_text(sample.to_json() + "\n", encoding="utf-8")
    assert read_samples(path) == [sample]


def test_failures(tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    path.write_text(json.dumps({"input": "a", "output": "b", "reference": "c"}) + "\n")
    (result,) = read_failures(path)
    assert (result.input, result.output, result.reference, result.note) == ("a", "b", "c", "")


@pytest.mark.parametrize(("text", "message"), [("", "holds no lines"), ('{"prompt": "a"}\n', "line 1: KeyError")])
def test_what_is_no_file_of_samples(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_samples(path)


PAIRS = [("The cat sleeps.", "Die Katze schläft."), ("I am tired.", "Ich bin müde."), ("Good night.", "Gute Nacht.")]
REVIEWS = [("A good film.", 1), ("A bad film.", 0)]
ANSWERS = {
    "translation.own.en-de": ["Die Katze schläft.", "Bären\u2028kauften\x85Holz", "Gute Nacht!"],
    "sentiment.reviews": ["positive", "positive"],
}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The report and the data that it is of."""
    data = tmp_path / "data"
    pairs = [{"source": a, "target": b, "source_lang": "en", "target_lang": "de"} for a, b in PAIRS]
    files = {
        "translation.own.en-de": write_lines(data / "own.en-de.test.jsonl", pairs),
        "sentiment.reviews": write_lines(
            data / "reviews.test.jsonl", [{"text": text, "label": label} for text, label in REVIEWS]
        ),
    }
    test_sets = []
    for name, path in files.items():
        told = one_test_set(name, figure("chrf", "chrF", 1, 1, p=1.0))
        test_sets.append(told | {"data": {"name": path.name, "sha256": sha256_of(path), "split": "test", "note": ""}})
        rows = [{"index": index, "output": text, "seconds": 1.0} for index, text in enumerate(ANSWERS[name])]
        write_lines(tmp_path / "outputs" / f"{name}.finetuned.jsonl", [{"asked": "x"}, *rows])
    settings = {"systems": ["finetuned"], "batch_size": 1, "resamples": 100, "seed": 0, "split": "test"}
    return write_report(tmp_path / "report.json", test_sets=test_sets, settings=settings), data


def test_the_worst_answer_of_each_task_is_chosen(folders: tuple[Path, Path]) -> None:
    translation, sentiment = choose_failures([folders[0]], folders[1])
    assert (translation.input, translation.output) == ("into German: I am tired.", "Bären\u2028kauften\x85Holz")
    assert translation.reference == "Ich bin müde."
    assert translation.note.startswith("Translation, chrF ")
    assert (sentiment.input, sentiment.output, sentiment.reference) == ("A bad film.", "positive", "negative")
    assert sentiment.note == "Sentiment, accuracy 0.0: the worst of 2"


def test_a_base_shows_its_own(folders: tuple[Path, Path]) -> None:
    report, data = folders
    rows = [{"index": index, "output": text, "seconds": 1.0} for index, text in enumerate(["negative", "negative"])]
    write_lines(report.parent / "outputs" / "sentiment.reviews.base_plain.jsonl", [{"asked": "x"}, *rows])
    (only,) = choose_failures([report], data, adapter=False)
    assert (only.output, only.reference) == ("negative", "positive")


def test_texts_of_other_files_are_not_shown(folders: tuple[Path, Path]) -> None:
    report, data = folders
    path = data / "own.en-de.test.jsonl"
    path.write_text(path.read_text().replace("tired", "hungry"))
    (only,) = choose_failures([report], data)
    assert only.note.startswith("Sentiment")
    (data / "reviews.test.jsonl").unlink()
    with pytest.raises(DataError, match="No report has answers to the items"):
        choose_failures([report], data)
