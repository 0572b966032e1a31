""""""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi2demo.data.corpus import read_corpus
from phi2demo.training.held_out import ProgressCallback, draw, measure
from phi2demo.training.mixture import EMPHASIS, Mixture, task_weights

CPU = torch.device("cpu")


def unseen(done: int, parts: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def mixture(corpus: Path, tiny_base: Path) -> Mixture:
    sources = [source for source in read_corpus(corpus)[0] if source.kind != "simplification"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    return Mixture(sources, task_weights({}), tokenizer, max_length=256, batch_size=4, seed=0, split="validation")


def test_the_loss_of_all_is_that_of_the_tasks_by_their_shares(mixture: Mixture, tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    pair = replace(mixture, weights=dict.fromkeys(mixture.weights, 0.0) | {"translation": 3.0, "generation": 1.0})
    told: list[tuple[int, int]] = []
    losses = draw(pair).losses(model, 400, CPU, lambda done, parts: told.append((done, parts)))
    shares = {"translation": 3.0, "generation": EMPHASIS["generation"]}
    assert losses.keys() == {"all", *shares}
    expected = sum(shares[task] * losses[task] for task in shares) / sum(shares.values())
    assert losses["all"] == pytest.approx(expected)
    assert draw(pair).losses(model, 100_000, CPU, unseen) == pytest.approx(losses, rel=1e-5)
    assert told == [(done, len(told) - 1) for done in range(len(told))]
    assert len(told) > 3


def test_no_task_is_measured_on_more_examples_than_it_has_rows(mixture: Mixture) -> None:
    assert len(draw(mixture).batches["translation"].input_ids) == 12


def in_three_parts(told: ProgressCallback) -> dict[str, float]:
    for done in range(4):
        told(done, 3)
    return {"all": 1.0}


def test_progress_is_shown_and_the_model_trains_on() -> None:
    model = torch.nn.Linear(1, 1)
    shown: list[tuple[int, int, bool]] = []
    losses = measure(
        model,
        in_three_parts,
        show=lambda done, parts: shown.append((done, parts, model.training)),
        stopped=lambda: False,
    )
    assert losses == {"all": 1.0}
    assert shown == [(done, 3, False) for done in range(4)]
    assert model.training


def test_a_stop_is_looked_at_between_the_parts_and_not_after_the_last() -> None:
    model = torch.nn.Linear(1, 1)
    done_so_far: list[int] = []
    for last, losses in ((1, None), (3, {"all": 1.0})):
        done_so_far.clear()
        measured = measure(
            model,
            in_three_parts,
            show=lambda done, parts: done_so_far.append(done),
            stopped=lambda last=last: done_so_far[-1] == last,
        )
        assert (measured, done_so_far[-1], model.training) == (losses, last, True)
