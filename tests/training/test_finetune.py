import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi2demo.data.corpus import Source
from phi2demo.engine.planning import plan
from phi2demo.errors import DataError, ModelError, SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.declared import AdapterTasks, read_adapter_tasks
from phi2demo.training.finetune import adapt, load_base, load_tokenizer, save, text_languages
from phi2demo.training.instructions import REPLAY, TASK_WEIGHTS
from phi2demo.training.record import Stage, read_record
from phi2demo.training.settings import FinetuneSettings

from .conftest import write_rows
from .tiny_runs import STEPS, assert_similar, curve, run_finetune, run_process

TARGETS = {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}


@pytest.fixture(scope="module")
def adapter(corpus: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return run_finetune(corpus, tmp_path_factory.mktemp("runs") / "adapter", tiny_base)


def test_the_loss_falls_and_is_validated_by_task(adapter: Path) -> None:
    rows = curve(adapter)
    assert [row["step"] for row in rows] == [20, STEPS, STEPS]
    assert rows[1]["loss"] < rows[0]["loss"]
    losses = rows[2]["validation"]
    assert losses.keys() == {"all", *TASK_WEIGHTS}
    assert min(losses.values()) < losses["all"] < max(losses.values())


def test_the_folder_is_complete(adapter: Path, tiny_base: Path) -> None:
    files = {path.name for path in adapter.iterdir() if path.is_file()}
    assert files == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "finetuning.json",
        "log.jsonl",
        "tasks.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 32, 0.0)
    assert {name.rpartition(".")[2] for name in config["target_modules"]} == TARGETS
    tensors = load_file(adapter / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * len(TARGETS)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


def test_the_folder_records_what_was_trained_on_which_data(adapter: Path) -> None:
    adapter_tasks = read_adapter_tasks(adapter)
    assert set(adapter_tasks.tasks) == set(TASK_WEIGHTS) - {REPLAY}
    assert (adapter_tasks.languages, adapter_tasks.modes, adapter_tasks.lengths) == (
        ("en", "de"),
        ("continue",),
        ("sentence",),
    )
    assert adapter_tasks.training_languages == dict.fromkeys(
        ("summarization", "sentiment", "question_answering"), ("en",)
    )
    stage = stage_of(adapter)
    assert (stage.kind, stage.steps) == ("finetuning", STEPS)
    assert stage.tokens == curve(adapter)[1]["tokens"]
    assert {report.name for report in stage.cleaning} >= {"leads", "pairs", "questions", "reviews", "tales"}
    assert stage.tasks == pytest.approx(TASK_WEIGHTS)
    assert stage.weights["pairs"] == pytest.approx(TASK_WEIGHTS["translation"])
    assert sum(stage.weights.values()) == pytest.approx(1)
    assert stage.settings["model"] == "tiny-base"
    assert stage.emissions is not None


def test_peft_loads_the_folder_and_it_changes_the_model(adapter: Path, tiny_base: Path) -> None:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), adapter)
    ids = AutoTokenizer.from_pretrained(adapter)("The cat", return_tensors="pt")
    with torch.no_grad():
        tuned = model(**ids).logits
        with model.disable_adapter():
            bare = model(**ids).logits
    assert not torch.allclose(tuned, bare, atol=0.01)


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_unbroken_one(
    adapter: Path, corpus: Path, tiny_base: Path, tmp_path: Path
) -> None:
    killed = run_process("finetune", {"data": corpus, "output": tmp_path, "model": str(tiny_base), "kill_at": 10})
    assert killed.returncode == -9, killed.stderr
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000004", "step-00000008"]
    run_finetune(corpus, tmp_path, tiny_base)
    assert curve(tmp_path) == curve(adapter)
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, adapter))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_processes_equal_one(corpus: Path, tiny_base: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"precision": "fp32", "steps": 6, "batch_size": 5}
    arguments = {"data": corpus, "output": tmp_path / "two", "model": str(tiny_base)}
    two = run_process("finetune", arguments | changes, processes=2)
    assert two.returncode == 0, two.stderr
    run_finetune(corpus, tmp_path / "one", tiny_base, **changes)
    assert stage_of(tmp_path / "two").processes == 2
    assert_similar(curve(tmp_path / "two"), curve(tmp_path / "one"))


