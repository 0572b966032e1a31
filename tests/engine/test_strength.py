"""An adapter at part of its strength: as one whose own settings say so, on every path, and nothing of it stays behind."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import nn

from phi2demo.engine.engine import GenerationOptions, Prompt, Variant
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.strength import MAX_CACHED, _replaced_parameters, get_or_make, scaled_adapters
from tests.conftest import make_adapter
from tests.engine.engines import KINDS, made_for, torch_model, transformers_model
from tests.engine.test_local import texts
from tests.engine.test_two_adapters import engine_of

PROMPTS = [
    Prompt("The train leaves the station and", "finetuned", seed=1),
    Prompt("A small model", "base", seed=2),
    Prompt("It rained", "finetuned", seed=3),
]
OUTPUTS = [" at eight in the morning.", " reads a text", " all day, so"]
WAYS = [
    GenerationOptions(max_new_tokens=12),
    GenerationOptions(max_new_tokens=12, temperature=1.0),
    GenerationOptions(max_new_tokens=8, num_beams=3),
    GenerationOptions(max_new_tokens=12, guidance_scale=1.5),
]


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, tiny_adapter: Path) -> LocalEngine:
    computed = made_for(request.param, tiny_adapter)
    transformers_model(computed)._scorer._packable = request.param == "decoder"
    return computed


def weakened(adapter: Path, folder: Path, strength: float) -> LocalEngine:
    """An engine with a copy of the adapter whose own scale is that of the strength."""
    shutil.copytree(adapter, folder)
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"lora_alpha": settings["lora_alpha"] * strength}), encoding="utf-8")
    return engine_of(adapter=folder, device="cpu")


def totals(engine: LocalEngine, prompts: list[Prompt] = PROMPTS, **settings: Any) -> list[float]:
    return [score.total for score in engine.score(prompts, OUTPUTS, **settings)]


def with_strength(strength: float, options: GenerationOptions) -> GenerationOptions:
    values = {name: getattr(options, name) for name in ("max_new_tokens", "temperature", "num_beams", "guidance_scale")}
    return GenerationOptions(**values, adapter_strength=strength)


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_a_strength_equals_an_adapter_with_that_scale(
    engine: LocalEngine, tiny_adapter: Path, tmp_path: Path, strength: float
) -> None:
    weakened_engine = weakened(tiny_adapter, tmp_path / "weakened", strength)
    assert totals(engine, adapter_strength=strength) == pytest.approx(totals(weakened_engine), abs=1e-4)
    for options in WAYS:
        assert texts(engine, PROMPTS, with_strength(strength, options)) == texts(weakened_engine, PROMPTS, options)


def test_at_0_it_is_the_base_and_at_1_as_it_was_finetuned(engine: LocalEngine) -> None:
    based = [Prompt(prompt.text, "base", prompt.seed) for prompt in PROMPTS]
    assert totals(engine, adapter_strength=0.0) == pytest.approx(totals(engine, based), abs=1e-5)
    assert totals(engine, adapter_strength=1.0) == totals(engine)
    full, half = totals(engine), totals(engine, adapter_strength=0.5)
    assert [abs(a - b) > 0.1 for a, b in zip(full, half, strict=True)] == [True, False, True], "the base stays as it is"
    for options in WAYS:
        assert texts(engine, PROMPTS, with_strength(0.0, options)) == texts(engine, based, options)
        assert texts(engine, PROMPTS, with_strength(0.5, options)) != texts(engine, PROMPTS, options)


def test_nothing_of_it_stays_behind(engine: LocalEngine) -> None:
    scalings = [dict(lora_module.scaling) for lora_module in _lora(engine)]
    stream = engine.stream(PROMPTS, GenerationOptions(max_new_tokens=200, adapter_strength=0.25))
    next(stream)
    stream.close()
    engine.score(PROMPTS, OUTPUTS, adapter_strength=0.25)
    assert [lora_module.scaling for lora_module in _lora(engine)] == scalings


def test_an_error_leaves_the_adapter_as_it_was(engine: LocalEngine) -> None:
    scalings = [dict(lora_module.scaling) for lora_module in _lora(engine)]

    def fail() -> None:
        with scaled_adapters(torch_model(engine), 0.5):
            assert [lora_module.scaling for lora_module in _lora(engine)] != scalings
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert [lora_module.scaling for lora_module in _lora(engine)] == scalings


def test_a_second_adapter_is_weakened_too(tiny_adapter: Path, tiny_second: Path) -> None:
    variants: tuple[Variant, ...] = ("tiny-second", "finetuned", "tiny-second")
    prompts = [Prompt(prompt.text, variant) for prompt, variant in zip(PROMPTS, variants, strict=True)]
    engine = engine_of(adapter=tiny_adapter, other_adapters=(str(tiny_second),), device="cpu")
    packed = totals(engine, prompts, adapter_strength=0.5)
    transformers_model(engine)._scorer._packable = False
    assert totals(engine, prompts, adapter_strength=0.5) == pytest.approx(packed, abs=1e-4)
    assert totals(engine, prompts) != pytest.approx(packed, abs=0.1)


def test_an_adapter_of_the_embedding_is_weakened_too(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PhiConfig, PhiForCausalLM

    untied = tmp_path / "untied"
    PhiForCausalLM(PhiConfig.from_pretrained(tiny_base, tie_word_embeddings=False)).save_pretrained(untied)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(untied)
    adapter = make_adapter(untied, tmp_path / "adapter", seed=3, rank=2, targets=("fc1", "embed_tokens"))
    engine = engine_of(adapter=adapter, device="cpu")
    weakened_engine = weakened(adapter, tmp_path / "weakened", 0.5)
    assert totals(engine, adapter_strength=0.5) == pytest.approx(totals(weakened_engine), abs=1e-4)


def test_weights_that_an_adapter_replaces_are_blended_too(tiny_base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(
        tiny_base, tmp_path / "adapter", seed=3, rank=2, targets=("q_proj", "fc1"), modules_to_save=["fc2"]
    )
    path = adapter / "adapter_model.safetensors"
    save_file({key: tensor + 0.1 * (".fc2." in key) for key, tensor in load_file(path).items()}, path)
    engine = engine_of(adapter=adapter, device="cpu")
    weakened_engine = weakened(adapter, tmp_path / "weakened", 0.5)
    for parameter, base in _replaced_parameters(torch_model(weakened_engine)):
        parameter.data = (parameter.data + base.data) / 2
    based = [Prompt(prompt.text, "base", prompt.seed) for prompt in PROMPTS]
    full = totals(engine)
    assert totals(engine, adapter_strength=0.0) == pytest.approx(totals(engine, based), abs=1e-5)
    assert totals(engine, adapter_strength=0.5) == pytest.approx(totals(weakened_engine), abs=1e-4)
    assert totals(engine) == full != pytest.approx(totals(engine, based), abs=0.1)
    for options in WAYS:
        assert texts(engine, PROMPTS, with_strength(0.0, options)) == texts(engine, based, options)
        assert texts(engine, PROMPTS, with_strength(0.5, options)) == texts(weakened_engine, PROMPTS, options)


def test_of_many_strengths_few_copies_are_kept(tiny_adapter: Path) -> None:
    engine = engine_of(adapter=tiny_adapter, device="cpu")
    for strength in (0.25, 0.5, 0.75, 1.0, 0.5):
        totals(engine, adapter_strength=strength)
    assert {key: list(kept) for key, kept in transformers_model(engine)._scorer._packed.items()} == {
        "default": [1.0, 0.5], "__base__": [1.0]
    }  # fmt: skip
    assert len(transformers_model(engine)._scorer.packed()) == MAX_CACHED + 1


def test_a_cached_value_is_made_once() -> None:
    computed: list[float] = []
    kept: dict[float, str] = {}
    for strength in (1.0, 0.5, 1.0, 0.25, 1.0, 0.5):

        def make(strength: float = strength) -> str:
            computed.append(strength)
            return f"{strength}"

        assert get_or_make(kept, strength, make) == f"{strength}"
    assert computed == [1.0, 0.5, 0.25, 0.5], "the strength that was used longest ago is dropped"


def test_a_value_that_could_not_be_made_is_tried_again() -> None:
    kept: dict[float, str | None] = {}
    values = iter([None, "made"])
    assert [get_or_make(kept, 1.0, lambda: next(values)) for _ in range(3)] == [None, "made", "made"]


def _lora(engine: LocalEngine) -> list[Any]:
    scaled_modules: list[nn.Module] = [module for module in torch_model(engine).modules() if hasattr(module, "scaling")]
    return [module for module in scaled_modules if isinstance(module.scaling, dict)]
