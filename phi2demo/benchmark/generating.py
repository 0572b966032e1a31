"""Write the same with `transformers` and PEFT and with our engine, and compare time and text.

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
from phi2demo.tasks.translation import TranslationOptions

if TYPE_CHECKING:
    from phi2demo.engine.loading import LoadedModel
    from phi2demo.engine.local import LocalEngine

BEAMS = 6
"""As the embedded adapter translates."""
OPENINGS = ("Once upon a time there was a little fox who", "When the last train had left, the station")


@dataclass(frozen=True)
class Batch:
    """Prompts that are written at once."""

    name: str
    prompts: tuple[str, ...]
    options: GenerationOptions


@dataclass(frozen=True)
class Measured:
    """One batch; seconds are medians over the repeats."""

    name: str
    rows: int
    beams: int
    new_tokens: int
    baseline_seconds: float
    ours_seconds: float
    ratio: float
    """the baseline's seconds over ours."""
    tokens_per_s: float
    """Of ours, over all rows."""
    same: int
    """Rows whose text is the same on both sides; rounding may part them where two tokens are equally likely."""


@dataclass(frozen=True)
class Comparison:
    """All batches."""

    ratio: float
    """the baseline's seconds for all batches over ours."""
    ours_seconds: float
    baseline_seconds: float
    same: int
    rows: int
    batches: tuple[Measured, ...]
    repeats: int
    model: str
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def make_batches() -> tuple[Batch, ...]:
    """Of the tasks as the app asks them: one sentence, one story, and many texts at once."""
    pairs = [row for row in _rows("everyday.en-de.test.jsonl") if len(row["source"].split()) <= 20]
    sentences = [TASKS["translation"].prompt(row["source"], TranslationOptions("en", "de")) for row in pairs]
    documents = [
        TASKS["summarization"].prompt(row["document"], SummaryOptions("sentence"))
        for row in _rows("summaries.test.jsonl")
    ]
    stories = [TASKS["generation"].prompt(text, GenerationTaskOptions("continue"), "plain") for text in OPENINGS]
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
    """Write all batches in turn with each side, `repeats` times, after once without being timed.

    `engine` runs the model of `loaded`. Raises SettingsError where there is nothing to measure.
    """
    if repeats < 1 or not batches:
        raise SettingsError(f"--repeats {repeats}, {len(batches)} batches: give at least 1 of each.")
    measured = []
    for number, batch in enumerate(batches, 1):
        measured.append(_measure(loaded, engine, batch, repeats))
        last = measured[-1]
        report(
            f"batch {number} of {len(batches)}: {last.name}: baseline {last.baseline_seconds:.2f} s, "
            f"ours {last.ours_seconds:.2f} s"
        )
    ours, baseline = (sum(getattr(each, f"{side}_seconds") for each in measured) for side in ("ours", "baseline"))
    return Comparison(
        ratio=baseline / ours,
        ours_seconds=ours,
        baseline_seconds=baseline,
        same=sum(each.same for each in measured),
        rows=sum(each.rows for each in measured),
        batches=tuple(measured),
        repeats=repeats,
        model=f"{loaded.info.base}, {loaded.info.layers} layers x {loaded.info.hidden_size}",
    )


def _measure(loaded: "LoadedModel", engine: "LocalEngine", batch: Batch, repeats: int) -> Measured:
    sides: dict[str, Callable[[], list[list[int]]]] = {
        "baseline": lambda: _baseline(loaded, batch),
        "ours": lambda: _ours(engine, batch),
    }
    tokens = {side: write() for side, write in sides.items()}  # compiles what oneDNN compiles
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, write in sides.items():
            started = time.perf_counter()
            write()
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
    """Tokens up to the end token."""
    import torch

    model: Any = loaded.model
    ids = [loaded.tokenizer.encode(text, verbose=False) for text in batch.prompts]
    padded = loaded.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(
            **padded.to(next(model.parameters()).device),
            max_new_tokens=batch.options.max_new_tokens,
            num_beams=batch.options.num_beams,
            early_stopping=batch.options.num_beams > 1,
            do_sample=False,
            pad_token_id=loaded.pad_token_id,
            eos_token_id=sorted(loaded.end_token_ids),
        )
    return [_ended(row, loaded.end_token_ids) for row in made[:, padded["input_ids"].shape[1] :].tolist()]


def _ended(ids: list[int], end_ids: Sequence[int]) -> list[int]:
    end = next((at for at, token in enumerate(ids) if token in end_ids), len(ids))
    return ids[: end + 1]


def _rows(name: str) -> list[Row]:
    return [row for _, row in read_rows(SHIPPED_SET / name)]