def test_the_dropout_of_a_base_is_off_and_gradient_checkpointing_changes_nothing(
    corpus: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """Phi-2's own config has dropout, which a resumed run would not repeat."""
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_base.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = json.loads((base / "config.json").read_text())
    config |= {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attention_dropout": 0.5}
    (base / "config.json").write_text(json.dumps(config))
    run_finetune(corpus, tmp_path / "plain", tiny_base, steps=3, precision="fp32")
    run_finetune(corpus, tmp_path / "dropout", base, steps=3, precision="fp32", gradient_checkpointing=True)
    plain, dropout = curve(tmp_path / "plain"), curve(tmp_path / "dropout")
    assert dropout[0]["loss"] == pytest.approx(plain[0]["loss"], rel=1e-5)


def test_only_trained_tasks_are_declared(corpus: Path, tiny_base: Path, tmp_path: Path) -> None:
    mix = dict.fromkeys(TASK_WEIGHTS, 0.0) | {"sentiment": 1.0}
    folder = run_finetune(corpus, tmp_path, tiny_base, steps=None, epochs=0.2, mix=mix)
    assert read_adapter_tasks(folder).tasks == ("sentiment",)
    stage = stage_of(folder)
    assert (stage.tasks, stage.weights) == ({"sentiment": 1.0}, {"reviews": 1.0})
    (rows,) = (report.kept["train"] for report in stage.cleaning if report.name == "reviews")
    assert stage.steps == round(0.2 * rows / 4)


def stage_of(folder: Path) -> Stage:
    record = read_record(folder)
    assert record is not None
    return record.last


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 1}, "--max-length 1: give at least 2 tokens"),
        ({"max_length": 1000}, "--max-length 1000: .* reads 256 tokens; give 2 to 256"),
        ({"mix": dict.fromkeys(TASK_WEIGHTS, 0.0)}, "no training rows for a task with a weight"),
    ],
)
def test_settings_that_do_not_fit_the_base_or_the_data_are_refused(
    corpus: Path, tiny_base: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((SettingsError, DataError), match=message):
        run_finetune(corpus, tmp_path / "adapter", tiny_base, **changes)


def test_a_file_as_output_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").write_text("")
    with pytest.raises(SettingsError, match=r"--output .* is no folder that can be written into"):
        run_finetune(corpus, tmp_path / "adapter", tmp_path / "no-such-base")


def test_a_missing_base_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--model"):
        run_finetune(corpus, tmp_path / "adapter", tmp_path / "no-such-base")


QUOTES = [{"text": f"A quote of one sentence, number {number}"} for number in range(30)]


def test_a_task_without_a_held_out_example_is_not_validated(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tales = [{"text": f"It rained {number} times. Then it was over. They slept."} for number in range(30)]
    write_rows(tmp_path / "data" / "tales.train.jsonl", tales)
    write_rows(tmp_path / "data" / "tales.validation.jsonl", QUOTES)
    run_finetune(tmp_path / "data", tmp_path / "adapter", tiny_base, steps=2)
    assert curve(tmp_path / "adapter")[-1]["validation"].keys() == {"all", REPLAY}
    assert (
        "No validation row for generation gives an example of at most 256 tokens; it takes a text of two or more "
        "sentences, of which one after the first has at most 160 tokens. It is left out of validation."
    ) in capsys.readouterr().err


def test_a_task_without_a_training_example_is_not_declared(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reviews = [{"text": f"It was good {number} times.", "label": number % 2} for number in range(30)]
    write_rows(tmp_path / "data" / "quotes.train.jsonl", QUOTES)
    write_rows(tmp_path / "data" / "reviews.train.jsonl", reviews)
    folder = run_finetune(tmp_path / "data", tmp_path / "adapter", tiny_base, steps=2)
    assert read_adapter_tasks(folder).tasks == ("sentiment",)
    assert "No training row for generation gives an example" in capsys.readouterr().err


def test_held_out_rows_without_examples_are_refused_before_the_first_step(tiny_base: Path, tmp_path: Path) -> None:
    question = {"context": "The cat sleeps.", "question": "Who sleeps?", "answers": [{"text": "the cat"}]}
    write_rows(tmp_path / "data" / "qa.train.jsonl", [question])
    write_rows(tmp_path / "data" / "qa.validation.jsonl", [question | {"context": "The old cat sleeps here. " * 99}])
    with pytest.raises(
        DataError, match=r"No validation row for question_answering .*an answer, and a context that fits"
    ):
        run_finetune(tmp_path / "data", tmp_path / "adapter", tiny_base, steps=2)
    assert not (tmp_path / "adapter" / "log.jsonl").exists()


def test_a_run_does_not_continue_with_more_data(tiny_base: Path, tmp_path: Path) -> None:
    rows = [{"text": f"It was good {number} times.", "label": number % 2} for number in range(30)]
    data = tmp_path / "data"
    write_rows(data / "reviews.train.jsonl", rows[:20])
    run_finetune(data, tmp_path / "adapter", tiny_base, steps=2)
    write_rows(data / "reviews.train.jsonl", rows)
    with pytest.raises(SettingsError, match=r"\(--data\)"):
        run_finetune(data, tmp_path / "adapter", tiny_base, steps=2)


def test_a_run_does_not_continue_with_other_rows(tiny_base: Path, tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "adapter"
    for text in ("good", "bad"):
        rows = [{"text": f"It was {text} {number} times.", "label": number % 2} for number in range(20)]
        write_rows(data / "reviews.train.jsonl", rows)
        if text == "good":
            run_finetune(data, folder, tiny_base, steps=2)
    with pytest.raises(SettingsError, match=r"\(--data\)"):
        run_finetune(data, folder, tiny_base, steps=2)
    (state,) = (folder / "checkpoints").glob("step-*/state.json")
    content = json.loads(state.read_text())
    del content["identity"]["data_files"]  # earlier versions did not write it
    state.write_text(json.dumps(content))
    run_finetune(data, folder, tiny_base, steps=2)


CPU = torch.device("cpu")


@pytest.fixture
def settings(tiny_base: Path, tmp_path: Path) -> FinetuneSettings:
    return FinetuneSettings(data=tmp_path, output=tmp_path / "adapter", model=str(tiny_base), steps=1, rank=4)


def test_layers_that_the_base_lacks_are_refused(settings: FinetuneSettings) -> None:
    model = load_base(plan(ModelSettings(model=settings.model)), settings, CPU)
    with pytest.raises(SettingsError, match="--targets Wqkv does not fit"):
        adapt(model, replace(settings, targets=("Wqkv",)))


def test_a_new_adapter_changes_nothing_and_is_trained_alone(settings: FinetuneSettings) -> None:
    model = load_base(plan(ModelSettings(model=settings.model)), settings, CPU)
    ids = torch.arange(2, 9)[None]
    with torch.no_grad():
        before = model(ids).logits
        adapted = adapt(model, settings)
        assert torch.equal(adapted(ids).logits, before)
    assert all("lora" in name for name, parameter in adapted.named_parameters() if parameter.requires_grad)


def test_transformers_finds_the_base_by_its_name_in_the_folder(
    settings: FinetuneSettings, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--base-name` is relative to the place where the folder will be used."""
    settings, base = replace(settings, base_name="assets/model"), plan(ModelSettings(model=settings.model))
    adapter_tasks = AdapterTasks(tasks=("sentiment",))
    settings.output.mkdir()
    save(adapt(load_base(base, settings, CPU), settings), load_tokenizer(base, settings), adapter_tasks, settings)
    assert read_adapter_tasks(settings.output) == adapter_tasks
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "model").symlink_to(tiny_base, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    config = json.loads((settings.output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "assets/model"
    tokenizer = AutoTokenizer.from_pretrained("adapter")
    model = AutoModelForCausalLM.from_pretrained("adapter")
    ids = model.generate(**tokenizer("The cat", return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(ids[0]).startswith("The cat")


ENGLISH = "The old man walked slowly through the garden and looked at the roses."
GERMAN = "Der alte Mann ging langsam durch den Garten und sah sich die Rosen an."
POLISH = "Stary człowiek szedł powoli przez ogród i oglądał piękne czerwone róże."


def reviews(*counted: tuple[str, int]) -> Source:
    rows = tuple({"text": text, "label": 1} for text, count in counted for _ in range(count))
    return Source("reviews", "sentiment", {"train": rows, "validation": (), "test": ()})


@pytest.mark.parametrize(
    ("counted", "codes"),
    [
        (((ENGLISH, 20),), ("en",)),
        (((GERMAN, 500), (ENGLISH, 500)), ("en", "de")),
        (((ENGLISH, 200), (GERMAN, 199)), ("en", "de")),  # spread evenly, up to the last
        (((ENGLISH, 300), (GERMAN, 3)), ("en",)),  # a quotation, or a mistake
        (((ENGLISH, 3),), ()),  # too few texts
        (((ENGLISH, 20), (POLISH, 20)), ()),  # a language without a name in the app
        ((("no", 50),), ()),  # too short to detect
    ],
)
def test_the_languages_of_texts_are_detected(counted: tuple[tuple[str, int], ...], codes: tuple[str, ...]) -> None:
    assert text_languages([reviews(*counted)], "sentiment") == codes


def test_the_texts_of_every_data_set_are_sampled() -> None:
    assert text_languages([reviews((ENGLISH, 9000)), reviews((GERMAN, 200))], "sentiment") == ("en", "de")
    assert text_languages([], "sentiment") == ()
