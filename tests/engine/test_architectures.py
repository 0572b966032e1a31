"""Causal models of several families, as tiny random ones: each answers and scores as transformers and PEFT compute it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from phi2demo.engine import transformers_model
from phi2demo.engine.adapted_model import AdaptedModel
from phi2demo.engine.engine import GenerationOptions, Prompt, Variant
from phi2demo.engine.local import LocalEngine
from phi2demo.explain.job import explain
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.value_function import ScoreCache
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.training.token_streams import train_tokenizer
from tests.conftest import TEXTS
from tests.engine.test_two_adapters import engine_of

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to"),
]
VARIANTS: tuple[Variant, ...] = ("finetuned", "base")
PROMPTS = ("The train leaves the station and", "A small model")
SIZES: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
GATED = {"intermediate_size": 64, "max_position_embeddings": 1024}


@dataclass(frozen=True)
class Family:
    """A family of models."""

    config: Callable[[], PreTrainedConfig]
    begins: bool = False
    """Whether its tokenizer puts a token before every text."""
    context: int = 1024
    targets: str | list[str] = "all-linear"


FAMILIES = {
    "phi": Family(lambda: PhiConfig(**SIZES | {"num_attention_heads": 2}, **GATED)),
    "llama": Family(lambda: LlamaConfig(num_key_value_heads=2, **SIZES, **GATED), begins=True),
    "qwen2": Family(lambda: Qwen2Config(num_key_value_heads=2, tie_word_embeddings=True, **SIZES, **GATED)),
    "gpt2": Family(lambda: GPT2Config(n_positions=1024, **SIZES)),
    "gpt_neox": Family(lambda: GPTNeoXConfig(**SIZES, **GATED)),
    "gemma": Family(lambda: GemmaConfig(num_key_value_heads=1, head_dim=16, **SIZES, **GATED), begins=True),
    "gemma2": Family(
        lambda: Gemma2Config(
            num_key_value_heads=2, head_dim=16, sliding_window=16, **SIZES | {"hidden_size": 32}, **GATED
        ),
        begins=True,
    ),
    "bloom": Family(lambda: BloomConfig(**SIZES), context=2048),
}


def make_base(folder: Path, family: Family) -> Path:
    tokenizer = train_tokenizer(TEXTS, vocab_size=512, context=1024)
    if family.begins:
        end = tokenizer.eos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{end} $A", pair=f"{end} $A $B", special_tokens=[(end, tokenizer.eos_token_id)]
        )
    tokenizer.pad_token = None  # as many have none
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(family.config()).save_pretrained(folder)
    return folder


def make_adapter(base: Path, folder: Path, family: Family) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=family.targets, task_type="CAUSAL_LM")
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for name, tensor in model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(tensor, std=0.2)
    model.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Loaded:
    """A family's model as the engine has it, and as transformers and PEFT have it."""

    family: Family
    engine: LocalEngine
    finetuned: Any
    base: Any

    def reference(self, variant: Variant) -> Any:
        return self.base if variant == "base" else self.finetuned


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    family, folder = FAMILIES[request.param], tmp_path_factory.mktemp(request.param)
    base = make_base(folder / "base", family)
    adapter = make_adapter(base, folder / "adapter", family)
    finetuned = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    return Loaded(family, engine_of(adapter=adapter, device="cpu"), finetuned, plain)


def outputs(engine: LocalEngine, prompts: list[Prompt], options: GenerationOptions) -> list[tuple[int, ...]]:
    *_, last = engine.stream(prompts, options)
    return [completion.token_ids for completion in last.completions or ()]


def test_it_is_described_by_its_config(loaded: Loaded) -> None:
    info, config = loaded.engine.info, loaded.base.config
    assert (info.layers, info.hidden_size, info.context) == (2, config.hidden_size, loaded.family.context)
    assert info.parameters == sum(tensor.numel() for tensor in loaded.base.parameters())
    assert (info.architecture, info.lora_rank, info.variants) == (config.model_type, 4, VARIANTS)


