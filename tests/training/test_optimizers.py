"""Muon with AdamW as one optimizer."""

from typing import Any

import pytest
import torch

from phi2demo.training.optimizers import BatchedMuon, Joined, make_optimizer, orthogonalize


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


def made(model: Small, name: Any = "muon") -> torch.optim.Optimizer:
    return make_optimizer(model, name, learning_rate=0.02, weight_decay=0.0)


def learn(model: Small, optimizer: torch.optim.Optimizer, steps: range) -> float:
    loss = torch.zeros(())
    for step in steps:
        optimizer.zero_grad()
        loss = model.loss(step)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_muon_gets_the_matrices_of_the_layers_and_nothing_else() -> None:
    model = Small()
    optimizer = made(model)
    assert isinstance(optimizer, Joined)
    muon, adamw = optimizer._parts
    assert [p.shape for group in muon.param_groups for p in group["params"]] == [(8, 8)]
    assert [len(group["params"]) for group in adamw.param_groups] == [2, 1]


def test_every_parameter_is_in_one_group() -> None:
    model = Small()
    for name in ("muon", "adamw"):
        grouped = [id(p) for group in made(model, name).param_groups for p in group["params"]]
        assert sorted(grouped) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_it_learns(name: str) -> None:
    model = Small()
    before = float(model.loss(0).detach())
    assert learn(model, made(model, name), range(60)) < before / 2


def test_the_learning_rate_of_the_groups_is_the_one_that_counts() -> None:
    model = Small()
    optimizer = made(model)
    before = [p.clone() for p in model.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    learn(model, optimizer, range(3))
    assert all(map(torch.equal, before, model.parameters()))


def test_a_saved_state_goes_on_as_if_unbroken() -> None:
    unbroken, model = Small(), Small()
    learn(unbroken, made(unbroken), range(6))
    first = made(model)
    learn(model, first, range(3))
    second = made(model)
    second.load_state_dict(first.state_dict())
    learn(model, second, range(3, 6))
    assert all(map(torch.equal, unbroken.parameters(), model.parameters()))


def test_matrices_of_one_shape_together_are_stepped_as_each_alone() -> None:
    """By torch's Muon, one after the other, which multiplies in bfloat16 too."""
    torch.manual_seed(0)
    shapes = [(24, 8), (8, 8), (24, 8), (8, 24), (8, 8)]
    ours, theirs = ([torch.nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2))
    settings: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2, "momentum": 0.95}
    optimizers = BatchedMuon(ours, **settings), torch.optim.Muon(theirs, **settings, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = None if (step, number) == (1, 2) else torch.randn(one.shape)
            one.grad, other.grad = gradient, gradient
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).detach().norm() < 0.02 * (other - 1).detach().norm()


@pytest.mark.parametrize("shape", [(3, 6, 6), (2, 16, 4), (2, 4, 16)])
def test_singular_values_come_near_1(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    found = orthogonalize(torch.randn(shape), (3.4445, -4.775, 2.0315), 5, 1e-7)
    values = torch.linalg.svdvals(found.float())
    assert found.shape == shape
    assert ((values > 0.6) & (values < 1.3)).all()
