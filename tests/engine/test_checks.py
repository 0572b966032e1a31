from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.engine.adapters import AdapterConfig
from phi2demo.engine.checks import (
    Pairing,
    check_base,
    check_fit,
    check_sizes,
    check_targets,
    check_tokenizer,
    check_virtual_tokens,
    copied,
    resized,
    vocabulary_rows,
)
from phi2demo.engine.weights import Shapes
from phi2demo.errors import ModelError

LAYER = "model.layers.0."
BASE: Shapes = {
    "model.embed_tokens.weight": (32, 8),
    f"{LAYER}input_layernorm.weight": (8,),
    f"{LAYER}input_layernorm.bias": (8,),
    f"{LAYER}self_attn.q_proj.weight": (8, 8),
    f"{LAYER}self_attn.q_proj.bias": (8,),
    f"{LAYER}mlp.fc1.weight": (24, 8),
    "lm_head.weight": (32, 8),
}
MADE_ON = AdapterConfig(base="someone/phi", base_revision=None, rank=2, targets=("q_proj", "fc1"))


def lora(module: str, *, rows: int, columns: int, rank: int = 2) -> Shapes:
    return {
        f"base_model.model.{module}.lora_A.weight": (rank, columns),
        f"base_model.model.{module}.lora_B.weight": (rows, rank),
    }


FITTING = lora(f"{LAYER}self_attn.q_proj", rows=8, columns=8) | lora(f"{LAYER}mlp.fc1", rows=24, columns=8)


def fit(changes: Shapes, *, base_given: bool = True) -> None:
    check_fit(Pairing("tuned", "plain", MADE_ON, base_given), changes, BASE)


def test_an_adapter_that_fits_is_accepted() -> None:
    fit(FITTING)
    fit(FITTING | {"base_model.model.lm_head.weight": (32, 8)})
    embedding = "base_model.model.model.embed_tokens.lora_embedding_"
    fit({f"{embedding}A": (2, 32), f"{embedding}B": (8, 2)})


def test_copies_of_base_weights_do_not_count_as_changes() -> None:
    head = lora("lm_head", rows=32, columns=8) | {"base_model.model.lm_head.base_layer.weight": (32, 8)}
    fit(FITTING | head)
    assert copied(FITTING | head, MADE_ON, BASE) == ["lm_head.weight"]
    whole: Shapes = {"base_model.model.lm_head.weight": (32, 8)}
    assert copied(FITTING | whole, MADE_ON, BASE) == ["lm_head.weight"]
    assert copied(FITTING | whole, replace(MADE_ON, saved=("lm_head",)), BASE) == []
    with pytest.raises(ModelError, match=r"resized vocabulary: its lm_head is for 64 tokens, plain has 32"):
        fit(head | {"base_model.model.lm_head.base_layer.weight": (64, 8)})


def test_the_user_is_not_told_to_leave_out_a_model_that_was_not_given() -> None:
    with pytest.raises(ModelError, match=r"names someone/phi as its base: give the one it was made on with --model\.$"):
        fit(lora(f"{LAYER}mlp.fc1", rows=24, columns=16), base_given=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            lora(f"{LAYER}mlp.fc1", rows=24, columns=16),
            r"changes .*fc1 of shape \[24, 16\], but this base has shape \[24, 8\]",
        ),
        (lora(f"{LAYER}mlp.fc1", rows=48, columns=8), r"shape \[48, 8\], but this base has shape \[24, 8\]"),
        (FITTING | {"base_model.model.lm_head.weight": (64, 16)}, r"lm_head.weight of shape \[64, 16\]"),
        (lora("model.layers.7.mlp.fc1", rows=24, columns=8), r"changes model\.layers\.7\.mlp\.fc1.*this base lacks"),
        (lora(f"{LAYER}mlp.gate_proj", rows=24, columns=8), r"gate_proj.*this base lacks"),
    ],
)
def test_an_adapter_of_another_base_is_refused(changes: Shapes, message: str) -> None:
    with pytest.raises(ModelError, match=f"tuned was made for another base than plain: .*{message}") as caught:
        fit(changes)
    assert "names someone/phi as its base: give that with --model" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"base_model.model.lm_head.weight": (40, 8)},
        lora("lm_head", rows=40, columns=8),
        {
            "base_model.model.model.embed_tokens.lora_embedding_A": (2, 40),
            "base_model.model.model.embed_tokens.lora_embedding_B": (8, 2),
        },
    ],
)
def test_a_resized_vocabulary_has_a_message_of_its_own(changes: Shapes) -> None:
    with pytest.raises(ModelError, match=r"tuned was trained with a resized vocabulary: .* 40 tokens, plain has 32"):
        fit(FITTING | changes)


