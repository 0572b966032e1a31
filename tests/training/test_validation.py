import pytest
import torch

from phi2demo.training.validation import HeldOutExamples, ProgressCallback, run_validation

from .random_batches import RandomBatches, make_model

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
