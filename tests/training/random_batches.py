"""The smallest Phi, and batches of random tokens for it."""

from collections.abc import Callable

import torch
from transformers import PhiForCausalLM

from phi2demo.training.batch import Batch
from phi2demo.training.settings import Preset

SHAPE = Preset(layers=1, hidden=32, heads=2, vocab_size=64, context=32, tokens=0, learning_rate=0, phases=())


def make_model() -> PhiForCausalLM:
    torch.manual_seed(0)
    return PhiForCausalLM(SHAPE.config(vocab_size=64, end_id=0, pad_id=1))


class RandomBatches:
    """Padded rows; the second half of each is the target."""

    def __init__(self, before: Callable[[int], None] | None = None) -> None:
        self._before = before

    def batch(self, step: int) -> Batch:
        if self._before:
            self._before(step)
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(2, 64, (6, 17), generator=generator)
        lengths = torch.randint(8, 17, (6, 1), generator=generator)
        places = torch.arange(16)[None]
        labels = ids[:, 1:].masked_fill((places < lengths // 2) | (places >= lengths), -100)
        return Batch(
            ids[:, :-1], labels, (places < lengths).long(), (labels != -100) * torch.rand(6, 1, generator=generator)
        )
