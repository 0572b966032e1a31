import torch

from phi2demo.training.measuring import Told, measure


def in_three_parts(told: Told) -> dict[str, float]:
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
