"""Small pieces of Markdown. Knows nothing of models."""

import re
from collections.abc import Iterable, Sequence

from phi2demo.evaluation.tables import in_cell

NOT_MEASURED = "Not measured"
NOT_RECORDED = "Not recorded"
_LINE_BREAKS = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
"""What Unicode and `str.splitlines` treat as line breaks, and a Markdown reader perhaps too."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; empty where there are no rows."""
    lines = [[cell(value) for value in row] for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {' | '.join(line)} |" for line in ([cell(name) for name in head], ["---"] * len(head), *lines))


def cell(value: object) -> str:
    """Format a table cell: one line, with bars escaped."""
    return in_cell(number(value))


def number(value: object) -> str:
    """Format a value for readers: thousands separated, four significant digits of fractions, other values unchanged."""
    if value is None or value == "" or value == ():
        return NOT_RECORDED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def plain(text: str) -> str:
    """Escape a text so that it is shown unchanged, in one paragraph."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", text.strip())
    return re.sub(rf"\s*[{_LINE_BREAKS}]\s*", "<br>", escaped)


def bullets(lines: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


GLOSSARY = {
    "Adapter, LoRA": "small matrices trained beside a base's weights, which stay as they are (Hu et al. 2021).",
    "Base": "the model before finetuning: it goes on with a text and has learned no tasks.",
    "Token": "a piece of a word, what a model reads and writes one at a time.",
    "BLEU, chrF": "overlap of a translation with a reference, in words and in characters; 0 to 100.",
    "ROUGE": "overlap of a summary with a reference, in words; 0 to 100.",
    "Macro-F1": "the mean over the labels of the harmonic mean of precision and recall.",
    "Exact match, F1": "of an answer: the same words as a right one, and the overlap with it; 0 to 100.",
    "Bits per character": "how many bits the model needs for a character of a text; less is better.",
    "Nats per token": "the same for a token, in natural logarithms: the loss.",
    "Perplexity": "e to the power of that: among how many equally likely tokens the model seems to choose.",
    "Bootstrap interval": "where the score lies in 95 of 100 redraws of the test examples.",
    "Paired test, p": "how often chance alone would make a difference as large on the same examples.",
    "Contamination": "test items that stand in what the model was trained or chosen on: scores on them are too high.",
    "Mean token probability": "the geometric mean of the probabilities that a model gave the tokens it wrote.",
    "Sure, fairly sure, unsure": "by that probability: how good answers with a like one were on a test set.",
    "LIX": "how hard a text is to read, by long words and long sentences (Björnsson 1968); 30 is easy, 45 is hard.",
    "SHAP, LIME": "two ways to share an output's probability out among the words that led to it.",
    "PUE": "power usage effectiveness, what a data centre draws for each watt that reaches the hardware.",
    "CO2e": "greenhouse gases counted as the carbon dioxide that warms as much.",
}
"""Explanations by term."""
