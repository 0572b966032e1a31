"""Graphs of ONNX Runtime GenAI: conversion, what a folder keeps, and texts as those of transformers."""

import json
import logging
import shutil
import threading
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from phi2demo.__main__ import main
from phi2demo.engine import onnx_conversion, onnx_graphs
from phi2demo.engine.engine import GenerationOptions, Prompt
from phi2demo.engine.onnx_graphs import OnnxGraphs
from phi2demo.engine.onnx_model import OnnxModel
from phi2demo.engine.planning import plan
from phi2demo.errors import ModelError, SettingsError
from phi2demo.settings import ModelSettings
from tests.engine.conftest import in_a_process_of_its_own
from tests.engine.engines import onnx_engine
from tests.engine.test_architectures import FAMILIES, PROMPTS, VARIANTS, make_adapter, make_base, outputs
from tests.engine.test_two_adapters import engine_of

GREEDY = GenerationOptions(max_new_tokens=12)
KNOWN = ("phi", "llama", "qwen2", "gemma")
"""Families of FAMILIES that the builder knows."""


def graphs_of(adapter: Path, cache: Path, **settings: Any) -> OnnxGraphs:
    return OnnxGraphs(plan(ModelSettings(adapter=str(adapter), engine="onnx", cache=cache, **settings)), parameters=1)


@pytest.mark.parametrize("name", KNOWN)
def test_its_texts_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", FAMILIES[name])
    adapter = make_adapter(base, tmp_path / "adapter", FAMILIES[name])
    ours, reference = onnx_engine(adapter=str(adapter), cache=tmp_path), engine_of(adapter=adapter, device="cpu")
    assert ours.info.engine.startswith("ONNX Runtime GenAI 0.")
    assert (ours.info.device, ours.info.dtype, ours.info.parameters) == ("cpu", "float32", reference.info.parameters)
    rows = [Prompt(text, variant) for text in (*PROMPTS, "It rained") for variant in VARIANTS]
    expected = outputs(reference, rows, GREEDY)
    assert len(set(expected)) > 2
    assert outputs(ours, rows, GREEDY) == expected
    assert [outputs(ours, [row], GREEDY) for row in rows] == [[output] for output in expected], "alone as together"
    assert ours.score(rows, [" reads"] * len(rows)) == reference.score(rows, [" reads"] * len(rows))


@pytest.mark.parametrize(("name", "reason"), [("gpt2", "does not know this model"), ("gemma2", "a sliding window")])
def test_a_model_that_the_library_cannot_run_is_refused(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graphs, "_run", in_a_process_of_its_own)
    base = make_base(tmp_path / "base", FAMILIES[name])
    with pytest.raises(ModelError, match=rf"{reason}.*--engine transformers"):
        OnnxModel(plan(ModelSettings(model=str(base), engine="onnx", cache=tmp_path)))
    assert not list((tmp_path / "onnx").glob("unfinished-*"))


