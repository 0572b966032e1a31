"""Small pieces of HTML, in which everything from a user, a model or a file is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import PROMPT_STYLES
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.task import TokenBudget
from phi2demo.tasks.template_view import PromptPart

Kind = Literal["idle", "waiting", "running", "done", "stopped", "error"]

ENDINGS = {
    "end": "complete",
    "stop string": "complete",
    "loop": "stopped at a repetition",
    "length": "cut at the token limit",
    "context": "cut at the context limit",
    "time": "cut at the time limit",
    "stopped": "stopped by you",
}


KEYS = '<div class="status idle keys"><span><kbd>Ctrl+Enter</kbd> runs, <kbd>Esc</kbd> stops</span></div>'
"""The status before the first run."""


def status(words: str, kind: Kind, *, numbers: str = "", share: float | None = None) -> str:
    """Write the status line. Screen readers hear `words` when they change, not the running numbers."""
    bar = f'<progress value="{share:.3f}" max="1">{share:.0%}</progress>' if share is not None else ""
    counting = f'<span class="numbers" aria-hidden="true">{escape(numbers)}</span>' if numbers else ""
    return f'<div class="status {kind}"><span>{escape(words)}</span>{counting}{bar}</div>'


def running(progress: Progress) -> str:
    """Write the status of a running request: its stage, a progress bar where there are parts, seconds and tokens."""
    numbers = f"{progress.seconds:.1f} s"
    if progress.new_tokens:
        numbers += f", {progress.new_tokens:,} tokens"
    share = progress.done / progress.total if progress.total > 1 else None
    words = progress.stage if progress.total > 1 else "Writing"
    return status(words, "running", numbers=numbers, share=share)


def facts(result: Result) -> str:
    """Write the facts of an answer in one line, and its notes."""
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
        how = [f"adapter strength {strength:g}"]
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    band = result.confidence_band
    sure = f'<span title="{escape(band.measured)}">{band.word}</span>' if band else ""
    return f'<p class="facts">{sure}{_separated(parts)}{_separated(how)}</p>' + (
        f'<ul class="notes">{notes}</ul>' if notes else ""
    )


def bars(probabilities: dict[str, float]) -> str:
    """Write labels with their probabilities, the highest first."""
    rows = "".join(
        f'<li class="{"best" if index == 0 else "other"}"><span class="label">{escape(label)}</span>'
        f'<span class="track" aria-hidden="true"><span style="width:{share:.1%}"></span></span>'
        f'<span class="share">{share:.1%}</span></li>'
        for index, (label, share) in enumerate(sorted(probabilities.items(), key=lambda item: -item[1]))
    )
    return f'<ul class="bars" aria-label="Probability of each label">{rows}</ul>' if rows else ""


def details(result: Result) -> str:
    """Write the confidence of an answer and its receipt as a list."""
    receipt = result.receipt
    rows = [
        *([] if result.mean_probability is None else [("Mean token probability", f"{result.mean_probability:.0%}")]),
        *([("On a test set", result.confidence_band.measured)] if result.confidence_band else []),
        ("Base", f"{receipt.base} {receipt.base_revision}"),
        ("Adapter", _adapter(receipt)),
        ("Engine", f"{receipt.engine} on {receipt.device}, {receipt.dtype}"),
        ("Prompt style", PROMPT_STYLES[receipt.prompt_style].lower()),
        ("Seed", str(receipt.seed)),
        *((name.replace("_", " ").capitalize(), _value(value)) for name, value in receipt.options.items()),
        *((name.replace("_", " ").capitalize(), _value(value)) for name, value in receipt.generation.items()),
        ("Prompt length", f"{receipt.prompt_tokens:,} tokens"),
        ("Time to first token", "–" if receipt.first_token_s is None else f"{receipt.first_token_s:.2f} s"),
        ("Parts", f"{receipt.pieces}, at most {receipt.batch_size} in a batch"),
        ("Made at", receipt.made_at),
        ("Versions", ", ".join(f"{name} {version}" for name, version in receipt.versions.items())),
    ]
    return f'<dl class="receipt">{_definitions(rows)}</dl>'


def prompt(parts: Sequence[PromptPart], template: str, *, pieces: int = 1) -> str:
    """Write the prompt as the model got it, the person's text apart from the rest, under a line about its template."""
    first = f" This is the first of {pieces:,} prompts." if pieces > 1 else ""
    return f'<p class="note">Prompt template: {escape(template)}.{first}</p>{prompt_text(parts)}'


def prompt_text(parts: Sequence[PromptPart]) -> str:
    """Write a prompt with the person's text, the template and the special tokens apart."""
    written = "".join(f'<span class="{part.kind}">{escape(part.text)}</span>' for part in parts)
    return (
        '<pre class="prompt" tabindex="0" role="group" aria-label="The prompt as the model got it" translate="no">'
        f"{written}</pre>"
    )


def counter(words: int, budget: TokenBudget | None = None) -> str:
    """Write the length of the input, and the share of the token limit that it takes."""
    if not words:
        return '<span class="counter">&nbsp;</span>'
    parts = [f"{words:,} word{'' if words == 1 else 's'}"]
    if budget and budget.limit is not None:
        parts.append(f"{budget.tokens:,} of {budget.limit:,} tokens")
        if budget.tokens > budget.limit:
            return f'<span class="counter over">{_separated([*parts, "too long"])}</span>'
    elif budget:
        parts.append(f"{budget.tokens:,} tokens")
        if budget.pieces is None or budget.pieces > 1:
            parts.append(f"read in {budget.pieces:,} {budget.noun}s" if budget.pieces else "read in parts")
    return f'<span class="counter">{_separated(parts)}</span>'


def chips(texts: Iterable[str]) -> str:
    """Write short facts side by side."""
    return '<ul class="chips">' + "".join(f"<li>{escape(text)}</li>" for text in texts if text) + "</ul>"


def note(text: str, kind: Literal["quiet", "good", "warning"] = "quiet") -> str:
    """Write a short message."""
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
    """Write the head of a table; columns after the first `words` hold numbers."""
    cells = (f'<th scope="col"{_kind(index >= words)}>{escape(name)}</th>' for index, name in enumerate(names))
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def cells(names: Sequence[str], contents: Iterable[str], *, words: int = 0) -> str:
    """Write the cells of a row from their HTML; those after the first `words` hold numbers."""
    return "".join(
        f'<td{_kind(index >= words)} data-label="{escape(name)}">{content}</td>'
        for index, (name, content) in enumerate(zip(names, contents, strict=True))
    )


def region(content: str, label: str) -> str:
    """Write a region that scrolls where it is wider than the screen, also by keyboard."""
    return (
        f'<div class="figures scrolls stacks" role="region" tabindex="0" aria-label="{escape(label)}">{content}</div>'
    )


def _kind(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