@pytest.mark.parametrize("module", [f"{LAYER}self_attn.Wqkv", "transformer.h.0.mixer.out_proj"])
def test_an_adapter_of_the_old_phi_code_is_refused(module: str) -> None:
    with pytest.raises(
        ModelError, match=r"tuned was made for the old Phi code.*retrained on today's Phi, or.*converted"
    ):
        fit(FITTING | lora(module, rows=24, columns=8))


def test_half_an_adapter_is_refused() -> None:
    half = {key: shape for key, shape in FITTING.items() if not key.endswith("fc1.lora_B.weight")}
    with pytest.raises(ModelError, match=r"only half of .*fc1's LoRA weights"):
        fit(half)


def test_factors_of_different_rank_are_refused() -> None:
    changes = FITTING | {f"base_model.model.{LAYER}mlp.fc1.lora_A.weight": (4, 8)}
    with pytest.raises(ModelError, match="made for another base"):
        fit(changes)


@pytest.mark.parametrize("changes", [{}, {"base_model.model.lm_head.weight": (32, 8)}])
def test_an_adapter_without_lora_weights_is_refused(changes: Shapes) -> None:
    with pytest.raises(ModelError, match="tuned holds no LoRA weights"):
        fit(changes)


@pytest.mark.parametrize("target", ["q_proj", "self_attn.q_proj", "fc1"])
def test_declared_targets_are_found_at_the_ends_of_names(target: str) -> None:
    config = AdapterConfig(base=None, base_revision=None, rank=2, targets=(target,))
    check_targets(Pairing("tuned", "plain", config), BASE)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("Wqkv", "fc3"), "old Phi code.*Wqkv.*retrained"),
        (("gate_proj", "up_proj"), "another base than plain: it changes gate_proj, up_proj, which this base lacks"),
        (("proj",), "changes proj, which this base lacks. Give the base that it was made on"),
    ],
)
def test_targets_that_the_base_lacks_are_refused(targets: tuple[str, ...], message: str) -> None:
    config = AdapterConfig(base=None, base_revision=None, rank=2, targets=targets)
    with pytest.raises(ModelError, match=message):
        check_targets(Pairing("tuned", "plain", config), BASE)


def test_weights_that_contradict_the_config_are_refused() -> None:
    check_base(BASE | {"extra": (1,)}, BASE, name="m")
    with pytest.raises(ModelError, match=r"lm_head.weight of shape \[32, 8\], the weights have \[64, 8\]"):
        check_base(BASE | {"lm_head.weight": (64, 8)}, BASE, name="m")
    with pytest.raises(ModelError, match=r"weights of m lack model\.embed_tokens\.weight\. Give a complete"):
        check_base({"lm_head.weight": (32, 8)}, BASE, name="m")
    with pytest.raises(ModelError, match=r"lack .* written for the old Phi code"):
        check_base({"transformer.h.0.mixer.Wqkv.weight": (24, 8)}, BASE, name="m")


def test_a_base_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m has no tokenizer; copy tokenizer\.json"):
        check_tokenizer(tmp_path, name="m")


def test_an_embedding_of_its_own_resizes_the_vocabulary() -> None:
    embedding: Shapes = {"base_model.model.model.embed_tokens.weight": (40, 8)}
    assert vocabulary_rows(FITTING | embedding, BASE) == 40
    assert vocabulary_rows(FITTING, BASE) is None
    assert vocabulary_rows({"base_model.model.model.embed_tokens.weight": (32, 8)}, BASE) is None
    larger = resized(BASE, 40)
    assert (larger["model.embed_tokens.weight"], larger["lm_head.weight"]) == ((40, 8), (40, 8))
    assert larger[f"{LAYER}mlp.fc1.weight"] == (24, 8)
    fit(FITTING | embedding | {"base_model.model.lm_head.weight": (40, 8)})


def test_a_rank_far_above_that_of_the_weights_is_refused() -> None:
    large = Pairing("tuned", "plain", replace(MADE_ON, ranks=(2, 4096)))
    with pytest.raises(ModelError, match=r"tuned declares rank 4,096, but no side of its weights is longer than 24"):
        check_sizes(large, FITTING)


def test_virtual_tokens_have_the_width_of_the_base() -> None:
    config = replace(MADE_ON, method="PROMPT_TUNING", virtual_tokens=5, virtual_width=8)
    check_sizes(Pairing("tuned", "plain", config), {"prompt_embeddings": (5, 8)})
    with pytest.raises(ModelError, match="declares 5 virtual tokens of 8 numbers, which its weights are not"):
        check_sizes(Pairing("tuned", "plain", config), {"prompt_embeddings": (50, 8)})
    check_virtual_tokens(Pairing("tuned", "plain", config), hidden_size=8, cache_width=64)
    prefix = Pairing("tuned", "plain", replace(config, method="PREFIX_TUNING"))
    with pytest.raises(ModelError, match=r"another base than plain: its virtual tokens have 8 numbers, .* needs 64"):
        check_virtual_tokens(prefix, hidden_size=8, cache_width=64)
