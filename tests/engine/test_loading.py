""""""

import json
import shutil
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from phi2demo.engine import devices
from phi2demo.engine.engine import Engine
from phi2demo.engine.loading import EngineLoader, LoadedModel, load
from phi2demo.engine.planning import plan
from phi2demo.engine.revisions import settings_fingerprint
from phi2demo.engine.weights import fingerprint
from phi2demo.errors import ModelError, NotReadyError
from phi2demo.settings import ModelSettings
from tests.conftest import make_adapter
from tests.tasks.scripted import ScriptedEngine

COPY = "base_model.model.lm_head.base_layer.weight"


def loaded(**values: Any) -> LoadedModel:
    arguments = {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
    return load(plan(ModelSettings(**{"device": "cpu"} | arguments)))


@pytest.fixture(scope="module")
def pair(tiny_adapter: Path) -> LoadedModel:
    return loaded(adapter=tiny_adapter)


@pytest.fixture
def gpt(base: Path) -> Path:
    """A base other than Phi, whose linear layers are stored the other way round."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    folder = base.parent / "gpt"
    config = GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=2, n_positions=64, eos_token_id=0, bos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def logits(model: Any, text_ids: list[int], **options: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([text_ids]), **options).logits[0]


def test_the_info_describes_the_loaded_model(pair: LoadedModel, tiny_base: Path, tiny_adapter: Path) -> None:
    info = pair.info
    assert (info.base, info.base_revision) == ("tiny-base", fingerprint(tiny_base, ("model.safetensors",)))
    declared = json.loads((tiny_adapter / "adapter_config.json").read_text(encoding="utf-8"))
    revision = f"{fingerprint(tiny_adapter, ('adapter_model.safetensors',))}-{settings_fingerprint(declared)}"
    assert (info.adapter, info.adapter_revision, info.adapter_folder) == ("tiny-adapter", revision, tiny_adapter)
    assert (info.parameters, info.layers, info.hidden_size, info.context) == (133_120, 2, 64, 256)
    assert (info.device, info.dtype, info.lora_rank) == ("cpu", "float32", 4)
    assert info.variants == ("finetuned", "base")
    assert (pair.end_token_ids, pair.pad_token_id) == ((0,), 1)


def test_it_is_ready_to_answer(pair: LoadedModel) -> None:
    assert not pair.model.training
    assert not any(tensor.requires_grad for tensor in pair.model.parameters())
    assert pair.model.get_base_model().config._attn_implementation == "sdpa"


def test_the_adapter_is_beside_the_base(pair: LoadedModel, tiny_base: Path) -> None:
    bare = loaded(model=tiny_base)
    assert (bare.info.adapter, bare.info.adapter_revision, bare.info.lora_rank, bare.info.variants) == (
        None,
        None,
        None,
        ("base",),
    )
    ids = pair.tokenizer("The train leaves.").input_ids
    plain, tuned = logits(bare.model, ids), logits(pair.model, ids)
    assert not torch.allclose(plain, tuned, atol=0.1)
    mixed = pair.model(input_ids=torch.tensor([ids, ids]), adapter_names=["default", "__base__"]).logits
    torch.testing.assert_close(mixed[0], tuned)
    torch.testing.assert_close(mixed[1], plain)


def test_bfloat16_is_of_all_weights_but_not_of_the_positions(tiny_adapter: Path) -> None:
    model = loaded(adapter=tiny_adapter, dtype="bfloat16")
    assert model.info.dtype == "bfloat16"
    assert {tensor.dtype for tensor in model.model.parameters()} == {torch.bfloat16}
    assert model.model.get_base_model().model.rotary_emb.inv_freq.dtype == torch.float32


def test_the_adapters_numbers_are_those_of_its_file(pair: LoadedModel, tiny_adapter: Path) -> None:
    parameters = dict(pair.model.named_parameters())
    for key, tensor in load_file(tiny_adapter / "adapter_model.safetensors").items():
        assert torch.equal(parameters[key.replace(".weight", ".default.weight")], tensor)


def test_an_adapter_in_another_dtype_takes_the_bases(adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    save_file({key: tensor.to(torch.bfloat16) for key, tensor in load_file(weights).items()}, weights)
    assert {tensor.dtype for tensor in loaded(adapter=adapter).model.parameters()} == {torch.float32}


@pytest.fixture
def headed(base: Path) -> Path:
    """An adapter of the output layer, which is also the embedding; PEFT saves a copy of the base's own beside it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`", UserWarning)
        folder = make_adapter(base, base.parent / "headed", seed=3, rank=2, targets=("fc1", "lm_head"))
    change(folder, lambda weights: weights | {COPY: load_file(base / "model.safetensors")["model.embed_tokens.weight"]})
    return folder


def change(adapter: Path, how: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = adapter / "adapter_model.safetensors"
    save_file(how(load_file(path)), path)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_an_adapter_of_the_output_layer_is_as_peft_has_it(headed: Path, base: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base)
    ids, bare = [5, 6, 7, 8], logits(plain, [5, 6, 7, 8])
    mixed = loaded(adapter=headed).model(input_ids=torch.tensor([ids, ids]), adapter_names=["default", "__base__"])
    torch.testing.assert_close(mixed.logits[1], bare)
    torch.testing.assert_close(mixed.logits[0], logits(PeftModel.from_pretrained(plain, headed), ids))
    assert not torch.allclose(mixed.logits[0], bare, atol=0.1)


def test_a_copy_of_the_base_in_fewer_digits_leaves_it_as_it_is(headed: Path, base: Path) -> None:
    change(headed, lambda weights: {key: tensor.bfloat16() for key, tensor in weights.items()})
    embedding = loaded(adapter=headed).model.get_base_model().model.embed_tokens.weight
    assert torch.equal(embedding, load_file(base / "model.safetensors")["model.embed_tokens.weight"])


def test_a_copy_of_another_base_is_refused(headed: Path) -> None:
    change(headed, lambda weights: weights | {COPY: weights[COPY].flip(0)})
    with pytest.raises(
        ModelError, match=r"headed was made for another base than base: its copy of lm_head\.weight holds"
    ):
        loaded(adapter=headed)


def test_an_adapter_that_changes_nothing_is_pointed_out(
    adapter: Path, edit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert loaded(adapter=adapter).info.warnings == ()
    change(adapter, lambda weights: {key: weight * (".lora_B." not in key) for key, weight in weights.items()})
    (warning,) = loaded(adapter=adapter).info.warnings
    assert warning.startswith("Adapter adapter changes nothing: the products of its matrices are zero")
    assert warning in caplog.text
    key = "base_model.model.model.layers.1.mlp.fc1.lora_B.weight"
    change(adapter, lambda weights: weights | {key: weights[key] + 1})
    assert loaded(adapter=adapter).info.warnings == ()
    edit(adapter / "adapter_config.json", lora_alpha=0)
    assert loaded(adapter=adapter).info.warnings == (warning,)


@pytest.mark.parametrize("number", [torch.nan, -torch.inf])
def test_weights_that_are_not_finite_are_refused(base: Path, adapter: Path, number: float) -> None:
    key = "base_model.model.model.layers.1.mlp.fc1.lora_B.weight"
    change(adapter, lambda weights: weights | {key: weights[key].index_fill(1, torch.tensor([2]), number)})
    with pytest.raises(ModelError, match=rf"adapter cannot be used: {key} holds numbers that are not finite"):
        loaded(adapter=adapter)
    weights, key = load_file(base / "model.safetensors"), "model.layers.0.mlp.fc2.bias"
    save_file(weights | {key: weights[key] * number}, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"base cannot be used: {key} holds numbers that are not finite"):
        loaded(model=base)


def test_a_sharded_base_is_loaded(base: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="200KB")
    shards = sorted(path.name for path in base.glob("*.safetensors"))
    assert len(shards) > 1
    assert loaded(model=base).info.base_revision == fingerprint(base, tuple(shards))
    (base / shards[0]).unlink()
    with pytest.raises(ModelError, match=f"base lacks 1 of its {len(shards)} weight files: {shards[0]}"):
        loaded(model=base)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_requesting_cuda_without_cuda_is_refused(tiny_base: Path) -> None:
    with pytest.raises(ModelError, match="--device cuda: this machine has no CUDA device"):
        loaded(model=tiny_base, device="cuda")


def test_too_little_memory_is_reported_before_loading(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda: 500_000)
    with pytest.raises(ModelError, match="Too little memory on cpu"):
        loaded(model=tiny_base)


def test_files_that_change_after_the_plan_are_noticed(base: Path) -> None:
    model_plan = plan(ModelSettings(model=str(base), device="cpu"))
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load(model_plan)


def test_an_adapter_and_a_declaration_that_differ_are_refused(adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", target_modules=["q_proj", "v_proj", "fc1"])
    with pytest.raises(ModelError, match=r"do not belong together: 4 of its weights have no match, such as .*fc2"):
        loaded(adapter=adapter)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning")
def test_an_adapter_that_lacks_weights_is_refused(adapter: Path, edit: Any) -> None:
    edit(adapter / "adapter_config.json", target_modules=["q_proj", "k_proj", "v_proj", "fc1", "fc2"])
    with pytest.raises(ModelError, match=r"do not belong together: 4 of its weights have no match, such as .*k_proj"):
        loaded(adapter=adapter)


def test_the_tokenizer_may_be_the_adapters(base: Path, adapter: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(base / name, adapter / name)
    assert loaded(adapter=adapter).tokenizer.decode([0]) == "<|endoftext|>"


def test_a_tokenizer_larger_than_the_model_is_refused(base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens([f"<{number}>" for number in range(512)])
    tokenizer.save_pretrained(base)
    with pytest.raises(ModelError, match=r"tokenizer has \d+ tokens, but base only has 512"):
        loaded(model=base)


def test_the_end_token_is_used_for_padding(base: Path, edit: Any) -> None:
    edit(base / "tokenizer_config.json", pad_token=None)
    edit(base / "generation_config.json", eos_token_id=[0, 7])
    model = loaded(model=base)
    assert (model.end_token_ids, model.pad_token_id) == ((0, 7), 0)


@pytest.mark.parametrize("content", ["", "{}", '{"added_tokens": [], "model": 5}'])
def test_a_broken_tokenizer_is_a_clear_error(base: Path, content: str) -> None:
    (base / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"The tokenizer of base cannot be read \(.*download it again"):
        loaded(model=base)


def test_an_error_of_transformers_becomes_a_clear_message(base: Path, edit: Any) -> None:
    edit(base / "config.json", hidden_act="no such function")
    with pytest.raises(ModelError, match=r"base with no adapter could not be loaded: .*no such function.*Check that"):
        loaded(model=base)


def test_another_architecture_is_loaded_with_its_adapter(gpt: Path, adapter: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    tuned = gpt.parent / "gpt-tuned"
    config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(gpt), config).save_pretrained(tuned)
    model = loaded(adapter=tuned)
    assert (model.info.base, model.info.layers, model.info.context, model.info.lora_rank) == ("gpt", 1, 64, 2)
    with pytest.raises(ModelError, match=r"adapter was made for another base than gpt: .*this base lacks"):
        loaded(model=gpt, adapter=adapter)


def test_another_architecture_that_lacks_weights_is_refused(gpt: Path) -> None:
    weights = load_file(gpt / "model.safetensors")
    lacking = {key: tensor for key, tensor in weights.items() if not key.endswith("c_fc.weight")}
    save_file(lacking, gpt / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights of gpt lack .*c_fc\.weight; copy or download"):
        loaded(model=gpt)


def test_the_snippet_of_the_card_works_with_the_shipped_model(
    tiny_base: Path, tiny_adapter: Path, pair: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that names assets/model opens from the repository's root, and by us from anywhere."""
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny_base, tmp_path / "assets" / "model")
    folder = Path(shutil.copytree(tiny_adapter, tmp_path / "assets" / "adapter"))
    adapter_tasks = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    adapter_tasks["base_model_name_or_path"] = "assets/model"
    (folder / "adapter_config.json").write_text(json.dumps(adapter_tasks), encoding="utf-8")
    assert plan(ModelSettings(adapter=str(folder))).base_folder == tmp_path / "assets" / "model"
    monkeypatch.chdir(tmp_path)
    ids = pair.tokenizer("The train leaves.").input_ids
    torch.testing.assert_close(
        logits(AutoModelForCausalLM.from_pretrained("assets/adapter"), ids), logits(pair.model, ids)
    )


def test_the_engine_is_there_once_it_is_loaded() -> None:
    go, engine = threading.Event(), ScriptedEngine()

    def load() -> Engine:
        go.wait(5)
        return engine

    loader = EngineLoader(load).start()
    assert loader.status.state == "loading"
    with pytest.raises(NotReadyError, match=r"still loading \(0 s so far\)"):
        loader.engine()
    go.set()
    assert loader.engine(timeout_s=5) is engine
    assert loader.status.state == "ready"
    assert loader.engine() is engine


def test_seconds_go_on_while_loading_and_stand_still_afterwards() -> None:
    go = threading.Event()
    loader = EngineLoader(lambda: go.wait(5) and ScriptedEngine()).start()  # type: ignore[arg-type,return-value]
    first = loader.status.seconds
    time.sleep(0.05)
    assert loader.status.seconds >= first + 0.04
    go.set()
    loader.engine(timeout_s=5)
    ended = loader.status.seconds
    time.sleep(0.02)
    assert loader.status.seconds == ended


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModelError("The base is damaged."), "The base is damaged."),
        (
            MemoryError("no room"),
            "The model could not be loaded (MemoryError: no room). See the log of the app for details.",
        ),
    ],
)
def test_a_failure_reaches_everyone_who_asks(error: Exception, message: str) -> None:
    def load() -> Engine:
        raise error

    loader = EngineLoader(load).start()
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            loader.engine(timeout_s=5)
        assert not isinstance(caught.value, NotReadyError)
        assert str(caught.value) == message
        assert caught.value.__cause__ is error
    assert (loader.status.state, loader.status.message) == ("failed", message)


def test_loading_happens_once_for_many() -> None:
    calls: list[int] = []

    def load() -> Engine:
        calls.append(1)
        time.sleep(0.05)
        return ScriptedEngine()

    loader = EngineLoader(load).start()
    engines: list[Engine] = []
    threads = [threading.Thread(target=lambda: engines.append(loader.engine(timeout_s=5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert calls == [1]
    assert len(engines) == 8
    assert len(set(map(id, engines))) == 1
