"""Handlers of the Compare tab: from its values to a request for every model, and from the answers to their differences."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from phi2demo.engine.engine import Variant
from phi2demo.engine.loading import EngineLoader
from phi2demo.evaluation.comparison import AnswerScore, Change, Comparison, check_reference, compare, shared
from phi2demo.evaluation.reports import REPORTS_FOLDER
from phi2demo.settings import LONGEST_S
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import VariantTasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import check
from phi2demo.tasks.task import CheckedRequest
from phi2demo.ui import markup
from phi2demo.ui.compare_tab import NOTHING, CompareTab, order
from phi2demo.ui.description import label_of
from phi2demo.ui.endpoint import (
    DECODING,
    FRAME_S,
    SENTENCE_CASE,
    BasePromptStyle,
    Endpoint,
    Options,
    checked_seed,
    documented,
    errors_for_client,
    generation_of,
    task_of_command,
    task_options_of,
)
from phi2demo.ui.handlers import AnswerHandlers, connect_answers
from phi2demo.ui.markup import note
from phi2demo.ui.run import AT_ONCE, MODEL, Updates

MOST_GONE = 30
"""A longer run of missing words is shortened."""
_TAGS = {"gone": "del", "new": "ins"}
_NAMES = {
    "base": "the base’s answer",
    "finetuned": "the finetuned model’s answer",
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
    changes = comparison.changes(variant, anchor)
    same = all(change.kind == "same" for change in changes)
    share = "no difference" if same else f"{shared(changes):.0%} of the words in common"
    return (
        f'<div class="marked-head"><span>{escape(label_of(variant))}</span><span>{share}</span>'
        '<button type="button" class="copy-answer">Copy</button></div>'
        f'<p class="marked-text">{_html(changes) or "&nbsp;"}</p>'
    )


def legend(comparison: Comparison, anchor: str) -> str:
    """Say how to read the marks, or why there are none."""
    if TASKS[comparison.request.task].labels or anchor == "nothing":
        return ""
    if _text_of(comparison, anchor) is None:
        return note("There is no reference answer to mark differences from. Enter one, and compare again.", "warning")
    other = _NAMES.get(anchor, f"the answer of {escape(anchor)}")
    return (
        f'<p class="note"><ins>Underlined</ins> is not in {other}, <del>struck out</del> only there. '
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
    return comparison.text_of(anchor)  # "nothing" and what is unknown are no answers


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


class CompareHandlers(AnswerHandlers[CompareTab]):
    """The handlers of the tab."""

    def choose(self, task: str) -> Updates:
        """Show the fields of a task."""
        tab = self._tab
        shown = {group: gr.Column(visible=name == task) for name, pair in tab.groups.items() for group in pair}
        return {**shown, tab.ask.text: gr.Textbox(label=TASKS[task].input_label)}

    def try_example(self, index: int) -> Updates:
        """Fill the tab with the task, text, options and reference answer of an example."""
        tab, sample = self._tab, self._tab.samples[index]
        fields = tab.ask.asks[sample.task].fields
        known = {fields[name]: value for name, value in sample.options.items() if name in fields}
        text = gr.Textbox(value=sample.text, label=TASKS[sample.task].input_label)
        chosen = {tab.ask.task: sample.task, tab.ask.reference: sample.reference, **known}
        return {**self.choose(sample.task), **chosen, tab.ask.text: text}

    def mark(self, marks: str, comparison: Comparison | None) -> Updates:
        """Mark what differs from another answer, without asking the models again."""
        tab = self._tab
        updates: Updates = {tab.legend: legend(comparison, marks) if comparison else ""}
        for variant, column in tab.columns.items():
            content = marked(comparison, variant, marks) if comparison else ""
            updates[column.text] = gr.Textbox(visible=_unless(content))
            updates[column.marked] = gr.HTML(content, visible=bool(content))
        return updates

    def _checked(self, values: Mapping[Any, Any]) -> CheckedRequest:
        checked = super()._checked(values)
        check_reference(checked.task.name, values[self._tab.ask.reference])
        return checked

    def _cleared(self) -> Updates:
        tab = self._tab
        updates = super()._cleared() | self.mark(NOTHING, None)
        for column in tab.columns.values():
            updates[column.text] = gr.Textbox(value="", visible=True)
            updates |= {html: gr.HTML("", visible=False) for html in (column.bars, column.score)}
        return updates | {tab.comparison: None, tab.after: gr.Row(visible=False), tab.written: ""}

    def _done(self, checked: CheckedRequest, results: tuple[Result, ...], values: Mapping[Any, Any]) -> Updates:
        tab = self._tab
        comparison = compare(checked.request, results, check_reference(checked.task.name, values[tab.ask.reference]))
        updates = super()._done(checked, results, values)
        updates |= self.mark(values[tab.ask.marks], comparison)
        for result in results:
            column = tab.columns[result.variant]
            content = marked(comparison, result.variant, values[tab.ask.marks])
            updates[column.text] = gr.Textbox(value=result.text, visible=_unless(content))
            for component, html in (
                (column.bars, markup.bars(result.probabilities)),
                (column.score, score_line(comparison, result.variant)),
            ):
                updates[component] = gr.HTML(html, visible=bool(html))
        written = json.dumps(comparison.as_dict(), ensure_ascii=False, indent=2)
        return updates | {tab.comparison: comparison, tab.after: gr.Row(visible=True), tab.written: written}


def _unless(content: str) -> bool | Literal["hidden"]:
    """Return whether the plain text is visible; behind its marked form it stays hidden for the download."""
    return "hidden" if content else True


def connect_compare(tab: CompareTab, handlers: CompareHandlers) -> None:
    """Connect the events of the tab. Answers are marked again when they are complete, as the choice may have changed."""
    for ran in connect_answers(tab, handlers):
        ran.success(handlers.mark, [tab.ask.marks, tab.comparison], tab.marked(), **AT_ONCE)
    tab.ask.task.input(handlers.choose, tab.ask.task, tab.chosen(), **AT_ONCE)
    tab.ask.marks.input(handlers.mark, [tab.ask.marks, tab.comparison], tab.marked(), **AT_ONCE)


NAME = "compare"


class CompareEndpoint(Endpoint):
    """The endpoint. It is a generator, so that the computing ends when the client leaves."""

    @documented(
        text="The text that every model gets.",
        reference="A reference answer; every answer is scored against it. null: none.",
        options=f"Any of {DECODING}, reverse_weight, {SENTENCE_CASE}.",
        returns='{"format", "task", "text", "options", "reference", "answers", "differences"}. answers: each as its own '
        'endpoint gives it, with its "scores". differences: for any two answers, and for the reference and each answer, '
        'the words that are the same, gone and new. While the models write, only "answers" with the text so far.',
    )
    def compare(
        self,
        text: str,
        task: str = "generate",
        task_options: dict[str, Any] | None = None,
        reference: str | None = None,
        seed: int | None = None,
        options: Options = None,
        base_prompt_style: BasePromptStyle = None,
    ) -> Iterator[dict[str, Any]]:
        """Send the same request to every loaded model, and compare the answers with each other and with a reference."""
        with errors_for_client():
            kind = task_of_command(task, self._declared.either)
            defaults = self._declared.either.generation(kind.name)
            request = Request(
                task=kind.name,
                text=text,
                options=task_options_of(kind, task_options, self._declared.either),
                generation=generation_of(defaults, options, longest_s=self._longest_s),
                seed=checked_seed(seed),
                base_prompt_style=self._declared.prompt_style(base_prompt_style),
            )
            checked = check(request)
            good = check_reference(kind.name, reference)
            yield from self._answers(checked, good)

    def _answers(self, checked: CheckedRequest, reference: str | None) -> Iterator[dict[str, Any]]:
        assistant = self._assistant()
        loaded = assistant.engine.info.variants
        checked = checked.with_settings(variants=order(loaded))
        shown = time.monotonic()
        with closing(assistant.run(checked)) as steps:
            for progress in steps:
                if progress.results is not None:
                    yield compare(checked.request, progress.results, reference).as_dict()
                elif time.monotonic() - shown >= FRAME_S:
                    shown = time.monotonic()
                    yield {"answers": [{"text": text, "variant": variant} for variant, text in progress.texts.items()]}


def add_compare_endpoint(
    loader: EngineLoader, declared: VariantTasks, *, reports: Path = REPORTS_FOLDER, longest_s: float = LONGEST_S
) -> None:
    """Add /compare to the current page."""
    endpoint = CompareEndpoint(loader, declared, reports=reports, longest_s=longest_s)
    gr.api(endpoint.compare, api_name=NAME, concurrency_id=MODEL, concurrency_limit=1)
