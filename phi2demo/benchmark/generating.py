"""Generate the same outputs with `transformers` and PEFT and with our engine, in turn, and compare time and text.

`decode` is one row and the time to its first token, `batch` sixteen rows of unequal prompts.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi2demo.benchmark.setup import (
    Comparison,
    check_count,
    describe_engine,
    describe_machine,
    describe_model,
    generate_by_transformers,
    shipped_rows,
)
from phi2demo.engine.engine import Completion, Engine, GenerationOptions, Prompt
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.templates import PLAIN
from phi2demo.tasks.translation import TranslationOptions

if TYPE_CHECKING:
    from phi2demo.engine.loading import LoadedModel

BEAMS = 6
"""The beams that the embedded adapter translates with."""
ROWS = 16
OPENING = "Once upon a time there was a little fox who"
LONG_WORDS = 350
"""Words of a prompt that takes a while to read."""
LONGEST_S = 3600.0


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
    prompt_tokens: int
    """Of the longest row."""
    ours_tokens: int
    """New tokens of all rows."""
    peer_tokens: int
    ours_seconds: float
    peer_seconds: float
    ratio: float
    """Our tokens per second divided by the peer's."""
    same: int
    """Rows with the same text on both sides, as far as ours goes where it stops a text that repeats itself. Rounding can
    make texts differ where two tokens are equally likely."""


@dataclass(frozen=True, kw_only=True)
class GeneratingComparison(Comparison):
    """Tokens per second over the batches, without those that only time the first token."""

    same: int
    rows: int
    batches: tuple[Measured, ...]

    def table(self) -> list[str]:
        """See `Comparison.table`."""
        lines = [f"{'':28}{'theirs s':>10}{'ours s':>8}{'times faster':>14}{'same':>8}"]
        lines += [
            f"{batch.name:28}{batch.peer_seconds:>10.2f}{batch.ours_seconds:>8.2f}{batch.ratio:>14.1f}"
            f"{f'{batch.same}/{batch.rows}':>8}"
            for batch in self.batches
        ]
        return [*lines, f"{self.unit}: theirs {self.peer:.1f}, ours {self.ours:.1f}, {self.ratio:.1f} times"]


def make_batches(benchmark: str) -> tuple[Batch, ...]:
    """Return what `decode` or `batch` generates."""
    return {"decode": _decode_batches, "batch": _batch_batches}[benchmark]()


def _decode_batches() -> tuple[Batch, ...]:
    """Return one story, and the first token of it and of one with a long prompt."""
    text = " ".join(row["document"] for row in shipped_rows("summaries.test.jsonl"))
    short, long = (_story(opening) for opening in (OPENING, " ".join(text.split()[:LONG_WORDS])))
    return (
        Batch("one story", (short,), _options(128)),
        Batch("first token", (short,), _options(1)),
        Batch("first token, long prompt", (long,), _options(1)),
    )


def _batch_batches() -> tuple[Batch, ...]:
    """Return sixteen stories with openings of 4 to 34 words, sixteen short translations with beams, sixteen summaries."""
    documents = [row["document"] for row in shipped_rows("summaries.test.jsonl")][:ROWS]
    openings = [" ".join(text.split()[: 4 + 2 * number]) for number, text in enumerate(documents)]
    sources = [row["source"] for row in shipped_rows("everyday.en-de.test.jsonl")]
    sentences = [source for source in sources if len(source.split()) <= 20][:ROWS]
    return (
        Batch(f"{ROWS} stories", tuple(map(_story, openings)), _options(100)),
        Batch(
            f"{ROWS} sentences, {BEAMS} beams",
            tuple(TASKS["translation"].prompt(text, TranslationOptions("en", "de")) for text in sentences),
            _options(48, num_beams=BEAMS),
        ),
        Batch(
            f"{ROWS} summaries",
            tuple(TASKS["summarization"].prompt(text, SummaryOptions("sentence")) for text in documents),
            _options(64),
        ),
    )


def _story(opening: str) -> str:
    return TASKS["generation"].prompt(opening, GenerationTaskOptions("continue"), PLAIN)


def _options(max_new_tokens: int, *, num_beams: int = 1) -> GenerationOptions:
    return GenerationOptions(max_new_tokens=max_new_tokens, num_beams=num_beams, time_limit_s=LONGEST_S)


def compare(
    loaded: "LoadedModel",
    engine: Engine,
    batches: Sequence[Batch],
    *,
    repeats: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> GeneratingComparison:
    """Generate each batch with each side in turn, once untimed and then `repeats` times.

    `engine` runs the model of `loaded`. Raises SettingsError where there are no repeats.
    """
    check_count("--repeats", repeats)
    measured = []
    for number, batch in enumerate(batches, 1):
        figures = _measure(loaded, engine, batch, repeats)
        measured.append(figures)
        report(
            f"batch {number} of {len(batches)}: {batch.name}: peer {figures.peer_seconds:.2f} s, "
            f"ours {figures.ours_seconds:.2f} s"
        )
    whole = [figures for figures, batch in zip(measured, batches, strict=True) if batch.options.max_new_tokens > 1]
    ours, peer = (
        sum(getattr(figures, f"{side}_tokens") for figures in whole)
        / sum(getattr(figures, f"{side}_seconds") for figures in whole)
        for side in ("ours", "peer")
    )
    return GeneratingComparison(
        ratio=ours / peer,
        ours=ours,
        peer=peer,
        unit="tokens per second",
        repeats=repeats,
        model=describe_model(engine.info),
        engine=describe_engine(engine.info),
        machine=describe_machine(engine.info.device),
        same=sum(figures.same for figures in measured),
        rows=sum(figures.rows for figures in measured),
        batches=tuple(measured),
    )


def _measure(loaded: "LoadedModel", engine: Engine, batch: Batch, repeats: int) -> Measured:
    def by_peer() -> list[list[int]]:
        return generate_by_transformers(loaded, batch.prompts, batch.options)

    def by_ours() -> tuple[Completion, ...]:
        *_, last = engine.stream([Prompt(text, engine.info.variants[0]) for text in batch.prompts], batch.options)
        return last.completions or ()

    theirs, ours = by_peer(), by_ours()  # compiles what oneDNN compiles
    peer_seconds, ours_seconds = [], []
    for _ in range(repeats):
        peer_seconds.append(_seconds(by_peer))
        ours_seconds.append(_seconds(by_ours))
    ours_s, peer_s = statistics.median(ours_seconds), statistics.median(peer_seconds)
    ours_tokens, peer_tokens = sum(len(row.token_ids) for row in ours), sum(map(len, theirs))
    return Measured(
        name=batch.name,
        rows=len(batch.prompts),
        beams=batch.options.num_beams,
        prompt_tokens=max(row.prompt_tokens for row in ours),
        ours_tokens=ours_tokens,
        peer_tokens=peer_tokens,
        ours_seconds=ours_s,
        peer_seconds=peer_s,
        ratio=(ours_tokens / ours_s) / (peer_tokens / peer_s),
        same=sum(map(_is_same, ours, theirs)),
    )


def _seconds(generate: Callable[[], object]) -> float:
    started = time.perf_counter()
    generate()
    return time.perf_counter() - started


def _is_same(ours: Completion, theirs: Sequence[int]) -> bool:
    ids = list(ours.token_ids)
    return ids == (list(theirs[: len(ids)]) if ours.stop_reason == "loop" else list(theirs))
