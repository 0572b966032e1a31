"""Generate the same outputs with `transformers` and PEFT and with our engine, and compare time and text.

The other side is `generate` of the PEFT model on a left-padded batch, as the documentation of both shows it.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from phi2demo.data.rows import Row, read_rows
from phi2demo.engine.engine import GenerationOptions, Prompt
from phi2demo.errors import SettingsError
from phi2demo.settings import SHIPPED_SET
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.templates import PLAIN
from phi2demo.tasks.translation import TranslationOptions

if TYPE_CHECKING:
    from phi2demo.engine.loading import LoadedModel
    from phi2demo.engine.local import LocalEngine

BEAMS = 6
"""The beams that the embedded adapter translates with."""
OPENINGS = ("Once upon a time there was a little fox who", "When the last train had left, the station")


@dataclass(frozen=True)
class Batch:
    """Prompts that are continued together."""

    name: str
    prompts: tuple[str, ...]
    options: GenerationOptions


@dataclass(frozen=True)
class Measured:
    """The figures of one batch; seconds are medians over the repeats."""

    name: str
    rows: int
    beams: int
    new_tokens: int
    baseline_seconds: float
    ours_seconds: float
    ratio: float
    """The baseline's seconds divided by ours."""
    tokens_per_s: float
    """New tokens per second on our side, over all rows."""
    same: int
    """Rows with the same text on both sides; rounding can make them differ where two tokens are equally likely."""


@dataclass(frozen=True)
class Comparison:
    """The figures of all batches."""

    ratio: float
    """The baseline's seconds for all batches divided by ours."""
    ours_seconds: float
    baseline_seconds: float
    same: int
    rows: int
    batches: tuple[Measured, ...]
    repeats: int
    model: str
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


def make_batches() -> tuple[Batch, ...]:
    """Return batches with the prompts of the app's tasks: one sentence, one story, and many texts together."""
    pairs = [row for row in _rows("everyday.en-de.test.jsonl") if len(row["source"].split()) <= 20]
    sentences = [TASKS["translation"].prompt(row["source"], TranslationOptions("en", "de")) for row in pairs]
    documents = [
        TASKS["summarization"].prompt(row["document"], SummaryOptions("sentence"))
        for row in _rows("summaries.test.jsonl")
    ]
    stories = [TASKS["generation"].prompt(text, GenerationTaskOptions("continue"), PLAIN) for text in OPENINGS]
    beams = GenerationOptions(max_new_tokens=48, num_beams=BEAMS)
    return (
        Batch(f"one sentence, {BEAMS} beams", tuple(sentences[:1]), beams),
        Batch("one story, greedy", tuple(stories[:1]), GenerationOptions(max_new_tokens=100)),
        Batch("two stories, greedy", tuple(stories), GenerationOptions(max_new_tokens=100)),
        Batch(f"16 sentences, {BEAMS} beams", tuple(sentences[:16]), beams),
        Batch("16 summaries, greedy", tuple(documents[:16]), GenerationOptions(max_new_tokens=64)),
    )


def compare(
    loaded: "LoadedModel",
    engine: "LocalEngine",
    batches: Sequence[Batch],
    *,
    repeats: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Generate each batch with each side in turn, once untimed and then `repeats` times.

    `engine` runs the model of `loaded`. Raises SettingsError where there are no repeats.
    """
    if repeats < 1:
        raise SettingsError(f"--repeats {repeats}: give a number from 1.")
    measured = []
    for number, batch in enumerate(batches, 1):
        figures = _measure(loaded, engine, batch, repeats)
        measured.append(figures)
        report(
            f"batch {number} of {len(batches)}: {batch.name}: baseline {figures.baseline_seconds:.2f} s, "
            f"ours {figures.ours_seconds:.2f} s"
        )
    ours = sum(figures.ours_seconds for figures in measured)
    baseline = sum(figures.baseline_seconds for figures in measured)
    return Comparison(
        ratio=baseline / ours,
        ours_seconds=ours,
        baseline_seconds=baseline,
        same=sum(figures.same for figures in measured),
        rows=sum(figures.rows for figures in measured),
        batches=tuple(measured),
        repeats=repeats,
        model=f"{loaded.info.base}, {loaded.info.layers} layers x {loaded.info.hidden_size}",
    )


def _measure(loaded: "LoadedModel", engine: "LocalEngine", batch: Batch, repeats: int) -> Measured:
    sides: dict[str, Callable[[], list[list[int]]]] = {
        "baseline": lambda: _baseline(loaded, batch),
        "ours": lambda: _ours(engine, batch),
    }
    tokens = {side: generate() for side, generate in sides.items()}  # compiles what oneDNN compiles
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, generate in sides.items():
            started = time.perf_counter()
            generate()
            seconds[side].append(time.perf_counter() - started)
    baseline, ours = (statistics.median(seconds[side]) for side in ("baseline", "ours"))
    count = sum(map(len, tokens["ours"]))
    return Measured(
        name=batch.name,
        rows=len(batch.prompts),
        beams=batch.options.num_beams,
        new_tokens=count,
        baseline_seconds=baseline,
        ours_seconds=ours,
        ratio=baseline / ours,
        tokens_per_s=count / ours,
        same=sum(a == b for a, b in zip(tokens["baseline"], tokens["ours"], strict=True)),
    )


def _ours(engine: "LocalEngine", batch: Batch) -> list[list[int]]:
    *_, last = engine.stream([Prompt(text, engine.info.variants[0]) for text in batch.prompts], batch.options)
    return [list(completion.token_ids) for completion in last.completions or ()]


def _baseline(loaded: "LoadedModel", batch: Batch) -> list[list[int]]:
    """Generate with `transformers`; return the new tokens of each row, up to the end token."""
    import torch

    model: Any = loaded.model
    ids = [loaded.tokenizer.encode(text, verbose=False) for text in batch.prompts]
    padded = loaded.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
    with torch.inference_mode():
        sequences = model.generate(
            **padded.to(next(model.parameters()).device),
            max_new_tokens=batch.options.max_new_tokens,
            num_beams=batch.options.num_beams,
            early_stopping=batch.options.num_beams > 1,
            do_sample=False,
            pad_token_id=loaded.pad_token_id,
            eos_token_id=sorted(loaded.end_token_ids),
        )
    return [_until_end(row, loaded.end_token_ids) for row in sequences[:, padded["input_ids"].shape[1] :].tolist()]


def _until_end(ids: list[int], end_ids: Sequence[int]) -> list[int]:
    end = next((index for index, token in enumerate(ids) if token in end_ids), len(ids))
    return ids[: end + 1]


def _rows(name: str) -> list[Row]:
    return [row for _, row in read_rows(SHIPPED_SET / name)]
