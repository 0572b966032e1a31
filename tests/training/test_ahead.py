import torch

from phi2demo.training.ahead import batches_from
from phi2demo.training.batch import Batch


class Numbered:
    """Batches that hold their step."""

    def at(self, step: int) -> Batch:
        return Batch(torch.full((2, 3), step), torch.full((2, 3), step))


def test_workers_give_the_same_batches_in_the_same_order() -> None:
    made = {
        workers: [int(b.input_ids[0, 0]) for b in batches_from(Numbered(), 3, 11, workers=workers)]
        for workers in (0, 2)
    }
    assert made[0] == made[2] == list(range(3, 11))


def test_nothing_is_made_before_it_is_asked_for() -> None:
    class Never:
        def at(self, step: int) -> Batch:
            raise AssertionError(step)

    batches_from(Never(), 0, 5, workers=0)
