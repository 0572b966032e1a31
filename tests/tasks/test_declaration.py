import json
from dataclasses import replace
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
        Declaration(("translation", "sentiment"), taught_in={"sentiment": ("en",)}),
        Declaration(
            ("generation", "translation"),
            decoding={"translation": replace(TASKS["translation"].generation, num_beams=5, reverse_weight=0.25)},
        ),
    ],
)
def test_round_trip(declaration: Declaration, tmp_path: Path) -> None:
    assert read_declaration(write(tmp_path, declaration.to_json())) == declaration


def test_what_is_declared_keeps_its_order(tmp_path: Path) -> None:
    tasks = {"sentiment": {}, "translation": {"languages": ["fr", "en", "fr"]}}
    read = read_declaration(write(tmp_path, {"tasks": tasks}))
    assert (read.tasks, read.languages) == (("sentiment", "translation"), ("fr", "en"))


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
        {"tasks": {"sentiment": {"languages": "en"}}},
        {"tasks": {"sentiment": {"languages": []}}},
        {"tasks": {"generation": {"modes": []}}},
        {"tasks": {"generation": {"modes": ["sing"]}}},
        {"tasks": {"summarization": {"lengths": [1]}}},
        {"tasks": {"summarization": {"decoding": []}}},
        {"tasks": {"summarization": {"decoding": {"beams": 4}}}},
        {"tasks": {"summarization": {"decoding": {"stop": ["."]}}}},
        {"tasks": {"summarization": {"decoding": {"time_limit_s": 5}}}},
        {"tasks": {"summarization": {"decoding": {"num_beams": 99}}}},
        {"tasks": {"summarization": {"decoding": {"num_beams": "4"}}}},
        {"tasks": {"summarization": {"decoding": {"num_beams": 4, "temperature": 1.0}}}},
        {"tasks": {"summarization": {"decoding": {"reverse_weight": 0.3}}}},
        {"tasks": {"summarization": {"decoding": {"sentence_case": 1}}}},
        {"tasks": {"generation": {"decoding": {"sentence_case": True}}}},
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


def test_an_adapter_says_how_its_tokens_are_chosen(tmp_path: Path) -> None:
    said = {"num_beams": 6, "reverse_weight": 0.3, "sentence_case": True, "max_new_tokens": 64}
    read = read_declaration(write(tmp_path, {"tasks": {"translation": {"decoding": said}, "summarization": {}}}))
    own = TASKS["translation"].generation
    assert read.generation("translation") == replace(own, **said) != own  # type: ignore[arg-type]
    assert read.generation("summarization") == TASKS["summarization"].generation
    assert Declaration().generation("translation") == own


@pytest.mark.parametrize("task", TASKS)
def test_without_a_word_of_an_adapter_nothing_is_tuned_to_one(task: str) -> None:
    """What one model gains by may be what another loses by, or waits for: beams, guidance, a bias."""
    chosen = TASKS[task].generation
    plain = (chosen.num_beams, chosen.guidance_scale, chosen.copy_bias, chosen.reverse_weight)
    assert plain == (1, 1.0, 0.0, 0.0)
    assert not chosen.sentence_case


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
