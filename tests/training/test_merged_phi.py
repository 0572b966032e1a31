from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM

from phi2demo.training.batch import Batch
from phi2demo.training.gradients import target_loss
from phi2demo.training.merged_phi import MergedPhi, fits
from phi2demo.training.mixture import Tokens, collate
from phi2demo.training.packs import PackedBatches

CPU = torch.device("cpu")
ALL = ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")


def make_model(*targets: str, **config: Any) -> PeftModel:
    torch.manual_seed(0)
    shape = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "initializer_range": 0.2,
    }
    base = PhiForCausalLM(PhiConfig(**shape | {"num_attention_heads": 2, "max_position_embeddings": 64} | config))
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=12, target_modules=list(targets)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "bias" in name:
                parameter.normal_(std=0.1)
    return model


def make_batch() -> Batch:
    """Prompts that are shared by some, of other lengths, and one that is read from its first token."""
    random = torch.Generator().manual_seed(1)
    examples = []
    for number in range(12):
        prompt = [[5] * 9, [6] * 7, [6] * 7 + [3] * 6, [1]][number % 4]
        tail = torch.randint(2, 64, (int(torch.randint(3, 20, (1,), generator=random)),), generator=random).tolist()
        task = ("translation", "sentiment", "summarization", "replay")[number % 4]
        examples.append(
            Tokens(task, [*prompt, *tail], max(1, len(prompt) + len(tail) // 2 - 1) if number % 4 < 3 else 1)
        )
    return collate(examples, pad_id=0)


class One:
    def at(self, step: int) -> Batch:
        return make_batch()


def packed(tokens: int, length: int | None) -> PackedBatches:
    return PackedBatches(One(), tokens, length)


def gradients(model: PeftModel) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize(
    ("targets", "config"),
    [
        (ALL, {}),
        (("q_proj", "fc2"), {}),
        (ALL, {"hidden_act": "relu", "partial_rotary_factor": 0.25, "tie_word_embeddings": True}),
    ],
)
@pytest.mark.parametrize("part_tokens", [1, 60, 10_000])
@pytest.mark.parametrize("length", [None, 40])
def test_gradients_and_loss_are_those_of_lora(
    targets: tuple[str, ...], config: dict[str, Any], part_tokens: int, length: int | None
) -> None:
    model, batch = make_model(*targets, **config), packed(part_tokens, length).at(0)
    expected_loss = target_loss(model, batch, CPU) / batch.total_weight
    expected_loss.backward()
    expected = gradients(model)
    assert len(expected) == 2 * 3 * len(targets)
    loss = MergedPhi(model).add_gradients(batch, part_tokens=part_tokens, accelerator=Accelerator(cpu=True))
    assert float(loss) == pytest.approx(expected_loss.item(), rel=1e-5)
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-4 * float(gradient.abs().max())), name


def test_gradients_add_up_and_follow_the_parameters() -> None:
    """Planted: a second step must not see the matrices of the first."""
    model, batch, accelerator = make_model(*ALL), make_batch(), Accelerator(cpu=True)
    merged = MergedPhi(model)
    first = float(merged.add_gradients(batch, part_tokens=500, accelerator=accelerator))
    once = gradients(model)
    for _ in range(2):
        merged.add_gradients(batch, part_tokens=500, accelerator=accelerator)
    twice = gradients(model)
    assert all(torch.allclose(twice[name], 2 * once[name], rtol=1e-4, atol=1e-7) for name in once)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in once:
                parameter -= 0.05 * once[name]
    assert float(merged.add_gradients(batch, part_tokens=500, accelerator=accelerator)) < first


def test_only_a_small_phi_is_computed_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fits(make_model(*ALL), CPU)
    assert fits(make_model(*ALL), torch.device("cuda"))
    assert not fits(make_model(*ALL), torch.device("mps"))
    assert not fits(make_model(*ALL, num_key_value_heads=1), CPU)
    assert not fits(make_model(*ALL, qk_layernorm=True), CPU)
    assert not fits(make_model(*ALL, "embed_tokens"), CPU)
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2))
    assert not fits(get_peft_model(llama, LoraConfig(target_modules=["q_proj"])), CPU)
    monkeypatch.setattr("phi2demo.training.merged_phi.LARGEST", 1000)
    assert not fits(make_model(*ALL), CPU)


@pytest.mark.parametrize("length", [None, 40])
def test_dropout_leaves_out_what_the_seed_says(length: int | None) -> None:
    model, batch = make_model(*ALL), packed(60, length).at(0)

    def loss(dropout: float, seed: int) -> float:
        torch.manual_seed(seed)
        merged = MergedPhi(model, dropout=dropout)
        return float(merged.add_gradients(batch, part_tokens=60, accelerator=Accelerator(cpu=True)))

    assert loss(0.2, 1) == loss(0.2, 1)
    assert len({loss(0.0, 1), loss(0.2, 1), loss(0.2, 2)}) == 3
    assert loss(0.0, 1) == loss(0.0, 2)
