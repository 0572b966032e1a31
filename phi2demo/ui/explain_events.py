"""Which click on the Explain tab calls which handler, and how other tabs lead there."""

from typing import Any

from phi2demo.ui.answer_column import AnswersTab
from phi2demo.ui.events import ASKS_MODEL, AT_ONCE, PRIVATE
from phi2demo.ui.explain_filling import ExplainFilling
from phi2demo.ui.explain_handlers import ExplainHandlers
from phi2demo.ui.explain_tab import ExplainTab


def connect_explain(opened: Any, tab: ExplainTab, handlers: ExplainHandlers, filling: ExplainFilling) -> None:
    """Connect the events of the tab itself; `opened` is gradio's tab around it."""
    ask = tab.ask
    opened.select(handlers.opened, ask.output, None, **AT_ONCE)
    state = [tab.status, tab.run, tab.stop]
    ready = [tab.run.click(handlers.begin, None, state, **AT_ONCE)]
    if tab.examples is not None:
        begun = tab.examples.click(handlers.begin, None, state, **AT_ONCE)
        ready.append(begun.success(filling.try_example, tab.examples, _filled(tab), **AT_ONCE))
    runs = []
    for each in ready:
        ran = each.success(
            handlers.run,
            ask.all(),
            [*state, tab.estimate, *tab.shown()],
            show_progress="hidden",
            **ASKS_MODEL,
        )
        ran.failure(handlers.refused, None, state, **AT_ONCE)
        runs.append(ran)
    tab.stop.click(handlers.stop, None, [*state, tab.left], **AT_ONCE)
    tab.left.change(None, cancels=runs, **PRIVATE)
    if ask.model:
        ask.model.change(filling.switch, ask.model, ask.base_form, **AT_ONCE)
    fields = [ask.target, tab.picker, tab.hint, *ask.groups.values()]
    for changed in (ask.output.change, ask.task.input):
        changed(filling.typed, ask.all(), fields, trigger_mode="always_last", **AT_ONCE)
    shown = [ask.target, tab.hint, tab.view, tab.bars, tab.table]
    tab.picker.select(filling.select, {tab.found, ask.task, ask.output, ask.carried}, shown, **AT_ONCE)
    for event in [ask.text.blur, ask.output.blur, *(setting.change for setting in ask.settings())]:
        _estimate(event, tab, handlers)
    _connect_downloads(tab, filling)


def connect_why(tab: AnswersTab, explaining: ExplainTab, handlers: ExplainHandlers, filling: ExplainFilling) -> None:
    """Connect "Why these words?" of every answer of a tab."""
    for column in tab.columns.values():
        carried = column.why.click(
            filling.carry, column.answered, [explaining.tabs, explaining.stop, *_filled(explaining)], **AT_ONCE
        )
        shown = carried.then(None, js="() => window.phi2demoShow('.explain button.run')", **PRIVATE)
        _estimate(shown.then, explaining, handlers)


def _estimate(event: Any, tab: ExplainTab, handlers: ExplainHandlers) -> None:
    event(
        handlers.estimate,
        tab.ask.all(),
        tab.estimate,
        show_progress="hidden",
        trigger_mode="always_last",
        **ASKS_MODEL,
    )


def _filled(tab: ExplainTab) -> list[Any]:
    """What another text and output change; the output comes last: on a tab not yet open its change is told at once."""
    ask = tab.ask
    shown = [tab.picker, tab.hint, tab.view, tab.after, tab.found, tab.status, tab.estimate]
    return [*(ask.all() - {ask.output}), *ask.groups.values(), *shown, ask.output]


def _connect_downloads(tab: ExplainTab, filling: ExplainFilling) -> None:
    """Written when asked for and saved in the browser: no file stays on the server."""
    for ending, button in tab.downloads.items():
        written = button.click(filling.download_of(ending), tab.found, tab.download, **AT_ONCE)
        save = f"(text) => window.phi2demoDownload('explanation.{ending}', text)"
        written.success(None, tab.download, js=save, **PRIVATE)
