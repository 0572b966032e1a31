import json
from pathlib import Path
from typing import Any

import pytest

from phi2demo.errors import ModelError, SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.declaration import FILE, Declaration, read_declaration
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.languages import LANGUAGES
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.translation import TranslationOptions


def write(folder: Path, value: Any) -> Path:
    (folder / FILE).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder


def test_nothing_declared_is_everything(tmp_path: Path) -> None:
    everything = Declaration()
    assert read_declaration(None) == read_declaration(tmp_path) == everything
    assert (everything.tasks, everything.languages) == (tuple(TASKS), tuple(LANGUAGES))


@pytest.mark.parametrize(
    "declaration",
    [
        Declaration(),
        Declaration(tasks=("sentiment",)),
        Declaration(("generation", "translation"), languages=("en", "de"), modes=("instruct",)),
        Declaration(("summarization",), lengths=("sentence",)),
    ],
)
def test_round_trip(declaration: Declaration, tmp_path: Path) -> None:
    assert read_declaration(write(tmp_path, declaration.to_json())) == declaration


def test_order_and_repetition_do_not_matter(tmp_path: Path) -> None:
    tasks = {"sentiment": {}, "translation": {"languages": ["fr", "en", "fr"]}}
    read = read_declaration(write(tmp_path, {"tasks": tasks}))
    assert (read.tasks, read.languages) == (("translation", "sentiment"), ("en", "fr"))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "not json",
        "[" * 100_000,
        [],
        {},
        3,
        {"tasks": []},
        {"tasks": {}},
        {"tasks": None},
        {"tasks": ["sentiment"]},
        {"tasks": {"dancing": {}}},
        {"tasks": {"sentiment": {}, "dancing": {}}},
        {"tasks": {"translation": None}},
        {"tasks": {"translation": []}},
        {"tasks": {"translation": {"languages": "en"}}},
        {"tasks": {"translation": {"languages": ["en"]}}},
        {"tasks": {"translation": {"languages": ["en", "en"]}}},
        {"tasks": {"translation": {"languages": ["en", "tlh"]}}},
        {"tasks": {"translation": {"languages": [["en"], ["de"]]}}},
        {"tasks": {"translation": {"languages": 5}}},
        {"tasks": {"generation": {"modes": []}}},
        {"tasks": {"generation": {"modes": ["sing"]}}},
        {"tasks": {"summarization": {"lengths": [1]}}},
    ],
)
def test_malformed_declarations_are_refused_without_the_folders_of_the_machine(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as told:
        read_declaration(write(tmp_path, value))
    assert f"{tmp_path.name}/{FILE}" in str(told.value)
    assert str(tmp_path.parent) not in str(told.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        read_declaration(tmp_path)


def test_lengths_that_a_model_was_not_taught_are_put_together() -> None:
    short = SummaryOptions("short")
    assert Declaration().adapt(short) == short
    taught = Declaration(lengths=("sentence",))
    assert taught.adapt(short) == SummaryOptions("short", by_parts=True)
    assert taught.adapt(SummaryOptions("sentence")) == SummaryOptions("sentence")
    assert taught.adapt(GenerationTaskOptions()) == GenerationTaskOptions()


def test_what_a_tab_starts_with() -> None:
    declaration = Declaration(languages=("de", "fr"), modes=("instruct",))
    assert declaration.default_options("translation") == TranslationOptions("de", "fr")
    assert declaration.default_options("generation") == GenerationTaskOptions("instruct")
    for task in TASKS:
        assert isinstance(declaration.default_options(task), TASKS[task].options_type)


@pytest.mark.parametrize("options", [TranslationOptions("en", "it"), TranslationOptions("nl", "en")])
def test_a_language_that_a_model_was_not_taught_is_refused(options: TranslationOptions) -> None:
    taught = Declaration(languages=("en", "de"))
    with pytest.raises(
        SettingsError, match=r"not finetuned for (Italian|Dutch); choose from en \(English\), de \(German\)"
    ):
        taught.adapt(options)
    assert taught.adapt(TranslationOptions("de", "en")) == TranslationOptions("de", "en")
