"""Small pieces of HTML. Everything that comes from a person, a model or a file is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import PROMPT_STYLES
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.task import TokenBudget

Kind = Literal["idle", "waiting", "running", "done", "stopped", "error"]

ENDINGS = {
    "end": "ended by itself",
    "stop string": "ended by itself",
    "loop": "ended where it repeated itself",
    "length": "cut at the limit of new tokens",
    "context": "cut where the context was full",
    "time": "cut at the time limit",
    "stopped": "stopped by you",
}


KEYS = '<div class="status idle keys"><span><kbd>Ctrl+Enter</kbd> runs, <kbd>Esc</kbd> stops</span></div>'
"""The status while nothing has happened yet."""


def status(words: str, kind: Kind, *, numbers: str = "", share: float | None = None) -> str:
    """The line that says what is going on. Screen readers hear `words` when they change, not the running numbers."""
    bar = f'<progress value="{share:.3f}" max="1">{share:.0%}</progress>' if share is not None else ""
    counting = f'<span class="numbers" aria-hidden="true">{escape(numbers)}</span>' if numbers else ""
    return f'<div class="status {kind}"><span>{escape(words)}</span>{counting}{bar}</div>'


def running(progress: Progress) -> str:
    """The status of a request on its way: its stage, a bar where there are parts, seconds and tokens."""
    numbers = f"{progress.seconds:.1f} s"
    if progress.new_tokens:
        numbers += f", {progress.new_tokens:,} tokens"
    share = progress.done / progress.total if progress.total > 1 else None
    words = progress.stage if progress.total > 1 else "Writing"
    return status(words, "running", numbers=numbers, share=share)


def facts(result: Result) -> str:
    """What an answer came to, in one line, and what a person should know about it."""
    receipt = result.receipt
    if result.probabilities:
        parts = [f"{receipt.seconds:.2f} s"]
    else:
        parts = [
            f"{receipt.tokens_per_s:,.0f} tokens/s",
            f"{receipt.new_tokens:,} tokens",
            f"{receipt.seconds:.1f} s",
            ENDINGS.get(receipt.stop_reason, receipt.stop_reason),
            *result.facts,
        ]
    how = []
    if result.variant == "base":
        how = [f"asked {PROMPT_STYLES[receipt.prompt_style].lower()}"]
    elif (strength := receipt.generation.get("adapter_strength", 1.0)) != 1:
        how = [f"finetuning at {strength:g} of its strength"]
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    band = result.confidence_band
    sure = f'<span title="{escape(band.measured)}">{band.word}</span>' if band else ""
    return f'<p class="facts">{sure}{_separated(parts)}{_separated(how)}</p>' + (
        f'<ul class="notes">{notes}</ul>' if notes else ""
    )


def bars(probabilities: dict[str, float]) -> str:
    """Labels with their probability, the likeliest first."""
    rows = "".join(
        f'<li class="{"best" if at == 0 else "other"}"><span class="label">{escape(label)}</span>'
        f'<span class="track" aria-hidden="true"><span style="width:{share:.1%}"></span></span>'
        f'<span class="share">{share:.1%}</span></li>'
        for at, (label, share) in enumerate(sorted(probabilities.items(), key=lambda item: -item[1]))
    )
    return f'<ul class="bars" aria-label="Probability of each label">{rows}</ul>' if rows else ""


def details(result: Result) -> str:
    """How sure the model is in figures, and the receipt for people; its JSON has the same and the texts."""
    receipt = result.receipt
    rows = [
        *([] if result.mean_probability is None else [("Mean token probability", f"{result.mean_probability:.0%}")]),
        *([("Measured", result.confidence_band.measured)] if result.confidence_band else []),
        ("Answered by", f"{receipt.base} {receipt.base_revision}"),
        ("With adapter", _adapter(receipt)),
        ("On", f"{receipt.device}, {receipt.dtype}"),
        ("Asked", PROMPT_STYLES[receipt.prompt_style].lower()),
        ("Seed", str(receipt.seed)),
        *((name.replace("_", " ").capitalize(), _value(value)) for name, value in receipt.options.items()),
        *((name.replace("_", " ").capitalize(), _value(value)) for name, value in receipt.generation.items()),
        ("Prompt", f"{receipt.prompt_tokens:,} tokens"),
        ("First token after", "–" if receipt.first_token_s is None else f"{receipt.first_token_s:.2f} s"),
        ("Pieces", f"{receipt.pieces}, at most {receipt.batch_size} at once"),
        ("Made at", receipt.made_at),
        ("Versions", ", ".join(f"{name} {version}" for name, version in receipt.versions.items())),
    ]
    return f'<dl class="receipt">{_definitions(rows)}</dl>'


def counter(words: int, room: TokenBudget | None = None) -> str:
    """How much the input box holds, and how much of what there is for it that takes."""
    if not words:
        return '<span class="counter">&nbsp;</span>'
    parts = [f"{words:,} word{'' if words == 1 else 's'}"]
    if room and room.limit is not None:
        parts.append(f"{room.tokens:,} of {room.limit:,} tokens")
        if room.tokens > room.limit:
            return f'<span class="counter over">{_separated([*parts, "too long"])}</span>'
    elif room:
        parts.append(f"{room.tokens:,} tokens")
        if room.pieces is None or room.pieces > 1:
            parts.append(f"read in {room.pieces:,} {room.noun}s" if room.pieces else "read in pieces")
    return f'<span class="counter">{_separated(parts)}</span>'


def chips(texts: Iterable[str]) -> str:
    """Short facts side by side."""
    return '<ul class="chips">' + "".join(f"<li>{escape(text)}</li>" for text in texts if text) + "</ul>"


def note(text: str, kind: Literal["quiet", "good", "warning"] = "quiet") -> str:
    """A short message of its own."""
    return f'<p class="note {kind}">{escape(text)}</p>' if text else ""


def _adapter(receipt: Receipt) -> str:
    if receipt.variant == "base":
        return "none: the base alone"
    return f"{receipt.adapter} {receipt.adapter_revision}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(repr(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "–"


def _definitions(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>" for term, value in rows)


def _separated(parts: Iterable[str]) -> str:
    return "".join(f"<span>{escape(part)}</span>" for part in parts)


def head(names: Sequence[str], *, words: int = 2) -> str:
    """The names of the columns; those after the first `words` are of numbers."""
    cells = (f'<th scope="col"{_kind(at >= words)}>{escape(name)}</th>' for at, name in enumerate(names))
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def cells(names: Sequence[str], contents: Iterable[str], *, words: int = 0) -> str:
    """A row's cells under columns of these names, their HTML given; those after the first `words` are numbers."""
    return "".join(
        f'<td{_kind(at >= words)} data-label="{escape(name)}">{content}</td>'
        for at, (name, content) in enumerate(zip(names, contents, strict=True))
    )


def region(content: str, label: str) -> str:
    """Figures that may be wider than the screen, to be reached by keyboard."""
    return (
        f'<div class="figures scrolls stacks" role="region" tabindex="0" aria-label="{escape(label)}">{content}</div>'
    )


def _kind(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
