import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi2demo.errors import ModelError, SettingsError
from phi2demo.training.pretrain import check_start
from phi2demo.training.record import read_record
from phi2demo.training.settings import PRESETS, PretrainSettings

from .conftest import write_rows
from .tiny_runs import STEPS, assert_similar, curve, run_pretrain, run_process


@pytest.fixture(scope="module")
def base(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return run_pretrain(corpus, tmp_path_factory.mktemp("runs") / "base")


def test_the_loss_falls_and_is_validated(base: Path) -> None:
    rows = curve(base)
    assert [row["step"] for row in rows] == [20, STEPS, STEPS]
    assert rows[1]["loss"] < rows[0]["loss"] < 6.3  # the loss of a uniform guess among 512 is 6.24
    assert rows[1]["tokens"] == pytest.approx(12_000, rel=0.05)
    losses = rows[2]["validation"]
    assert losses.keys() > {"all", "tales"}
    assert min(losses.values()) <= losses["all"] <= max(losses.values())


def test_a_run_continues_from_another_base(base: Path, corpus: Path, tmp_path: Path) -> None:
    further = run_pretrain(corpus, tmp_path / "further", start=base)
    assert (further / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    record = read_record(further)
    assert record is not None
    assert [stage.settings["start"] for stage in record.stages] == [None, "base"]
    first, last = curve(base)[0]["loss"], curve(base)[-1]["validation"]["all"]
    assert curve(further)[0]["loss"] < first
    assert curve(further)[-1]["validation"]["all"] < last


def test_a_base_of_another_shape_is_refused_before_anything_is_written(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 128}))
    with pytest.raises(SettingsError, match="max_position_embeddings 128, the preset 256"):
        run_pretrain(corpus, tmp_path / "further", start=other)
    assert not (tmp_path / "further").exists()


def test_the_folder_is_a_model_that_transformers_loads(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    assert model.dtype == torch.bfloat16
    assert model.config.model_type == "phi"
    assert model.config.tie_word_embeddings
    assert tokenizer.vocab_size == model.config.vocab_size <= PRESETS["tiny"].vocab_size
    ids = model.generate(**tokenizer("The cat", return_tensors="pt"), max_new_tokens=4, do_sample=False)
    assert tokenizer.decode(ids[0]).startswith("The cat")


def test_the_folder_records_what_was_trained_on_which_data(base: Path) -> None:
    record = read_record(base)
    assert record is not None
    (stage,) = record.stages
    assert (stage.kind, stage.settings["preset"], stage.settings["learning_rate"]) == ("pretraining", "tiny", 3e-3)
    assert stage.tokens == curve(base)[1]["tokens"]
    assert {report.name for report in stage.cleaning} == {"leads", "levels", "pairs", "questions", "reviews", "tales"}
    assert stage.weights.keys() >= {"leads", "pairs", "tales"}
    assert sum(stage.weights.values()) == pytest.approx(1)
    assert [point.loss for point in stage.curve] == [row["loss"] for row in curve(base)[:2]]
    assert stage.validations[-1].losses == curve(base)[-1]["validation"]
    assert stage.emissions is not None
    assert stage.emissions.hours == stage.hours > 0
    assert stage.hardware is not None
    assert (stage.hardware.cores, stage.hardware.gpus) == (1, 0)


def test_no_folder_of_this_machine_is_recorded(base: Path, corpus: Path) -> None:
    text = (base / "pretraining.json").read_text()
    assert str(base.parent) not in text
    assert str(corpus.parent) not in text


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_unbroken_one(base: Path, corpus: Path, tmp_path: Path) -> None:
    killed = run_process("pretrain", {"data": corpus, "output": tmp_path, "kill_at": 10})
    assert killed.returncode == -9, killed.stderr
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000004", "step-00000008"]
    run_pretrain(corpus, tmp_path)
    assert curve(tmp_path) == curve(base)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path, base))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_processes_equal_one(corpus: Path, tmp_path: Path) -> None:
    changes = {"precision": "fp32", "tokens": 3_000}
    two = run_process("pretrain", {"data": corpus, "output": tmp_path / "two"} | changes, processes=2)
    assert two.returncode == 0, two.stderr
    run_pretrain(corpus, tmp_path / "one", **changes)
    record = read_record(tmp_path / "two")
    assert record is not None
    assert record.last.processes == 2
    assert_similar(curve(tmp_path / "two"), curve(tmp_path / "one"))


