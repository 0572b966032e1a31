"""Adapters as people have them: each kind answers and scores as PEFT computes it, beside its base, or is refused by name."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from phi2demo.engine.engine import GenerationOptions, Prompt, Variant
from phi2demo.engine.local import LocalEngine
from phi2demo.errors import ModelError, SettingsError
from tests.engine.engines import transformers_model
from tests.engine.test_two_adapters import engine_of

TEXTS = ("The train leaves the station and", "A small model", "It rained all day, so the children stayed at home")
ROWS: tuple[Variant, ...] = ("finetuned", "base", "finetuned")
GREEDY = GenerationOptions(max_new_tokens=10)
MODULES = {"target_modules": ["q_proj", "fc1"]}

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    *(
        pytest.mark.filterwarnings(f"ignore:{message}")
        for message in (
            "Position ids are not supported",
            "Careful, disabling adapter layers",
            "Unsupported layer type",
            "Adapter .* LoRA tensor",
            "Both `past_key_values` and `cache`",
            "`past_key_values` is deprecated",
            "Setting `save_embedding_layers`",
            "Model has `tie_word_embeddings=True`",
        )
    ),
]


@dataclass(frozen=True)
class Case:
    """A kind that works."""

    config: Callable[[], peft.PeftConfig]
    mixes: bool = False
    """Whether finetuned and base rows share a batch."""
    strength: bool = False
    """Whether it can be weakened."""
    kind: str = "LoRA"


def lora(**options: Any) -> Callable[[], peft.PeftConfig]:
    return lambda: peft.LoraConfig(task_type="CAUSAL_LM", r=4, **MODULES | options)


def other(name: str, **options: Any) -> Callable[[], peft.PeftConfig]:
    return lambda: getattr(peft, name)(task_type="CAUSAL_LM", **options)


WORKS = {
    "lora": Case(lora(), mixes=True, strength=True),
    "rslora": Case(lora(use_rslora=True), mixes=True, strength=True),
    "patterns": Case(lora(rank_pattern={"layers.0.*fc1": 2}, alpha_pattern={"q_proj": 3}), mixes=True, strength=True),
    "regular expression": Case(lora(target_modules=r".*\.(q_proj|fc\d)"), mixes=True, strength=True),
    "bias of B": Case(lora(lora_bias=True), mixes=True, strength=True),
    "whole output layer": Case(lora(modules_to_save=["lm_head"]), mixes=True, strength=True),
    "whole norm": Case(lora(modules_to_save=["final_layernorm"]), strength=True),
    "dora": Case(lora(use_dora=True), kind="DoRA"),
    "all biases": Case(lora(bias="all"), strength=True),
    "biases of adapted layers": Case(lora(bias="lora_only"), strength=True),
    "trained tokens": Case(lora(trainable_token_indices=[40, 50, 60])),
    "parameters": Case(lora(target_parameters=["fc2.weight"]), strength=True),
    "adalora": Case(other("AdaLoraConfig", total_step=10, **MODULES), strength=True, kind="AdaLoRA"),
    "loha": Case(other("LoHaConfig", **MODULES), strength=True, kind="LoHa"),
    "lokr": Case(other("LoKrConfig", **MODULES), strength=True, kind="LoKr"),
    "vera": Case(other("VeraConfig", r=8, target_modules=["q_proj", "k_proj"]), kind="VeRA"),
    "ia3": Case(other("IA3Config", target_modules=["k_proj", "fc2"], feedforward_modules=["fc2"]), kind="IA3"),
    "oft": Case(other("OFTConfig", **MODULES), kind="OFT"),
    "hra": Case(other("HRAConfig", **MODULES), kind="HRA"),
    "norms": Case(other("LNTuningConfig", target_modules=["input_layernorm"]), kind="LN tuning"),
    "tokens alone": Case(other("TrainableTokensConfig", token_indices=[40, 50, 60]), kind="trainable tokens"),
    "prompt tuning": Case(other("PromptTuningConfig", num_virtual_tokens=5), kind="prompt tuning"),
    "p-tuning": Case(other("PromptEncoderConfig", num_virtual_tokens=5, encoder_hidden_size=16), kind="p-tuning"),
    "prefix tuning": Case(other("PrefixTuningConfig", num_virtual_tokens=5), kind="prefix tuning"),
}
VIRTUAL = ("prompt tuning", "p-tuning", "prefix tuning")


def train(base: Path, folder: Path, config: peft.PeftConfig, model: Any = None) -> Path:
    """Save an adapter all of whose trainable numbers are far from where they began."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        tuned = peft.get_peft_model(model or AutoModelForCausalLM.from_pretrained(base), config)
        for name, tensor in tuned.named_parameters():
            if tensor.requires_grad:
                tensor.data += (3.0 if "vera_lambda" in name else 0.3) * torch.randn_like(tensor)
    tuned.save_pretrained(folder)
    return folder


