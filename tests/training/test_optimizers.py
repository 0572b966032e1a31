"""Muon with AdamW as one optimizer."""

from typing import Any

import pytest
import torch

from phi2demo.training.optimizers import JoinedOptimizer, make_optimizer


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = torch.nn.Embedding(12, 8)
        self.layer = torch.nn.Linear(8, 8)
        self.lm_head = torch.nn.Linear(8, 12, bias=False)

    def loss(self, seed: int) -> torch.Tensor:
        ids = torch.randint(12, (16,), generator=torch.Generator().manual_seed(seed))
        return torch.nn.functional.cross_entropy(self.lm_head(self.layer(self.embed_tokens(ids)).tanh()), ids)


def make(model: Small, name: Any = "muon") -> torch.optim.Optimizer:
    return make_optimizer(model, name, learning_rate=0.02, weight_decay=0.0)


def train(model: Small, optimizer: torch.optim.Optimizer, steps: range) -> float:
    loss = torch.zeros(())
    for step in steps:
        optimizer.zero_grad()
        loss = model.loss(step)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_muon_optimizes_only_the_matrices_of_the_layers() -> None:
    model = Small()
    optimizer = make(model)
    assert isinstance(optimizer, JoinedOptimizer)
    muon, adamw = optimizer._parts
    assert [p.shape for group in muon.param_groups for p in group["params"]] == [(8, 8)]
    assert [len(group["params"]) for group in adamw.param_groups] == [2, 1]


def test_every_parameter_is_in_one_group() -> None:
    model = Small()
    for name in ("muon", "adamw"):
        grouped = [id(p) for group in make(model, name).param_groups for p in group["params"]]
        assert sorted(grouped) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_loss_falls(name: str) -> None:
    model = Small()
    before = float(model.loss(0).detach())
    assert train(model, make(model, name), range(60)) < before / 2


def test_the_learning_rate_of_the_groups_is_used() -> None:
    model = Small()
    optimizer = make(model)
    before = [p.clone() for p in model.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, range(3))
    assert all(map(torch.equal, before, model.parameters()))


def test_a_restored_state_continues_as_if_unbroken() -> None:
    unbroken, model = Small(), Small()
    train(unbroken, make(unbroken), range(6))
    first = make(model)
    train(model, first, range(3))
    second = make(model)
    second.load_state_dict(first.state_dict())
    train(model, second, range(3, 6))
    assert all(map(torch.equal, unbroken.parameters(), model.parameters()))