def test_a_file_as_output_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "base").write_text("")
    with pytest.raises(SettingsError, match=r"--output .* is no folder that can be written into"):
        run_pretrain(corpus, tmp_path / "base")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "huge"}, "--preset huge: give one of tiny, nano, mini"),
        ({"tokens": 0}, "--tokens 0: give a whole number from 1"),
        ({"mix": {"tales": -1.0}}, "--mix tales=-1.0: give a weight from 0"),
        ({"mix": {"tales": float("nan")}}, "--mix tales=nan: give a weight from 0"),
        ({"seed": -1}, "--seed -1: give a whole number from 0"),
        ({"validate_every": 0}, "--validate-every 0: give a whole number from 1"),
        ({"learning_rate": 3.0}, "--learning-rate 3.0"),
        ({"schedule": "steps"}, "--schedule steps"),
        ({"region": "Atlantis"}, "--region Atlantis: give one of world average"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        PretrainSettings(**{"data": Path("data"), "output": Path("out")} | changes)


def test_a_run_does_not_continue_with_other_settings(base: Path, corpus: Path) -> None:
    with pytest.raises(SettingsError, match=r"\(--seed\)"):
        run_pretrain(corpus, base, seed=1)


def test_streams_of_other_inputs_are_refused(base: Path, corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(corpus, other)
    for name, changes in (("mix", {"mix": {"tales": 2.0}}), ("preset", {"preset": "nano"})):
        with pytest.raises(SettingsError, match=rf"corpus was made with other settings \(--{name}\)"):
            run_pretrain(other, base, **changes)
    with pytest.raises(SettingsError, match=r"\(--start\)"):
        run_pretrain(other, base, start=base)
    write_rows(other / "tales.jsonl", [{"text": "Once upon a time."}])
    before = (base / "pretraining.json").read_bytes()
    with pytest.raises(SettingsError, match=r"\(--data\).*or give another --output folder"):
        run_pretrain(other, base)
    assert (base / "pretraining.json").read_bytes() == before


def test_streams_of_unknown_inputs_are_used(base: Path, corpus: Path) -> None:
    file = base / "corpus" / "streams.json"
    content = json.loads(file.read_text())
    assert content.pop("made_of")["data"] == corpus.name
    file.write_text(json.dumps(content))
    run_pretrain(corpus, base)


TINY = PRESETS["tiny"]


def test_a_base_of_the_same_shape_is_accepted(tiny_base: Path) -> None:
    check_start(tiny_base, TINY)


def test_a_start_that_is_no_base_is_refused(tiny_adapter: Path, tiny_base: Path, tmp_path: Path) -> None:
    for folder in (Path("nope"), Path("/nope"), tiny_base / "config.json"):
        with pytest.raises(SettingsError, match=f"--start {folder} is no folder here; give that of a base"):
            check_start(folder, TINY)
    with pytest.raises(SettingsError, match="holds an adapter, which is no base; give the folder of its base"):
        check_start(tiny_adapter, TINY)
    with pytest.raises(ModelError, match=r"has no config\.json, so it is no model"):
        check_start(tmp_path, TINY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_position_embeddings": 128}, "has max_position_embeddings 128, the preset 256"),
        ({"model_type": "llama"}, "holds a model of type 'llama'; give a base that pretrain made"),
    ],
)
def test_another_shape_or_type_is_refused(
    tiny_base: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(SettingsError, match=message):
        check_start(other, TINY)
