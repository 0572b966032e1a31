"""Which click on the Evaluate tab calls which handler."""

from typing import Any

from phi2demo.ui import example_cards
from phi2demo.ui.evaluate_handlers import EvaluateHandlers
from phi2demo.ui.evaluate_reports import EvaluateReports
from phi2demo.ui.evaluate_tab import EvaluateTab
from phi2demo.ui.events import MODEL

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", **_PRIVATE}
_FILES: dict[str, Any] = {
    "concurrency_id": "files", "concurrency_limit": 2, "show_progress": "hidden", **_PRIVATE,
}  # fmt: skip
_ASKS_MODEL: dict[str, Any] = {"concurrency_id": MODEL, "concurrency_limit": 1, **_PRIVATE}


def connect_reports(opened: Any, tab: EvaluateTab, handlers: EvaluateReports) -> None:
    """Connect what shows figures; `opened` is gradio's tab around it."""
    live, examples = tab.live, tab.examples
    shown = [tab.report, tab.status, *tab.shown()]
    opened.select(handlers.opened, tab.found, [tab.timer, *shown], **_AT_ONCE)
    tab.timer.tick(handlers.tick, tab.found, [tab.timer, tab.about], **_AT_ONCE)
    tab.source.change(handlers.switch, tab.source, [*tab.groups.values(), *tab.asking, tab.status], **_AT_ONCE)
    tab.report.input(handlers.choose, tab.report, shown, **_AT_ONCE)
    tab.upload.upload(handlers.open_report, tab.upload, [tab.upload, *shown], **_FILES)
    live.own_task.change(handlers.own_task, live.own_task, [live.languages, live.pairs], **_AT_ONCE)
    live.upload.upload(handlers.open_pairs, live.upload, [live.upload, live.pairs, tab.status], **_FILES)
    chosen = [tab.found, examples.measure, examples.order]
    listed = [examples.list, examples.more, examples.count]

    def first(found: Any, measure: Any, order: Any) -> Any:
        return handlers.examples(found, measure, order, example_cards.PAGE)

    def more(found: Any, measure: Any, order: Any, count: int) -> Any:
        return handlers.examples(found, measure, order, count + example_cards.PAGE)

    for changed in (examples.measure.input, examples.order.input):
        changed(first, chosen, listed, **_AT_ONCE)
    examples.more.click(more, [*chosen, examples.count], listed, **_AT_ONCE)
    _connect_downloads(tab, handlers)


def connect_run(tab: EvaluateTab, handlers: EvaluateHandlers) -> None:
    """Connect Run, Stop, the turns of a run, and what changes its estimate."""
    live = tab.live
    state = [tab.status, tab.run, tab.stop, tab.running]
    begun = tab.run.click(handlers.begin, None, state, **_AT_ONCE)
    shown = [*state, tab.turn, *tab.shown()]
    following: dict[str, Any] = {"show_progress": "hidden", **_ASKS_MODEL}
    first = begun.success(handlers.run, {tab.source, *live.all()}, shown, **following)
    later = tab.turn.change(handlers.go_on, {tab.running}, shown, **following)
    for turn in (first, later):
        turn.failure(handlers.refused, tab.running, [*state, *tab.shown()], **_AT_ONCE)
    tab.stop.click(handlers.stop, tab.running, [*shown, tab.left], **_AT_ONCE)
    tab.left.change(None, cancels=[first, later], **_PRIVATE)
    settings = [live.forms, live.own_task, live.source, live.target]
    settings += [live.tasks, live.count] if live.tasks is not None else []
    for event in [tab.source.change, live.pairs.blur, *(setting.change for setting in settings)]:
        event(
            handlers.estimate,
            {tab.source, *live.all()},
            tab.estimate,
            show_progress="hidden",
            trigger_mode="always_last",
            **_ASKS_MODEL,
        )


def _connect_downloads(tab: EvaluateTab, handlers: EvaluateReports) -> None:
    """Written when asked for and saved in the browser: no file stays on the server."""
    files = {"json": "report.json", "jsonl": "answers.jsonl", "csv": "table.csv", "zip": "evaluation.zip"}
    for ending, button in tab.downloads.items():
        _save(button.click(handlers.download_of(ending), tab.found, tab.download, **_AT_ONCE), tab, files[ending])
    for button, name, as_json in ((tab.live.csv, "pairs.csv", False), (tab.live.jsonl, "pairs.jsonl", True)):
        _save(
            button.click(handlers.template_of(as_json=as_json), tab.live.own_task, tab.download, **_AT_ONCE), tab, name
        )


def _save(written: Any, tab: EvaluateTab, name: str) -> None:
    save = "phi2demoDownloadBytes" if name.endswith(".zip") else "phi2demoDownload"
    written.success(None, tab.download, js=f"(text) => window.{save}('{name}', text)", **_PRIVATE)