@pytest.mark.parametrize(
    "options", [GenerationOptions(max_new_tokens=12), GenerationOptions(max_new_tokens=8, num_beams=3)]
)
def test_it_answers_as_plain_transformers_and_peft(loaded: Loaded, options: GenerationOptions) -> None:
    rows = [Prompt(text, variant) for text in PROMPTS for variant in VARIANTS]
    together = outputs(loaded.engine, rows, options)
    assert len(set(together)) > 2
    for row, output in zip(rows, together, strict=True):
        (ids,) = loaded.engine._encoder.encode_prompts([row.text])
        expected = loaded.reference(row.variant).generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=options.max_new_tokens,
            num_beams=options.num_beams,
            early_stopping=options.num_beams > 1,
            do_sample=False,
        )
        answer = tuple(expected[0, len(ids) :].tolist())
        assert output == answer[: len(output)]  # a loop ends earlier here
        assert outputs(loaded.engine, [row], options) == [output], "alone as in a batch of unequal prompts"


def test_a_long_prompt_is_read_in_parts(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [Prompt("The train leaves the station. " * 4), Prompt("A small model"), Prompt("It rained", "base")]
    expected = outputs(loaded.engine, prompts, GenerationOptions(max_new_tokens=8))
    monkeypatch.setattr(loaded.engine._model, "_decodable", False)
    monkeypatch.setattr(transformers_model, "PREFILL_FLOP", 1)
    assert outputs(loaded.engine, prompts, GenerationOptions(max_new_tokens=8)) == expected


def test_it_scores_as_a_plain_forward_pass(loaded: Loaded) -> None:
    prompts = [Prompt(text, variant) for text in PROMPTS for variant in VARIANTS]
    for prompt, score in zip(
        prompts, loaded.engine.score(prompts, [" at eight.", " reads", " it", " all day"]), strict=True
    ):
        (ids,) = loaded.engine._encoder.encode_prompts([prompt.text])
        with torch.inference_mode():
            logits = loaded.reference(prompt.variant)(input_ids=torch.tensor([[*ids, *score.token_ids]])).logits[0]
        rows = logits[len(ids) - 1 : -1].double().log_softmax(-1)
        expected = [float(row[token]) for row, token in zip(rows, score.token_ids, strict=True)]
        assert list(score.log_probabilities) == pytest.approx(expected, abs=1e-4)


def test_its_answers_are_explained_and_replayed(loaded: Loaded) -> None:
    request = Request(
        "sentiment", "The cat sleeps and it rained all day.", SentimentOptions(), GenerationOptions(), seed=1
    )
    (result,) = Assistant(loaded.engine).answer(check(request))
    *_, last = Assistant(loaded.engine).replay(Receipt.from_json(result.receipt.to_json()))
    (again,) = last.results or ()
    assert (again.text, again.raw) == (result.text, result.raw)
    asked = ExplainRequest.from_result(loaded.engine, request, result, units="words", method="exact", trust=False)
    *_, explained = explain(loaded.engine, asked, cache=ScoreCache())
    attribution = explained.attribution
    assert attribution is not None
    assert "".join(unit.text for unit in attribution.units) == request.text
    effect = float((attribution.full_values - attribution.base_values).sum())
    assert attribution.totals.sum() == pytest.approx(effect, abs=1e-3)
    assert abs(attribution.totals).max() > 1e-3


def test_a_model_without_an_end_token_writes_on(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", Family(lambda: GPT2Config(n_positions=64, **SIZES | {"eos_token_id": None})))
    tokenizer_config = base / "tokenizer_config.json"
    tokenizer_config.write_text(tokenizer_config.read_text(encoding="utf-8").replace('"eos_token"', '"unused"'))
    engine = engine_of(model=base, device="cpu")
    (output,) = outputs(engine, [Prompt("A small model", "base")], GenerationOptions(max_new_tokens=5))
    assert len(output) == 5


def test_a_model_that_computes_all_logits_gives_those_that_are_kept() -> None:
    class Old(torch.nn.Module):
        def forward(self, input_ids: Any, attention_mask: Any, use_cache: bool) -> SimpleNamespace:
            return SimpleNamespace(logits=torch.nn.functional.one_hot(input_ids, 9).float())

    ids = torch.tensor([[1, 2, 3, 4]])
    model = AdaptedModel(Old(), {})
    kept = model.logits(
        input_ids=ids, attention_mask=torch.ones_like(ids), logits_to_keep=torch.tensor([1, 3]), adapters=["__base__"]
    )
    assert kept.argmax(-1).tolist() == [[2, 4]]
    assert not model.can_continue