def test_adapters_that_can_be_merged_answer_as_by_peft(tiny_base: Path, tmp_path: Path) -> None:
    """One with DoRA, biases and a whole layer of its own: transformers cannot put it into one batch with the base."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = peft.LoraConfig(
            r=4, target_modules=["q_proj", "fc1"], use_dora=True, modules_to_save=["fc2"], task_type="CAUSAL_LM"
        )
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config)
        for parameter_name, tensor in model.named_parameters():
            if ".lora_B." in parameter_name or "modules_to_save" in parameter_name:
                torch.nn.init.normal_(tensor, std=0.2)
    model.save_pretrained(tmp_path / "adapter")
    ours = onnx_engine(adapter=str(tmp_path / "adapter"), cache=tmp_path)
    rows = [Prompt(text, variant) for text in PROMPTS for variant in VARIANTS]
    assert outputs(ours, rows, GREEDY) == outputs(engine_of(adapter=tmp_path / "adapter", device="cpu"), rows, GREEDY)


def test_a_graph_is_converted_once(
    tiny_adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graphs, "_run", in_a_process_of_its_own)
    caplog.set_level(logging.INFO)
    first = graphs_of(tiny_adapter, tmp_path).prepare()
    assert caplog.text.count("converting") == 2, "base and adapter"
    assert first == ()
    caplog.clear()
    graphs = graphs_of(tiny_adapter, tmp_path)
    graphs.prepare()
    assert "converting" not in caplog.text
    graphs.path("default", 0.5)
    assert "tiny-adapter at strength 0.5" in caplog.text
    assert len([folder for folder in (tmp_path / "onnx").iterdir() if folder.is_dir()]) == 3


def test_two_that_need_a_graph_at_once_convert_it_once(
    tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    run = onnx_graphs._run

    def counted(conversion: Any, what: str) -> None:
        calls.append(what)
        run(conversion, what)

    monkeypatch.setattr(onnx_graphs, "_run", counted)
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(graphs_of(tiny_adapter, tmp_path).path("default", 1.0)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert paths[0] == paths[1]


def test_other_weights_get_another_graph(adapter: Path, tmp_path: Path, edit: Any) -> None:
    before = graphs_of(adapter, tmp_path)._name("default", 1.0)
    assert graphs_of(adapter, tmp_path, quantize="int8")._name("default", 1.0) != before
    edit(adapter / "adapter_config.json", lora_alpha=1)
    assert graphs_of(adapter, tmp_path)._name("default", 1.0) != before


def test_a_graph_that_comes_with_its_adapter_is_used(adapter: Path, tmp_path: Path) -> None:
    converted = graphs_of(adapter, tmp_path).path("default", 1.0)
    shutil.move(converted, adapter / "onnx" / converted.name)
    assert graphs_of(adapter, tmp_path / "elsewhere").path("default", 1.0) == adapter / "onnx" / converted.name


def test_an_interrupted_conversion_leaves_nothing_behind(
    tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(conversion: Any, what: str) -> None:
        Path(conversion.output).mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(onnx_graphs, "_run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            graphs_of(tiny_adapter, tmp_path).path("default", 1.0)
    left = tmp_path / "onnx" / "unfinished-of-a-killed-process"
    left.mkdir()
    assert (graphs_of(tiny_adapter, tmp_path).path("default", 1.0) / "genai_config.json").is_file()
    assert not list((tmp_path / "onnx").glob("unfinished-*"))


def test_a_full_disk_is_told_before(tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graphs, "BYTES_PER_PARAMETER", {"float32": 1e18})
    with pytest.raises(ModelError, match=r"needs .* GB of disk, but only .* PHI2DEMO_CACHE"):
        graphs_of(tiny_adapter, tmp_path).path("default", 1.0)


def test_layer_norms_have_the_epsilon_of_the_model(base: Path, tmp_path: Path, edit: Any) -> None:
    """The builder takes another one; the conversion refuses a graph whose logits differ."""
    edit(base / "config.json", layer_norm_eps=0.3)
    ours, reference = onnx_engine(model=str(base), cache=tmp_path), engine_of(model=base, device="cpu")
    rows = [Prompt(text, "base") for text in PROMPTS]
    assert outputs(ours, rows, GREEDY) == outputs(reference, rows, GREEDY)


def test_a_folder_that_cannot_be_written_is_told(tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "onnx").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(ModelError, match=r"cannot keep converted graphs .* PHI2DEMO_CACHE"):
        graphs_of(tiny_adapter, tmp_path).path("default", 1.0)


def test_a_graph_that_computes_something_else_is_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_conversion, "_logits", lambda model, ids: torch.zeros(512))
    conversion = onnx_conversion.Conversion(str(tiny_base), None, 1.0, "float32", str(tmp_path / "graph"))
    with pytest.raises(ModelError, match="logits of the graph differ"):
        onnx_conversion.convert(conversion)


def test_a_conversion_tells_its_fault_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    job = {
        "base": str(tmp_path),
        "adapter": None,
        "strength": 1.0,
        "precision": "float32",
        "output": str(tmp_path / "g"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(json.dumps(job)))
        assert onnx_conversion.main() == 1
    assert "config.json" in capsys.readouterr().err.strip().splitlines()[-1]


def test_few_graphs_stay_in_memory(tiny_adapter: Path, tmp_path: Path) -> None:
    graphs = graphs_of(tiny_adapter, tmp_path)
    for strength in (1.0, 0.5, 1.5, 0.25):
        graphs.get("default", strength, end_ids=[0], pad_id=511)
    assert len(graphs._loaded) == onnx_graphs.MAX_LOADED


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_a_quantized_model_scores_what_it_generates(quantize: Any, tiny_adapter: Path, tmp_path: Path) -> None:
    engine = onnx_engine(adapter=str(tiny_adapter), cache=tmp_path, quantize=quantize)
    assert engine.info.dtype == quantize
    prompts = [Prompt(text, variant) for text in PROMPTS for variant in VARIANTS]
    made = outputs(engine, prompts, GenerationOptions(max_new_tokens=6))
    scores = engine.score(prompts, made)
    others = engine.score(prompts, [(*output[:-1], (output[-1] + 1) % 512) for output in made])
    assert all(score.total > other.total for score, other in zip(scores, others, strict=True)), (
        "greedy is the likeliest"
    )
    for score, row, output in zip(scores, prompts, made, strict=True):
        assert score.total == pytest.approx(engine.score([row], [output])[0].total, rel=0, abs=1e-3), (
            "alone as together"
        )
    more = [(token,) for token in range(40)]
    together = engine.score(prompts[:1] * len(more), more)
    assert together[-1].total == pytest.approx(engine.score(prompts[:1], more[-1:])[0].total, abs=1e-3)
    assert "_float_model" not in vars(engine._model), "the float weights are not loaded"


def test_beams_with_penalties_are_searched_by_transformers(tiny_adapter: Path, tmp_path: Path) -> None:
    options = GenerationOptions(max_new_tokens=12, num_beams=3, repetition_penalty=1.3, no_repeat_ngram_size=3)
    rows = [Prompt(text, variant) for text in PROMPTS for variant in VARIANTS]
    ours = onnx_engine(adapter=str(tiny_adapter), cache=tmp_path)
    assert outputs(ours, rows, options) == outputs(engine_of(adapter=tiny_adapter, device="cpu"), rows, options)
    quantized = onnx_engine(adapter=str(tiny_adapter), cache=tmp_path, quantize="int8")
    with pytest.raises(SettingsError, match="cannot be combined with beams by a quantized model"):
        outputs(quantized, rows, options)


def test_the_torch_weights_are_loaded_when_something_is_scored(tiny_adapter: Path, tmp_path: Path) -> None:
    engine = onnx_engine(adapter=str(tiny_adapter), cache=tmp_path)
    outputs(engine, [Prompt(PROMPTS[0])], GREEDY)
    engine.forget()
    assert "_float_model" not in vars(engine._model)
    engine.score([Prompt(PROMPTS[0])], [" a"])
    assert "_float_model" in vars(engine._model)


def test_texts_with_the_padding_token_are_not_padded(tiny_adapter: Path, tmp_path: Path) -> None:
    engine = onnx_engine(adapter=str(tiny_adapter), cache=tmp_path)
    rows = [Prompt(text) for text in PROMPTS]
    expected = outputs(engine, rows, GREEDY)
    engine._model.pad_token_id = engine.tokens(PROMPTS[0]).ids[2]  # type: ignore[misc]
    assert outputs(engine, rows, GREEDY) == expected


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="--engine onnx computes in float32 on the CPU"):
        ModelSettings(engine="onnx", device="cuda")
    with pytest.raises(SettingsError, match="--quantize int8 is for --engine onnx"):
        ModelSettings(quantize="int8")
    with pytest.raises(SettingsError, match="engine is 'fast'"):
        ModelSettings(engine="fast")  # type: ignore[arg-type]


def test_virtual_tokens_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"made with prompt tuning, whose virtual tokens .* --engine transformers"):
        onnx_engine(adapter=str(tmp_path / "adapter"), cache=tmp_path)


def test_a_command_answers_by_a_graph(tiny_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The receipt says which engine, and a replay by another one tells the difference where there is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHI2DEMO_CACHE", str(tmp_path))
        patch.setattr(onnx_graphs, "_run", in_a_process_of_its_own)
        model = ["--adapter", str(tiny_adapter), "--engine", "onnx"]
        assert main(["generate", *model, "--json", "--max-new-tokens", "5", "The train"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["receipt"]["engine"].startswith("ONNX Runtime GenAI")
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps(answer["receipt"]), encoding="utf-8")
    assert main(["replay", "--adapter", str(tiny_adapter), "--device", "cpu", str(receipt)]) == 0
    assert capsys.readouterr().out.startswith("same: ")
