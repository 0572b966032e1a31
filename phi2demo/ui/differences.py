"""The differences between answers, and their scores against a reference answer, as escaped HTML."""

from html import escape
from itertools import pairwise
from typing import cast

from phi2demo.engine.engine import Variant
from phi2demo.evaluation.comparison import Anchor, AnswerScore, Change, Comparison, shared
from phi2demo.tasks import TASKS
from phi2demo.ui.answer_column import LABELS
from phi2demo.ui.markup import note

MOST_GONE = 30
"""A longer run of missing words is shortened."""
_TAGS = {"gone": "del", "new": "ins"}
_NAMES = {
    "base": "the base’s answer",
    "finetuned": "the finetuned model’s answer",
    "second": "the second adapter’s answer",
    "reference": "the reference answer",
}
_WORDS = {"exact_match": ("yes", "no"), "accuracy": ("right", "wrong")}
"""The words shown in place of 100 and 0 for scores that are all or nothing."""


def marked(comparison: Comparison, variant: Variant, anchor: str) -> str:
    """Write one answer with the words that another one lacks underlined, and the words that it lacks struck out.

    Empty where there is nothing to mark: for the other answer itself, for labels, and where the other is missing.
    """
    if variant == anchor or TASKS[comparison.request.task].labels or _text_of(comparison, anchor) is None:
        return ""
    changes = comparison.changes(variant, cast(Anchor, anchor))
    same = all(change.kind == "same" for change in changes)
    share = "no difference" if same else f"{shared(changes):.0%} of the words in common"
    return (
        f'<div class="marked-head"><span>{escape(LABELS[variant])}</span><span>{share}</span>'
        '<button type="button" class="copy-answer">Copy</button></div>'
        f'<p class="marked-text">{_html(changes) or "&nbsp;"}</p>'
    )


def legend(comparison: Comparison, anchor: str) -> str:
    """Say how to read the marks, or why there are none."""
    if TASKS[comparison.request.task].labels or anchor == "nothing":
        return ""
    if _text_of(comparison, anchor) is None:
        return note("There is no reference answer to mark differences from. Enter one, and compare again.", "warning")
    return (
        f'<p class="note"><ins>Underlined</ins> is not in {_NAMES[anchor]}, <del>struck out</del> only there. '
        "White space does not count.</p>"
    )


def score_line(comparison: Comparison, variant: Variant) -> str:
    """Write the scores of one answer, with the best of each in bold; empty where there is no reference answer."""
    scores = comparison.scores.get(variant, ())
    if not scores:
        return ""
    parts = [
        _score(score, [others[index].value for others in comparison.scores.values()])
        for index, score in enumerate(scores)
    ]
    return f'<p class="facts scores" aria-label="Scores against the reference answer">{"".join(parts)}</p>'


def _score(score: AnswerScore, all_values: list[float]) -> str:
    yes, no = _WORDS.get(score.name, ("", ""))
    value = (yes if score.value else no) if yes else f"{score.value:.{score.digits}f}"
    title = "" if score.name == "accuracy" else f"{escape(score.title)} "
    best = score.value == max(all_values) > min(all_values)
    shown = f'<strong title="the best of these">{value}</strong>' if best else value
    return f'<span title="{escape(score.signature)}">{title}{shown}</span>'


def _text_of(comparison: Comparison, anchor: str) -> str | None:
    return comparison.text_of(cast(Anchor, anchor))  # "nothing" and what is unknown are no answers


def _html(changes: tuple[Change, ...]) -> str:
    """Write runs of words as marks. White space stays outside of them, and separates words that would run together.

    Only the answer itself can be selected, so that a copy is the answer.
    """
    parts: list[str] = []
    for before, change in pairwise((Change("same", ""), *changes)):
        text = change.text.lstrip()
        space = change.text[: len(change.text) - len(text)]
        is_own = bool(space) and change.kind != "gone"
        if not space and _run_together(before, change):
            space = " "
        tag = _TAGS.get(change.kind)
        content = _shortened(text) if change.kind == "gone" else escape(text)
        gap = space if is_own or not space else f'<span class="gap">{space}</span>'
        parts.append(gap + (f"<{tag}>{content}</{tag}>" if tag else content))
    return "".join(parts)


def _run_together(before: Change, change: Change) -> bool:
    """Return whether two runs that no text has side by side would read as one word."""
    replaced = (before.kind, change.kind) == ("gone", "new") and any(map(str.isalnum, before.text + change.text))
    return replaced or (before.text[-1:].isalnum() and change.text[:1].isalnum())


def _shortened(gone: str) -> str:
    """Return the words that an answer lacks; of many only the first and the last, to keep the answer readable."""
    words = gone.split()
    if len(words) <= MOST_GONE:
        return escape(gone)
    ends = (" ".join(part) for part in (words[: MOST_GONE // 3], words[-(MOST_GONE // 3) :]))
    left_out = f" … {len(words) - 2 * (MOST_GONE // 3)} more words … "
    return left_out.join(map(escape, ends))
