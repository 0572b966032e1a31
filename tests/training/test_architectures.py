"""Any causal language model: one step of finetuning, then an answer with the adapter through the engine."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from phi2demo.engine.engine import GenerationOptions
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from tests.architectures import make_base

from .tiny_runs import run_finetune

LLAMA = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
LINEAR_LAYERS = {
    "phi": {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"},
    "llama": LLAMA,
    "qwen2": LLAMA,
    "gemma": LLAMA,
    "gpt2": {"c_attn", "c_proj", "c_fc"},
    "gpt_neox": {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
}
"""All but the output layer."""


@pytest.mark.parametrize("architecture", LINEAR_LAYERS)
def test_every_linear_layer_is_finetuned_and_the_adapter_answers(
    architecture: str, corpus: Path, tiny_base: Path, tmp_path: Path
) -> None:
    base = make_base(architecture, tmp_path / "base", tiny_base)
    folder = run_finetune(corpus, tmp_path / "adapter", base, steps=1, learning_rate=0.9)
    adapted = {name.partition(".lora_")[0] for name in load_file(folder / "adapter_model.safetensors")}
    assert {name.rpartition(".")[2] for name in adapted} == LINEAR_LAYERS[architecture]
    engine = LocalEngine.load(plan(ModelSettings(adapter=str(folder))))
    request = Request(
        "question_answering",
        "The cat sees the old dog.",
        QuestionOptions("Who sees the dog?"),
        GenerationOptions(max_new_tokens=4),
        ("finetuned", "base"),
    )
    tuned, bare = Assistant(engine).answer(check(request))
    assert tuned.token_ids != bare.token_ids


def test_a_base_that_states_no_context_is_finetuned(corpus: Path, tiny_base: Path, tmp_path: Path) -> None:
    """A Bloom has no table of positions that would end somewhere."""
    base = make_base("bloom", tmp_path / "base", tiny_base)
    folder = run_finetune(corpus, tmp_path / "adapter", base, steps=1)
    assert (folder / "adapter_model.safetensors").is_file()


def test_dropout_is_refused_by_a_model_without_it(corpus: Path, tiny_base: Path, tmp_path: Path) -> None:
    base = make_base("llama", tmp_path / "base", tiny_base)
    with pytest.raises(SettingsError, match=r"--dropout 0.1: this model has no dropout layers.*Leave --dropout out"):
        run_finetune(corpus, tmp_path / "adapter", base, steps=1, dropout=0.1)