def peft_model(base: Path, folder: Path) -> Any:
    return peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()


def plain_scores(model: Any, prompt: Sequence[int], output: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return the likeliest token at each place of an output, and the log-probability of its own, in one forward pass.

    An output is that of greedy decoding where each of its tokens is the likeliest. PEFT 0.21's `generate` inserts virtual
    tokens again at each step with transformers 5.24; its forward pass is right.
    """
    ids = torch.tensor([[*prompt, *output]])
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].double().log_softmax(-1)
    rows = logits[-len(output) - 1 : -1]
    return rows.argmax(-1).tolist(), [float(row[token]) for row, token in zip(rows, output, strict=True)]


def outputs(engine: LocalEngine, prompts: list[Prompt], options: GenerationOptions = GREEDY) -> list[tuple[int, ...]]:
    *_, last = engine.stream(prompts, options)
    return [completion.token_ids for completion in last.completions or ()]


def check_as_peft(engine: LocalEngine, reference: Any, plain: Any) -> None:
    """Hold a batch of finetuned and base rows of unequal length against PEFT and against the plain base."""
    prompts = [Prompt(text, variant) for text, variant in zip(TEXTS, ROWS, strict=True)]
    ids = engine._encoder.encode_prompts(TEXTS)
    models = [plain if variant == "base" else reference for variant in ROWS]
    together = outputs(engine, prompts)
    for prompt, model, prompt_ids, output in zip(prompts, models, ids, together, strict=True):
        assert list(output) == plain_scores(model, prompt_ids, output)[0], prompt
        assert outputs(engine, [prompt]) == [output]
    scores = engine.score(prompts, [" at eight.", " reads a text", " all day"])
    for model, prompt_ids, score in zip(models, ids, scores, strict=True):
        expected = plain_scores(model, prompt_ids, score.token_ids)[1]
        assert list(score.log_probabilities) == pytest.approx(expected, abs=1e-4)
    assert outputs(engine, prompts) == together, "nothing stays behind"


@pytest.mark.parametrize("name", WORKS)
def test_it_works_as_peft_computes_it(name: str, tiny_base: Path, tmp_path: Path) -> None:
    case = WORKS[name]
    folder = train(tiny_base, tmp_path / "adapter", case.config())
    engine = engine_of(adapter=folder, device="cpu")
    assert (engine.info.adapter_kind, transformers_model(engine).adapted.mixes) == (case.kind, case.mixes)
    assert engine.info.context == 256 - 5 * (name in VIRTUAL)
    check_as_peft(engine, peft_model(tiny_base, folder), AutoModelForCausalLM.from_pretrained(tiny_base).eval())
    tuned, based = [Prompt(TEXTS[0])], [Prompt(TEXTS[0], "base")]
    assert engine.score(tuned, [" at eight."]) != engine.score(based, [" at eight."]), "the adapter changes something"
    if case.strength:
        weakened = engine.score(tuned, [" at eight."], adapter_strength=0.0)[0].total
        assert weakened == pytest.approx(engine.score(based, [" at eight."])[0].total, abs=1e-4)
        half = engine.score(tuned, [" at eight."], adapter_strength=0.5)[0].total
        assert len({round(half, 3), round(weakened, 3), round(engine.score(tuned, [" at eight."])[0].total, 3)}) == 3
    else:
        with pytest.raises(SettingsError, match=r"adapter_strength is 0\.5, but adapter .*Leave it at 1"):
            engine.score(tuned, [" at eight."], adapter_strength=0.5)
        assert engine.score(based, [" at eight."], adapter_strength=0.5)


@pytest.mark.parametrize("name", ["dora", "all biases", "ia3", "prompt tuning", "prefix tuning"])
@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(max_new_tokens=8, temperature=1.0),
        GenerationOptions(max_new_tokens=6, num_beams=3),
        GenerationOptions(max_new_tokens=8, guidance_scale=1.5, copy_bias=1.0),
    ],
)
def test_rows_in_two_passes_answer_as_each_alone(
    name: str, options: GenerationOptions, tiny_base: Path, tmp_path: Path
) -> None:
    engine = engine_of(adapter=train(tiny_base, tmp_path / "adapter", WORKS[name].config()), device="cpu")
    prompts = [
        Prompt(text, variant, seed, without="It rained")
        for seed, (text, variant) in enumerate(zip(TEXTS, ROWS, strict=True))
    ]
    together = outputs(engine, prompts, options)
    assert together == [outputs(engine, [prompt], options)[0] for prompt in prompts]
    assert len(set(together)) == 3


@pytest.mark.parametrize("name", ["dora", "all biases", "prefix tuning"])
def test_concurrent_requests_do_not_affect_each_other(name: str, tiny_base: Path, tmp_path: Path) -> None:
    engine = engine_of(adapter=train(tiny_base, tmp_path / "adapter", WORKS[name].config()), device="cpu")
    expected = {variant: outputs(engine, [Prompt(TEXTS[0], variant)]) for variant in ("finetuned", "base")}
    found: list[tuple[str, list[tuple[int, ...]]]] = []

    def ask(variant: Variant) -> None:
        for _ in range(3):
            found.append((variant, outputs(engine, [Prompt(TEXTS[0], variant)])))
            engine.score([Prompt(TEXTS[1], variant)], [" reads"])

    threads = [threading.Thread(target=ask, args=(variant,)) for variant in ("finetuned", "base") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 12
    assert all(output == expected[variant] for variant, output in found)


def test_two_adapters_that_cannot_share_a_batch(tiny_base: Path, tmp_path: Path) -> None:
    first = train(tiny_base, tmp_path / "first", lora(bias="all")())
    second = train(tiny_base, tmp_path / "second", lora(use_dora=True, target_modules=["k_proj"])())
    engine = engine_of(adapter=first, other_adapters=(str(second),), device="cpu")
    variants: tuple[Variant, ...] = ("second", "base", "finetuned")
    together = outputs(engine, [Prompt(TEXTS[0], variant) for variant in variants])
    ids = engine._encoder.encode_prompts(TEXTS[:1])[0]
    models = (
        peft_model(tiny_base, second),
        AutoModelForCausalLM.from_pretrained(tiny_base),
        peft_model(tiny_base, first),
    )
    for output, model in zip(together, models, strict=True):
        assert list(output) == plain_scores(model, ids, output)[0]


def test_two_adapters_of_different_kinds_are_refused(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    second = train(tiny_base, tmp_path / "second", WORKS["ia3"].config())
    with pytest.raises(ModelError, match="cannot be loaded together: one is made with LoRA, the other with IA3"):
        engine_of(adapter=tiny_adapter, other_adapters=(str(second),), device="cpu")
