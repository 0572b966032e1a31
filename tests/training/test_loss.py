import pytest
import torch

from phi2demo.training.batch import Batch
from phi2demo.training.loss import target_loss

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
