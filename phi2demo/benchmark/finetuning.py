"""The gradients of a LoRA adapter as PEFT computes them and as our finetuning does: same numbers, both timed."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from phi2demo.errors import SettingsError
from phi2demo.settings import SHIPPED_SET

if TYPE_CHECKING:
    import torch

    from phi2demo.engine.loading import LoadedModel
    from phi2demo.training.batch import Batch

ROWS = 64
"""Examples of a step."""
PART_TOKENS = 4096


@dataclass(frozen=True)
class Comparison:
    """Seconds are medians over the repeats."""

    ratio: float
    """The peer's seconds over ours."""
    max_difference: float
    """Between the gradients, relative to the peer's largest of the same matrix."""
    ours_seconds: float
    peer_seconds: float
    ours_tokens_per_s: float
    """Without padding, and what rows share counted in each of them."""
    rows: int
    tokens: int
    rank: int
    repeats: int
    model: str
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(loaded: "LoadedModel", *, rank: int = 64, repeats: int = 1) -> Comparison:
    """One step over examples of the shipped set, by each side, `repeats` times, after once without being timed.

    SettingsError where our way does not fit the model: `loaded` has to be a small Phi without an adapter, on a CPU.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    from phi2demo.training.merged_phi import MergedPhi, fits

    if repeats < 1 or rank < 1:
        raise SettingsError(f"--repeats {repeats}, --rank {rank}: give at least 1 of each.")
    if loaded.info.adapter is not None:
        raise SettingsError("finetune makes an adapter of its own: leave --adapter out and give --model.")
    torch.manual_seed(0)
    names = ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]
    model: Any = get_peft_model(loaded.model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names))
    if not fits(model, next(model.parameters()).device):
        raise SettingsError(f"{loaded.info.base} is finetuned as PEFT does it here: there is nothing to compare.")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)  # zeros would hide the gradient of A
    batch = _batch(loaded)
    merged = MergedPhi(model)
    sides = {"peer": lambda: _peer(model, batch), "ours": lambda: _ours(merged, batch)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    gradients = {side: _timed(step, model)[1] for side, step in sides.items()}
    for _ in range(repeats):
        for side, step in sides.items():
            seconds[side].append(_timed(step, model)[0])
    peer, ours = (statistics.median(seconds[side]) for side in ("peer", "ours"))
    return Comparison(
        ratio=peer / ours,
        max_difference=max(
            float((gradients["ours"][name] - expected).abs().max() / expected.abs().max())
            for name, expected in gradients["peer"].items()
        ),
        ours_seconds=ours,
        peer_seconds=peer,
        ours_tokens_per_s=batch.tokens / ours,
        rows=len(batch.input_ids),
        tokens=batch.tokens,
        rank=rank,
        repeats=repeats,
        model=f"{loaded.info.base}, {loaded.info.layers} layers x {loaded.info.hidden_size}",
    )


def _batch(loaded: "LoadedModel") -> "Batch":
    """Examples of all tasks that the shipped set has, by the weights of finetuning."""
    from dataclasses import replace

    from phi2demo.training.corpus import read_corpus
    from phi2demo.training.mixture import Mixture, task_weights

    sources = [replace(s, rows={**s.rows, "train": s.rows["test"]}) for s in read_corpus(SHIPPED_SET)[0]]
    length = min(512, loaded.info.context)
    return Mixture(sources, task_weights({}), loaded.tokenizer, length, ROWS, seed=0).at(0)


def _peer(model: Any, batch: "Batch") -> None:
    import torch

    from phi2demo.training.gradients import target_loss

    for part in batch.parts(PART_TOKENS):
        loss = target_loss(model, part, torch.device("cpu")) / batch.total_weight
        loss.backward()  # type: ignore[no-untyped-call]


def _ours(merged: Any, batch: "Batch") -> None:
    from accelerate import Accelerator

    merged.add_gradients(batch, part_tokens=PART_TOKENS, accelerator=Accelerator(cpu=True))


def _timed(step: Callable[[], None], model: Any) -> tuple[float, dict[str, "torch.Tensor"]]:
    started = time.perf_counter()
    step()
    seconds = time.perf_counter() - started
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return seconds, found
