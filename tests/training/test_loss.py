""""""

import pytest
import torch

from phi2demo.training.batch import Batch
from phi2demo.training.loss import HeldOutExamples, ProgressCallback, run_validation, target_loss

from .random_batches import RandomBatches, make_model


def test_the_loss_is_the_weighted_sum_of_the_targets() -> None:
    model, batch = make_model(), RandomBatches().batch(0)
    assert batch.weights is not None
    with torch.no_grad():
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        loss = target_loss(model, batch, torch.device("cpu"))
    expected = sum(
        -logits[row, place].log_softmax(-1)[label] * batch.weights[row, place]
        for row, labels in enumerate(batch.labels)
        for place, label in enumerate(labels.tolist())
        if label != -100
    )
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_the_prompt_is_not_learned() -> None:
    batch = RandomBatches().batch(0)
    model = make_model()
    target_loss(model, batch, torch.device("cpu")).backward()
    gradient = model.model.layers[0].mlp.fc1.weight.grad.clone()
    spoiled = batch.labels.clone()
    spoiled[batch.labels == -100] = 7
    model.zero_grad()
    everything = Batch(batch.input_ids, spoiled, batch.attention_mask, batch.weights)
    target_loss(model, everything, torch.device("cpu")).backward()  # weight 0 outside the targets
    assert torch.allclose(model.model.layers[0].mlp.fc1.weight.grad, gradient, atol=1e-6)


CPU = torch.device("cpu")
EXAMPLES = HeldOutExamples({"a": RandomBatches().batch(0), "b": RandomBatches().batch(1)}, {"a": 3.0, "b": 1.0})


@pytest.mark.parametrize("part_tokens", [None, 40])
def test_the_loss_of_all_is_the_weighted_mean_of_the_others(part_tokens: int | None) -> None:
    progress: list[tuple[int, int]] = []
    losses = EXAMPLES.losses(make_model(), CPU, part_tokens, lambda done, parts: progress.append((done, parts)))
    assert losses.keys() == {"all", "a", "b"}
    assert losses["all"] == pytest.approx((3 * losses["a"] + losses["b"]) / 4)
    assert losses == pytest.approx(EXAMPLES.losses(make_model(), CPU, 100_000, lambda done, parts: None), rel=1e-5)
    parts = progress[0][1]
    assert progress == [(done, parts) for done in range(parts + 1)]
    assert parts == 2 if part_tokens is None else parts > 3


def in_three_parts(show_progress: ProgressCallback) -> dict[str, float]:
    for done in range(4):
        show_progress(done, 3)
    return {"all": 1.0}


def test_progress_is_shown_and_training_continues() -> None:
    model = torch.nn.Linear(1, 1)
    shown: list[tuple[int, int, bool]] = []
    losses = run_validation(
        model,
        in_three_parts,
        show_progress=lambda done, parts: shown.append((done, parts, model.training)),
        should_stop=lambda: False,
    )
    assert losses == {"all": 1.0}
    assert shown == [(done, 3, False) for done in range(4)]
    assert model.training


@pytest.mark.parametrize(("stop_after", "losses"), [(1, None), (3, {"all": 1.0})])
def test_a_validation_stops_between_its_parts_but_not_after_the_last(
    stop_after: int, losses: dict[str, float] | None
) -> None:
    model = torch.nn.Linear(1, 1)
    shown: list[int] = []
    result = run_validation(
        model,
        in_three_parts,
        show_progress=lambda done, parts: shown.append(done),
        should_stop=lambda: shown[-1] == stop_after,
    )
    assert (result, shown[-1], model.training) == (losses, stop_after, True)
