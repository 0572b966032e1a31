"""Handlers of the Compare tab: from its values to a request for every model, and from the answers to their differences."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import gradio as gr

from phi2demo.evaluation.comparison import Comparison, check_reference, compare
from phi2demo.tasks import TASKS
from phi2demo.tasks.result import Result
from phi2demo.tasks.task import CheckedRequest
from phi2demo.ui import differences, markup
from phi2demo.ui.compare_tab import NOTHING, CompareTab
from phi2demo.ui.handlers import AnswerHandlers, connect_answers
from phi2demo.ui.run import AT_ONCE, Updates


class CompareHandlers(AnswerHandlers[CompareTab]):
    """The handlers of the tab."""

    def choose(self, task: str) -> Updates:
        """Show the fields of a task."""
        tab = self._tab
        shown = {group: gr.Column(visible=name == task) for name, pair in tab.groups.items() for group in pair}
        return {**shown, tab.text: gr.Textbox(label=TASKS[task].input_label)}

    def try_example(self, index: int) -> Updates:
        """Fill the tab with the task, text, options and reference answer of an example."""
        tab, sample = self._tab, self._tab.samples[index]
        fields = tab.asks[sample.task].fields
        known = {fields[name]: value for name, value in sample.options.items() if name in fields}
        text = gr.Textbox(value=sample.text, label=TASKS[sample.task].input_label)
        chosen = {tab.task: sample.task, tab.reference: sample.reference, **known}
        return {**self.choose(sample.task), **chosen, tab.text: text}

    def mark(self, marks: str, comparison: Comparison | None) -> Updates:
        """Mark what differs from another answer, without asking the models again."""
        tab = self._tab
        updates: Updates = {tab.legend: differences.legend(comparison, marks) if comparison else ""}
        for variant, column in tab.columns.items():
            content = differences.marked(comparison, variant, marks) if comparison else ""
            updates[column.text] = gr.Textbox(visible=_unless(content))
            updates[column.marked] = gr.HTML(content, visible=bool(content))
        return updates

    def _checked(self, values: Mapping[Any, Any]) -> CheckedRequest:
        checked = super()._checked(values)
        check_reference(checked.task.name, values[self._tab.reference])
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
        comparison = compare(checked.request, results, check_reference(checked.task.name, values[tab.reference]))
        updates = super()._done(checked, results, values)
        updates |= self.mark(values[tab.marks], comparison)
        for result in results:
            column = tab.columns[result.variant]
            content = differences.marked(comparison, result.variant, values[tab.marks])
            updates[column.text] = gr.Textbox(value=result.text, visible=_unless(content))
            for component, html in (
                (column.bars, markup.bars(result.probabilities)),
                (column.score, differences.score_line(comparison, result.variant)),
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
        ran.success(handlers.mark, [tab.marks, tab.comparison], tab.marked(), **AT_ONCE)
    tab.task.input(handlers.choose, tab.task, tab.chosen(), **AT_ONCE)
    tab.marks.input(handlers.mark, [tab.marks, tab.comparison], tab.marked(), **AT_ONCE)
