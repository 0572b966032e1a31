"""Two adapters on one base: each answers and scores as it does alone, also in one batch."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from phi2demo.engine.engine import GenerationOptions, Prompt, Variant
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.weights import fingerprint
from phi2demo.errors import ModelError
from phi2demo.settings import ModelSettings
from tests.conftest import make_adapter
from tests.engine.engines import torch_model, transformers_model

TEXTS = ("The train leaves", "A small model reads a text and", "It rained all day, so")
VARIANTS: tuple[Variant, ...] = ("finetuned", "base", "tiny-second")
GREEDY = GenerationOptions(max_new_tokens=12)
SAMPLED = GenerationOptions(max_new_tokens=12, temperature=1.0, top_p=0.9)
BEAMS = GenerationOptions(max_new_tokens=8, num_beams=3)


def engine_of(**settings: Any) -> LocalEngine:
    return LocalEngine.load(
        plan(
            ModelSettings(
                **{name: value if isinstance(value, tuple) else str(value) for name, value in settings.items()}
            )
        )
    )


@pytest.fixture(scope="module")
def both(tiny_adapter: Path, tiny_second: Path) -> LocalEngine:
    return engine_of(adapter=tiny_adapter, other_adapters=(str(tiny_second),), device="cpu")


@pytest.fixture(scope="module")
def alone(tiny_adapter: Path, tiny_second: Path) -> dict[Variant, LocalEngine]:
    """Of each use, an engine that has no other adapter."""
    first, second = (engine_of(adapter=folder, device="cpu") for folder in (tiny_adapter, tiny_second))
    return {"finetuned": first, "base": first, "tiny-second": second}


def single(variant: Variant) -> Variant:
    """What an engine with one adapter calls it."""
    return "finetuned" if variant == "tiny-second" else variant


def texts(engine: LocalEngine, prompts: list[Prompt], options: GenerationOptions) -> list[str]:
    *_, last = engine.stream(prompts, options)
    return [completion.text for completion in last.completions or ()]


def test_the_info_describes_the_loaded_model(both: LocalEngine, tiny_second: Path) -> None:
    (second,) = both.info.others
    assert (second.name, second.rank, second.folder) == ("tiny-second", 3, tiny_second)
    assert second.revision.partition("-")[0] == fingerprint(tiny_second, ("adapter_model.safetensors",))
    assert both.info.variants == VARIANTS
    assert (both.info.adapter, both.info.lora_rank, both.info.parameters) == ("tiny-adapter", 4, 133_120)


@pytest.mark.parametrize("options", [GREEDY, SAMPLED, BEAMS])
def test_three_in_one_batch_answer_as_each_alone(
    both: LocalEngine, alone: dict[Variant, LocalEngine], options: GenerationOptions
) -> None:
    for seed, text in enumerate(TEXTS):
        together = texts(both, [Prompt(text, variant, seed) for variant in VARIANTS], options)
        assert together == [
            texts(alone[variant], [Prompt(text, single(variant), seed)], options)[0] for variant in VARIANTS
        ]
        assert len(set(together)) == 3, "the adapters of these fixtures change the output"


def test_each_alone_on_two_adapters_answers_as_without_the_other(
    both: LocalEngine, alone: dict[Variant, LocalEngine]
) -> None:
    for variant in VARIANTS:
        rows = [Prompt(text, variant) for text in TEXTS]
        expected = texts(alone[variant], [Prompt(text, single(variant)) for text in TEXTS], GREEDY)
        assert texts(both, rows, GREEDY) == expected


@pytest.mark.parametrize("packed", [True, False])
def test_scores_are_those_of_each_alone(
    both: LocalEngine, alone: dict[Variant, LocalEngine], packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transformers_model(both)._scorer._packable
    monkeypatch.setattr(transformers_model(both)._scorer, "_packable", packed)
    outputs = [" at eight", " another one.", " they stayed."]
    cases = [(text, variant, output) for (text, output) in zip(TEXTS, outputs, strict=True) for variant in VARIANTS]
    scored = both.score([Prompt(text, variant) for text, variant, _ in cases], [output for *_, output in cases])
    for (text, variant, output), score in zip(cases, scored, strict=True):
        ids = both._tokenizer.encode(text) + both._tokenizer.encode(output)
        with torch.inference_mode():  # plain PEFT with one adapter, or with none
            peft = torch_model(alone[variant])
            names = None if variant != "base" else ["__base__"]
            logits = peft(input_ids=torch.tensor([ids]), adapter_names=names).logits[0].double().log_softmax(-1)
        start = len(ids) - len(score.token_ids) - 1
        expected = [float(logits[start + position, token]) for position, token in enumerate(score.token_ids)]
        assert list(score.log_probabilities) == pytest.approx(expected, abs=1e-5)
    for score, other_score in itertools.combinations(scored[:3], 2):
        assert abs(score.total - other_score.total) > 0.1


def test_an_adapter_that_changes_the_embedding_is_not_scored_with_the_others(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PhiConfig, PhiForCausalLM

    untied = tmp_path / "untied"
    PhiForCausalLM(PhiConfig.from_pretrained(tiny_base, tie_word_embeddings=False)).save_pretrained(untied)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(untied)
    first_adapter = make_adapter(untied, tmp_path / "one", seed=3, rank=2, targets=("fc1", "embed_tokens"))
    second_adapter = make_adapter(untied, tmp_path / "two", seed=4, rank=2, targets=("fc2", "embed_tokens"))
    engine = engine_of(adapter=first_adapter, other_adapters=(str(second_adapter),), device="cpu")
    prompts, outputs = [Prompt(TEXTS[0], variant) for variant in engine.info.variants], [" at eight"] * 3
    packed = engine.score(prompts, outputs)
    assert len(transformers_model(engine)._scorer.packed()) == len(VARIANTS)
    transformers_model(engine)._scorer._packable = False
    for packed_score, padded_score in zip(packed, engine.score(prompts, outputs), strict=True):
        assert list(packed_score.log_probabilities) == pytest.approx(list(padded_score.log_probabilities), abs=1e-5)
    assert len({round(score.total, 3) for score in packed}) == 3


def test_a_second_adapter_of_other_numbers_takes_the_bases(tiny_adapter: Path, tiny_second: Path) -> None:
    model = engine_of(
        adapter=tiny_adapter, other_adapters=(str(tiny_second),), device="cpu", dtype="bfloat16"
    )._model.adapted.model
    assert {tensor.dtype for tensor in model.parameters()} == {torch.bfloat16}


def test_without_a_second_adapter_nothing_is_compared(base: Path, adapter: Path) -> None:
    model_plan = plan(ModelSettings(adapter=str(adapter)))
    assert (model_plan.others, len(model_plan.adapters)) == ((), 1)
    assert plan(ModelSettings(model=str(base))).adapters == ()


def refused(message: str, **settings: Any) -> None:
    """The plan refuses: before any weights are loaded."""
    with pytest.raises(ModelError, match=message):
        plan(
            ModelSettings(
                **{name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
            )
        )


@pytest.fixture
def second(tiny_second: Path, base: Path, tmp_path: Path, edit: Any) -> Path:
    """A copy of the second tiny adapter, which names the copy of the base."""
    import shutil

    folder = Path(shutil.copytree(tiny_second, tmp_path / "second"))
    edit(folder / "adapter_config.json", base_model_name_or_path=str(base))
    return folder


def test_a_second_adapter_for_other_shapes_is_refused(second: Path, adapter: Path) -> None:
    weights = load_file(second / "adapter_model.safetensors")
    wide = {key: torch.cat([tensor, tensor]) if ".lora_B." in key else tensor for key, tensor in weights.items()}
    save_file(wide, second / "adapter_model.safetensors")
    refused(
        r"second was made for another base than base: it changes .* of shape",
        adapter=adapter,
        other_adapters=(str(second),),
    )


def test_two_adapters_of_which_one_replaces_modules_are_refused(second: Path, adapter: Path, edit: Any) -> None:
    edit(second / "adapter_config.json", modules_to_save=["lm_head"])
    message = "adapter and second cannot be loaded together: only one of them has lm_head in modules_to_save"
    refused(message, adapter=adapter, other_adapters=(str(second),))


def test_a_second_adapter_of_like_shapes_on_other_weights_is_refused(
    second: Path, adapter: Path, base: Path, edit: Any
) -> None:
    """Shapes fit, so that only the weights of the base that it names tell."""
    import shutil

    other_base = Path(shutil.copytree(base, base.parent / "other"))
    edit(second / "adapter_config.json", base_model_name_or_path=str(other_base))
    model_plan = plan(ModelSettings(adapter=str(adapter), other_adapters=(str(second),)))
    assert model_plan.others[0].variant == "second", "a copy of the same base is the same base"
    weights = load_file(other_base / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1}, other_base / "model.safetensors", metadata={"format": "pt"})
    refused(
        r"second was made for another base than base: it names other", adapter=adapter, other_adapters=(str(second),)
    )
    chosen = plan(ModelSettings(model=str(base), adapter=str(adapter), other_adapters=(str(second),)))
    assert chosen.others[0].variant == "second", "who gives --model has decided"


@pytest.mark.parametrize("named", ["/somewhere/else/base", "microsoft/phi-2", None])
def test_a_base_that_is_not_on_this_machine_is_compared_by_shapes(
    second: Path, adapter: Path, edit: Any, named: str | None
) -> None:
    edit(second / "adapter_config.json", base_model_name_or_path=named)
    assert plan(ModelSettings(adapter=str(adapter), other_adapters=(str(second),))).others[0].variant == "second"


def test_the_first_adapter_again_is_refused(adapter: Path) -> None:
    refused("--adapter adapter is given twice", adapter=adapter, other_adapters=(str(adapter),))


def test_a_second_adapter_that_is_no_adapter_is_refused(adapter: Path, base: Path) -> None:
    refused("base is a base model, not an adapter", adapter=adapter, other_adapters=(str(base),))
    refused(
        "--adapter /nowhere/at/all is neither a folder on this machine",
        adapter=adapter,
        other_adapters=("/nowhere/at/all",),
    )


def test_a_second_adapter_on_another_architecture_is_checked(base: Path, adapter: Path, tmp_path: Path) -> None:
    """Shapes of a base other than Phi are known only once it is loaded, the first adapter in it."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    gpt = tmp_path / "gpt"
    config = GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=2, n_positions=64, eos_token_id=0, bos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(gpt)
    AutoTokenizer.from_pretrained(base).save_pretrained(gpt)
    first_adapter, second_adapter = (
        make_adapter(gpt, tmp_path / name, seed=seed, rank=2, targets=("c_attn",), fan_in_fan_out=True)
        for seed, name in enumerate(("one", "two"))
    )
    engine = engine_of(adapter=first_adapter, other_adapters=(str(second_adapter),), device="cpu")
    scores = engine.score([Prompt("The train", variant) for variant in engine.info.variants], [" leaves"] * 3)
    assert len({round(score.total, 4) for score in scores}) == 3
    with pytest.raises(ModelError, match="adapter was made for another base than gpt"):
        engine_of(model=gpt, adapter=first_adapter, other_adapters=(str(adapter),), device="cpu")
