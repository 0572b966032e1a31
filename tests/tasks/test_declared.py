"""What two adapters were finetuned for: each for itself, and together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import AdapterInfo, GenerationOptions, Variant
from phi2demo.errors import ModelError, SettingsError
from phi2demo.settings import ASSETS
from phi2demo.tasks import TASKS, register
from phi2demo.tasks.declared import (
    FILE,
    AdapterTasks,
    VariantTasks,
    read_adapter_tasks,
    read_tasks_file,
    read_variant_tasks,
)
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.scripted import INFO, ScriptedEngine


def write(folder: Path, value: Any) -> Path:
    (folder / FILE).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder


def test_nothing_declared_is_everything(tmp_path: Path) -> None:
    everything = AdapterTasks()
    assert read_adapter_tasks(None) == read_adapter_tasks(tmp_path) == everything
    assert (everything.tasks, everything.languages) == (tuple(TASKS), tuple(LANGUAGES))


@pytest.mark.parametrize(
    "adapter_tasks",
    [
        AdapterTasks(),
        AdapterTasks(tasks=("sentiment",)),
        AdapterTasks(("generation", "translation"), languages=("en", "de"), modes=("instruct",)),
        AdapterTasks(("summarization",), lengths=("sentence",)),
        AdapterTasks(("translation", "sentiment"), training_languages={"sentiment": ("en",)}),
        AdapterTasks(
            ("generation", "translation"),
            decoding={"translation": replace(TASKS["translation"].generation, num_beams=5, reverse_weight=0.25)},
        ),
    ],
)
def test_round_trip(adapter_tasks: AdapterTasks, tmp_path: Path) -> None:
    assert read_adapter_tasks(write(tmp_path, adapter_tasks.to_json())) == adapter_tasks


def test_what_is_declared_keeps_its_order(tmp_path: Path) -> None:
    tasks = {"sentiment": {}, "translation": {"languages": ["fr", "en", "fr"]}}
    read = read_adapter_tasks(write(tmp_path, {"tasks": tasks}))
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
        read_adapter_tasks(write(tmp_path, value))
    assert f"{tmp_path.name}/{FILE}" in str(told.value)
    assert str(tmp_path.parent) not in str(told.value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"Tasks": {"sentiment": {}}}, "the field Tasks is unknown; tasks may be meant"),
        ({"tasks": {"sentiment": {}}, "templates": "phi"}, "the field templates is unknown; template may be meant"),
        ({"tasks": {"sentiment": {}}, "colour": "red"}, "the field colour is unknown. It should look like"),
        ({"tasks": {"sentiment": {"langauges": ["en"]}}}, "langauges is unknown; languages may be meant"),
        ({"tasks": {"translation": {"decodings": {}}}}, "decodings is unknown; decoding may be meant"),
        ({"tasks": {"mine": {"instruction": "{text}", "feilds": {}}}}, "feilds is unknown; fields may be meant"),
        (
            {"tasks": {"mine": {"instruction": "{who} {text}", "fields": {"who": {"choice": ["a"]}}}}},
            "the field fields.who.choice is unknown; choices may be meant",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_that_may_be_meant(value: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        read_adapter_tasks(write(tmp_path, value))
    assert told in str(error.value)


@pytest.mark.parametrize("path", sorted(ASSETS.rglob(FILE)), ids=lambda path: path.parent.name)
def test_the_shipped_files_have_known_keys_alone(path: Path) -> None:
    assert read_tasks_file(path).tasks


@pytest.mark.parametrize(
    "tasks",
    [
        {"one": {"title": "Rewrite"}, "two": {"title": "rewrite "}},
        {"one": {}, "two": {"title": "One"}},
        {"sentiment": {}, "two": {"title": "Sentiment"}},
    ],
)
def test_two_tasks_with_one_title_are_refused(tasks: dict[str, Any], tmp_path: Path) -> None:
    entries = {
        name: entry if name == "sentiment" else entry | {"instruction": "{text}"} for name, entry in tasks.items()
    }
    with pytest.raises(
        ModelError, match=r"The tasks \w+ and \w+ have the same title .* another title in its tasks\.json"
    ):
        read_adapter_tasks(write(tmp_path, {"tasks": entries}))
    alone = {name: entry for name, entry in entries.items() if name == "two"}
    assert read_adapter_tasks(write(tmp_path, {"tasks": alone})).tasks == ("two",)


def test_two_adapters_whose_tasks_have_one_title_are_refused_together(tmp_path: Path) -> None:
    first, second = (
        read_adapter_tasks(write(tmp_path, {"tasks": {name: {"instruction": "{text}", "title": "Rewrite"}}}))
        for name in ("one", "two")
    )
    register((*first.own, *second.own))
    with pytest.raises(ModelError, match="The tasks one and two have the same title 'Rewrite'"):
        _ = VariantTasks(first, {"second": second}).either


def test_a_file_may_name_the_template_alone(tmp_path: Path) -> None:
    read = read_adapter_tasks(write(tmp_path, {"template": "alpaca"}))
    assert read == AdapterTasks(template="alpaca")
    assert not read.names_tasks
    german = AdapterTasks(languages=("en", "de"))
    assert read.joined(german) == german.joined(read) == german


def test_a_model_without_an_adapter_and_an_adapter_without_a_file_take_that_of_the_base(tmp_path: Path) -> None:
    merged, adapter = tmp_path / "merged", tmp_path / "adapter"
    for folder in (merged, adapter):
        folder.mkdir()
    write(merged, GERMAN.to_json())
    alone = replace(INFO, adapter=None, base_folder=merged)
    beside = replace(INFO, adapter_folder=adapter, base_folder=merged, others=(AdapterInfo("b", "b", "c", 2, adapter),))
    assert read_variant_tasks(alone).first == read_variant_tasks(beside).first == GERMAN
    assert read_variant_tasks(beside).others == {"b": GERMAN}
    write(adapter, FRENCH.to_json())
    assert read_variant_tasks(beside).first == FRENCH


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        read_adapter_tasks(tmp_path)


def test_lengths_that_a_model_was_not_finetuned_for_are_put_together() -> None:
    short = SummaryOptions("short")
    assert AdapterTasks().adapt(short) == short
    adapter_tasks = AdapterTasks(lengths=("sentence",))
    assert adapter_tasks.adapt(short) == SummaryOptions("short", by_parts=True)
    assert adapter_tasks.adapt(SummaryOptions("sentence")) == SummaryOptions("sentence")
    assert adapter_tasks.adapt(GenerationTaskOptions()) == GenerationTaskOptions()


def test_an_adapter_says_how_its_tokens_are_chosen(tmp_path: Path) -> None:
    said = {"num_beams": 6, "reverse_weight": 0.3, "sentence_case": True, "max_new_tokens": 64}
    read = read_adapter_tasks(write(tmp_path, {"tasks": {"translation": {"decoding": said}, "summarization": {}}}))
    own = TASKS["translation"].generation
    assert read.generation("translation") == replace(own, **said) != own  # type: ignore[arg-type]
    assert read.generation("summarization") == TASKS["summarization"].generation
    assert AdapterTasks().generation("translation") == own


@pytest.mark.parametrize("task", TASKS)
def test_without_a_word_of_an_adapter_nothing_is_tuned_to_one(task: str) -> None:
    """What one model gains by may be what another loses by, or waits for: beams, guidance, a bias."""
    chosen = TASKS[task].generation
    plain = (chosen.num_beams, chosen.guidance_scale, chosen.copy_bias, chosen.reverse_weight)
    assert plain == (1, 1.0, 0.0, 0.0)
    assert not chosen.sentence_case


def test_what_a_tab_starts_with() -> None:
    adapter_tasks = AdapterTasks(languages=("de", "fr"), modes=("instruct",))
    assert adapter_tasks.default_options("translation") == TranslationOptions("de", "fr")
    assert adapter_tasks.default_options("generation") == GenerationTaskOptions("instruct")
    for task in TASKS:
        assert isinstance(adapter_tasks.default_options(task), TASKS[task].options_type)


@pytest.mark.parametrize("options", [TranslationOptions("en", "it"), TranslationOptions("nl", "en")])
def test_a_language_that_a_model_was_not_finetuned_for_is_refused(options: TranslationOptions) -> None:
    adapter_tasks = AdapterTasks(languages=("en", "de"))
    with pytest.raises(
        SettingsError, match=r"not finetuned for (Italian|Dutch); choose from en \(English\), de \(German\)"
    ):
        adapter_tasks.adapt(options)
    assert adapter_tasks.adapt(TranslationOptions("de", "en")) == TranslationOptions("de", "en")


MEASURED = [ASSETS / f"evaluation/set/{name}.test.jsonl" for name in ("questions", "reviews_and_moods", "summaries")]
NOTHING = AdapterTasks()
GERMAN = AdapterTasks(("generation", "translation"), languages=("en", "de"), modes=("continue",))
FRENCH = AdapterTasks(("summarization", "translation", "sentiment"), languages=("en", "fr"), lengths=("sentence",))
SHORT = AdapterTasks(("summarization",), lengths=("sentence", "short"))
SECOND = replace(INFO, others=(AdapterInfo("second", "tiny-second", "cccccccccccc", 2),))


def test_together_they_offer_what_either_was_finetuned_for() -> None:
    both = VariantTasks(GERMAN, {"second": FRENCH}).either
    assert both.tasks == (*GERMAN.tasks, *(task for task in FRENCH.tasks if task not in GERMAN.tasks))
    assert (both.languages, both.modes, both.lengths) == (("en", "de", "fr"), ("continue",), ("sentence",))
    turned = VariantTasks(FRENCH, {"second": GERMAN}).either
    assert (set(turned.tasks), set(turned.languages)) == (set(both.tasks), set(both.languages))
    assert turned.tasks[: len(FRENCH.tasks)] == FRENCH.tasks
    assert VariantTasks(FRENCH, {"second": SHORT}).either.lengths == ("sentence", "short")
    assert VariantTasks(GERMAN).either == GERMAN


@pytest.mark.parametrize(("first", "second"), [(GERMAN, NOTHING), (NOTHING, GERMAN), (GERMAN, GERMAN)])
def test_who_declares_nothing_adds_nothing(first: AdapterTasks, second: AdapterTasks) -> None:
    assert VariantTasks(first, {"second": second}).either == GERMAN


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        (("finetuned",), GERMAN), (("base",), GERMAN), (("finetuned", "base"), GERMAN), (("second",), FRENCH),
        (("base", "finetuned", "second"), VariantTasks(GERMAN, {"second": FRENCH}).either),
    ],
)  # fmt: skip
def test_each_is_asked_what_it_was_finetuned_for(variants: tuple[Variant, ...], expected: AdapterTasks) -> None:
    assert VariantTasks(GERMAN, {"second": FRENCH}).of(variants) == expected
    assert VariantTasks(GERMAN).of(variants) == GERMAN


@pytest.mark.parametrize(
    ("adapter_tasks", "task", "options", "missing"),
    [
        (GERMAN, "sentiment", SentimentOptions(), "sentiment"),
        (FRENCH, "generation", GenerationTaskOptions("continue"), "generation"),
        (GERMAN, "generation", GenerationTaskOptions("continue"), ""),
        (GERMAN, "generation", GenerationTaskOptions("instruct"), "the mode 'Follow my instruction'"),
        (GERMAN, "translation", TranslationOptions("en", "de"), ""),
        (GERMAN, "translation", TranslationOptions("en", "fr"), "French"),
        (GERMAN, "translation", TranslationOptions("it", "fr"), "Italian and French"),
        (FRENCH, "summarization", SummaryOptions("medium"), "summaries of a short paragraph"),
        (FRENCH, "summarization", SummaryOptions("medium", by_parts=True), ""),
        (FRENCH, "summarization", SummaryOptions("sentence"), ""),
        (NOTHING, "translation", TranslationOptions("it", "fr"), ""),
    ],
)
def test_what_of_a_request_a_model_was_not_finetuned_for(
    adapter_tasks: AdapterTasks, task: str, options: TaskOptions, missing: str
) -> None:
    expected = f"This adapter was not finetuned for {missing}." if missing else ""
    assert adapter_tasks.missing(task, options) == expected


def notes(
    declared: VariantTasks, task: str, options: TaskOptions, text: str = "Some text."
) -> dict[Variant, tuple[str, ...]]:
    """What an assistant adds before the notes that a task makes itself."""
    engine = ScriptedEngine(info=SECOND)
    request = check(Request(task, text, options, GenerationOptions(max_new_tokens=9), ("base", "finetuned", "second")))
    without = {result.variant: result.notes for result in Assistant(engine).answer(request)}
    noted = {result.variant: result.notes for result in Assistant(engine, declared).answer(request)}
    added = {variant: noted[variant][: len(noted[variant]) - len(without[variant])] for variant in noted}
    assert all(noted[variant] == added[variant] + without[variant] for variant in noted), "the task's notes stay"
    return added


def test_only_the_answer_of_the_adapter_that_lacks_it_is_noted() -> None:
    declared = VariantTasks(GERMAN, {"second": FRENCH})
    lacks = ("This adapter was not finetuned for sentiment.",)
    assert notes(declared, "sentiment", SentimentOptions()) == {"base": (), "finetuned": lacks, "second": ()}
    french = notes(declared, "translation", TranslationOptions("en", "fr"))
    assert french == {"base": (), "finetuned": ("This adapter was not finetuned for French.",), "second": ()}
    german = notes(declared, "translation", TranslationOptions("en", "de"))
    assert german == {"base": (), "finetuned": (), "second": ("This adapter was not finetuned for German.",)}
    for silent in (VariantTasks(NOTHING, {"second": NOTHING}), VariantTasks(NOTHING)):
        assert not any(notes(silent, "sentiment", SentimentOptions()).values())


REVIEW = "Ce film est une catastrophe du début à la fin, et les acteurs n'y peuvent rien."


def test_an_answer_to_a_text_in_a_language_that_was_not_measured_is_noted() -> None:
    english = AdapterTasks(("sentiment",), training_languages={"sentiment": ("en",)})
    both = AdapterTasks(("sentiment",), training_languages={"sentiment": ("en", "fr")})
    note = "The text looks like French; this task was finetuned on English texts alone: the answer may be worthless."
    found = notes(VariantTasks(english, {"second": both}), "sentiment", SentimentOptions(), REVIEW)
    assert found == {"base": (note,), "finetuned": (note,), "second": ()}
    for silent in (
        VariantTasks(both, {"second": NOTHING}),
        VariantTasks(NOTHING),
        VariantTasks(GERMAN, {"second": FRENCH}),
    ):
        assert note not in {
            each for given in notes(silent, "sentiment", SentimentOptions(), REVIEW).values() for each in given
        }


def test_no_english_text_that_is_shipped_is_taken_for_another_language() -> None:
    shipped = read_adapter_tasks(ASSETS / "adapter")
    rows = [json.loads(line) for file in MEASURED for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [next(row[key] for key in ("text", "context", "document") if key in row) for row in rows]
    for name in ("sentiment", "summarization", "question_answering"):
        texts += [
            each["text"] for each in json.loads((ASSETS / "examples" / f"{name}.json").read_text(encoding="utf-8"))
        ]
    texts += [
        "Maria Garcia-Lopez",
        "Amelie is a charming film",
        "sterile and dull",
        "Klaus Schmidt",
        "Gabriel García Márquez",
    ]
    assert len(texts) > 150
    assert not [text for text in texts if shipped.foreign("sentiment", text)]
    told = {shipped.foreign(name, REVIEW) for name in shipped.tasks if name != "translation"}
    assert len(told) == 1
    assert "" not in told
    assert shipped.foreign("translation", REVIEW) == "", "a translation says so itself"


def test_what_was_measured_together_is_what_both_say() -> None:
    english = AdapterTasks(
        ("sentiment", "summarization"), training_languages=dict.fromkeys(("sentiment", "summarization"), ("en",))
    )
    german = AdapterTasks(("sentiment",), training_languages={"sentiment": ("de",)})
    for first, second, languages in ((english, german, ("en", "de")), (german, english, ("de", "en"))):
        both = {"sentiment": languages, "summarization": ("en",)}
        assert VariantTasks(first, {"second": second}).either.training_languages == both
    silent = AdapterTasks(("summarization",), lengths=("short",))
    assert VariantTasks(english, {"second": silent}).either.training_languages == {"sentiment": ("en",)}


def test_a_length_that_one_was_finetuned_for_is_asked_as_it_is() -> None:
    either = VariantTasks(FRENCH, {"second": SHORT}).either
    assert either.adapt(SummaryOptions("short")) == SummaryOptions("short")
    assert either.adapt(SummaryOptions("medium")) == SummaryOptions("medium", by_parts=True)
    lacks = ("This adapter was not finetuned for summaries of two or three sentences.",)
    assert (
        notes(VariantTasks(FRENCH, {"second": SHORT}), "summarization", SummaryOptions("short"))["finetuned"] == lacks
    )


def test_of_two_adapters_the_first_says_how_tokens_are_chosen() -> None:
    one, other = (replace(TASKS["translation"].generation, num_beams=beams) for beams in (2, 4))
    label = replace(TASKS["sentiment"].generation, max_new_tokens=3)
    first = replace(GERMAN, decoding={"translation": one})
    second = replace(FRENCH, decoding={"translation": other, "sentiment": label})
    declared = VariantTasks(first, {"second": second})
    assert declared.either.decoding == {"translation": one, "sentiment": label}
    assert declared.asked_of("second").generation("translation") == other
    assert declared.asked_of("difference").generation("translation") == one
    silent = VariantTasks(GERMAN, {"second": second}).either
    assert silent.generation("translation") == TASKS["translation"].generation, "nothing said is said too"


def test_what_only_the_other_was_finetuned_for_is_refused_with_its_name() -> None:
    declared = VariantTasks(GERMAN, {"second": FRENCH})
    with pytest.raises(SettingsError, match="not finetuned for sentiment; choose second"):
        declared.adapt("sentiment", SentimentOptions(), ("finetuned", "base"))
    with pytest.raises(SettingsError, match="not finetuned for generation; choose finetuned"):
        declared.adapt("generation", GenerationTaskOptions(), ("second",))
    with pytest.raises(SettingsError, match=r"not finetuned for German; choose from en \(English\), fr \(French\)"):
        declared.adapt("translation", TranslationOptions("en", "de"), ("second",))
    every: tuple[Variant, ...] = ("finetuned", "base", "second")
    assert declared.adapt("sentiment", SentimentOptions(), every) == SentimentOptions()


def test_they_are_read_from_the_folders_of_what_is_loaded(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder, adapter_tasks in zip(folders, (GERMAN, FRENCH), strict=True):
        folder.mkdir()
        (folder / FILE).write_text(adapter_tasks.to_json())
    info: Any = replace(INFO, adapter_folder=folders[0], others=(AdapterInfo("second", "s", "c", 2, folders[1]),))
    read = read_variant_tasks(info)
    assert (read.of(("finetuned",)).tasks, read.of(("second",)).tasks) == (GERMAN.tasks, FRENCH.tasks)
    assert read_variant_tasks(INFO) == VariantTasks(NOTHING)
    base = tmp_path / "base"
    base.mkdir()
    (base / "pretraining.json").write_text("{}")
    assert read_variant_tasks(replace(INFO, base_folder=base)) == VariantTasks(NOTHING, base_prompt_style="plain")
    (folders[1] / FILE).write_text(json.dumps({"tasks": {"dancing": {}}}))
    with pytest.raises(ModelError, match=r"second/tasks\.json: dancing: the field instruction is missing"):
        read_variant_tasks(info)
