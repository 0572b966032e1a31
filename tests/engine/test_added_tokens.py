"""Adapters with a vocabulary of their own: tokens added before training, or the base's spare rows cut off."""

from pathlib import Path
from typing import Any

import peft
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi2demo.errors import ModelError
from phi2demo.training.token_streams import train_tokenizer
from tests.engine.engines import transformers_model
from tests.engine.test_adapter_kinds import check_as_peft, lora, train
from tests.engine.test_two_adapters import engine_of

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`"),
]
NEW = ["<|im_start|>", "<|im_end|>", "[PAD]"]


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest, tiny_base: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    model.config.tie_word_embeddings = request.param
    type(model)(model.config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)
    return folder


def resized(base: Path, folder: Path, rows: int) -> Any:
    """Return the base with a vocabulary of `rows`, and save a tokenizer with the added tokens."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"extra_special_tokens": NEW})
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return model


def disabled(model: Any) -> Any:
    """Return what computes as PEFT's model with the adapter switched off."""

    def compute(**inputs: Any) -> Any:
        with model.disable_adapter():
            return model(**inputs)

    return compute


def as_trained(base: Path, folder: Path, rows: int) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return peft.PeftModel.from_pretrained(model, folder).eval()


@pytest.mark.parametrize("rows", [515, 500])
@pytest.mark.parametrize(
    ("options", "mixes"),
    [
        ({}, True),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, True),
        ({"trainable_token_indices": [40, 490]}, False),
    ],
    ids=["frozen", "whole", "tokens"],
)
def test_it_works_as_peft_computes_it(
    base: Path, tmp_path: Path, rows: int, options: dict[str, Any], mixes: bool
) -> None:
    folder = tmp_path / "adapter"
    model = resized(base, folder, rows)
    tokens = len(AutoTokenizer.from_pretrained(folder))
    train(base, folder, lora(**options)(), model)
    engine = engine_of(adapter=folder, device="cpu")
    assert (len(engine._tokenizer), engine._model.vocabulary_size) == (tokens, rows)
    assert transformers_model(engine).adapted.mixes == mixes
    reference = as_trained(base, folder, rows)
    check_as_peft(engine, reference, disabled(reference))


def test_an_embedding_that_was_trained_whole_is_the_adapters_alone(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    train(base, folder, lora()(), resized(base, folder, 515))
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    save_file(
        {key: tensor * (1.5 if "embed_tokens" in key or "lm_head" in key else 1) for key, tensor in weights.items()},
        path,
    )
    engine = engine_of(adapter=folder, device="cpu")
    assert not transformers_model(engine).adapted.mixes
    check_as_peft(engine, as_trained(base, folder, 515), with_mean_rows(base, 515))


def with_mean_rows(base: Path, rows: int) -> Any:
    """Return the base, for which a token that it does not know is the mean of all that it knows."""
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    model.resize_token_embeddings(rows, mean_resizing=False)
    for tensor in (*model.get_input_embeddings().parameters(), *model.get_output_embeddings().parameters()):
        tensor.data[512:] = tensor.data[:512].mean(0)
    return model


def test_a_tokenizer_that_numbers_tokens_otherwise_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    folder = train(tiny_base, tmp_path / "adapter", lora()())
    train_tokenizer(["Another text altogether, with other words."], vocab_size=300, context=64).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"tokenizer of adapter gives '.*' the number \d+, that of tiny-base \d+"):
        engine_of(adapter=folder, device="cpu")


def test_added_tokens_without_an_embedding_are_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    train(base, folder, lora()(), resized(base, folder, 515))
    path = folder / "adapter_model.safetensors"
    save_file({key: tensor for key, tensor in load_file(path).items() if ".lora_" in key}, path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<{n}>" for n in range(300)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"tokenizer has \d+ tokens, but base only has 512"):
        engine_of(adapter=folder, device="cpu")
