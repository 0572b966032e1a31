"""Handlers of reports, examples, uploads and downloads on the Evaluate tab. They ask no model."""

import base64
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from phi2demo.data import own_pairs
from phi2demo.engine.engine import ModelInfo
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import InputError, Phi2DemoError
from phi2demo.evaluation import reports
from phi2demo.evaluation.comparison import differences, shared
from phi2demo.evaluation.examples import Example, Order, ordered
from phi2demo.evaluation.metrics import item_metric, number, title_of_test_set
from phi2demo.evaluation.outputs import SYSTEM_TITLES, SystemName
from phi2demo.evaluation.report import Report
from phi2demo.evaluation.reports import REPORTS_FOLDER, KeptReport, examples_beside, kept_reports, read_report
from phi2demo.evaluation.tables import to_csv
from phi2demo.ui import markup, report_view, slice_table
from phi2demo.ui.evaluate_inputs import own_columns, placeholder
from phi2demo.ui.evaluate_tab import EvaluateTab, ShownReport
from phi2demo.ui.files import read_table
from phi2demo.ui.markup import note
from phi2demo.ui.run import NOTHING, Updates

PAGE = 5
"""The number of examples shown at once."""
LONGEST = 900
"""A text with more characters is folded."""


def cards(examples: Sequence[Example], *, base: SystemName | None) -> str:
    """Write the examples in their order."""
    if not examples:
        return note("No item of this test set was answered by every system.")
    intro = note("Marked: words of an answer that differ from the reference.")
    return f'<div class="cards">{intro}{"".join(_card(example, base) for example in examples)}</div>'


def _card(example: Example, base: SystemName | None) -> str:
    labels = [f"item {example.index + 1}", *example.labels.values()]
    change = ""
    if base is not None and "finetuned" in example.scores and base in example.scores:
        value = example.change(base)
        kind = "better" if value > 0 else "worse" if value < 0 else "unclear"
        change = f'<span class="verdict {kind}">{number(value, 0, signed=True)} to {escape(SYSTEM_TITLES[base])}</span>'
    rows = [_row("Text", _folded(example.text))]
    if example.question:
        rows.append(_row("Question", escape(example.question)))
    rows += [_row("Reference" if index == 0 else "or", escape(item)) for index, item in enumerate(example.references)]
    rows += [_answer(example, system) for system in example.outputs]
    facts = "".join(f"<span>{escape(label)}</span>" for label in labels)
    return f'<article class="card"><p class="facts">{facts}{change}</p><dl>{"".join(rows)}</dl></article>'


def _answer(example: Example, system: SystemName) -> str:
    score = example.scores[system]
    metric = item_metric(example.kind, [""])
    said = ("right" if score else "wrong") if metric.name == "accuracy" else f"{metric.title} {number(score, 0)}"
    text = example.outputs[system]
    shown = differing(text, example.references) if text.strip() else '<span class="none">no answer</span>'
    name = f'{escape(SYSTEM_TITLES[system].capitalize())} <span class="score">{said}</span>'
    return _row(name, shown, kind=system)


def differing(text: str, references: Sequence[str]) -> str:
    """Escape a text, with the words that differ from the nearest reference in `<mark>`."""
    nearest = max((differences(reference, text) for reference in references), key=shared)
    kept = (change for change in nearest if change.kind != "gone")
    return "".join(_marked(change.text) if change.kind == "new" else escape(change.text) for change in kept)


def _marked(text: str) -> str:
    """Mark words, but not the white space before them."""
    core = text.lstrip()
    return f"{text[: len(text) - len(core)]}<mark>{escape(core)}</mark>"


def _folded(text: str) -> str:
    if len(text) <= LONGEST:
        return escape(text)
    return f"<details><summary>{escape(text[: LONGEST // 3].rstrip())} …</summary>{escape(text)}</details>"


def _row(name: str, content: str, *, kind: str = "") -> str:
    return f'<div class="{kind}"><dt>{name}</dt><dd dir="auto">{content}</dd></div>'


MAX_REPORT_BYTES = 4 * 1024 * 1024
"""The largest report file that is opened; some ten times the largest that ships."""


class EvaluateReports:
    """Handlers that answer at once."""

    def __init__(self, tab: EvaluateTab, loader: EngineLoader, *, reports_folder: Path = REPORTS_FOLDER) -> None:
        self._tab, self._loader, self._reports_folder = tab, loader, reports_folder

    def opened(self, shown_report: ShownReport | None) -> Updates:
        """List the reports, and show the first of the loaded weights unless one is shown already."""
        loading: Updates = {self._tab.timer: gr.Timer(active=self._loader.status.state == "loading")}
        kept = self._kept()
        if shown_report is not None or not kept:
            return loading | self._about(shown_report)
        chooser = gr.Dropdown([(item.title, item.name) for item in kept], value=kept[0].name)
        return loading | {self._tab.report: chooser} | self._show(self._read(kept[0]))

    def choose(self, name: str | None) -> Updates:
        """Show another report of the list."""
        kept = next((item for item in self._kept() if item.name == name), None)
        return {self._tab.run.status: markup.status("", "idle")} | self._show(self._read(kept)) if kept else NOTHING

    def open_report(self, path: str | None) -> Updates:
        """Show the report in an uploaded file."""
        tab = self._tab
        if path is None:
            return NOTHING
        reset = {tab.upload: gr.UploadButton(value=None)}
        try:
            shown_report = ShownReport(_load_own(Path(path)))
        except Phi2DemoError as error:
            return {tab.run.status: markup.status(str(error), "error"), **reset}
        done = markup.status(f"Read {Path(path).name}", "done")
        return {tab.run.status: done, tab.report: gr.Dropdown(value=None), **reset, **self._show(shown_report)}

    def open_pairs(self, path: str | None) -> Updates:
        """Put an uploaded file of pairs into the box."""
        live = self._tab.live
        if path is None:
            return NOTHING
        reset = {live.upload: gr.UploadButton(value=None)}
        try:
            text = read_table(path, max_bytes=own_pairs.MAX_BYTES)
        except Phi2DemoError as error:
            return {self._tab.run.status: markup.status(str(error), "error"), **reset}
        return {live.pairs: text, self._tab.run.status: markup.status(f"Read {Path(path).name}", "done"), **reset}

    def tick(self, shown_report: ShownReport | None) -> Updates:
        """Say which weights the figures are of, as soon as it is known."""
        if self._loader.status.state == "loading":
            return {self._tab.timer: gr.skip()}
        return {self._tab.timer: gr.Timer(active=False), **self._about(shown_report)}

    def switch(self, source: str) -> Updates:
        """Show the inputs of a source."""
        groups = {group: gr.Column(visible=name == source) for name, group in self._tab.groups.items()}
        asking = {column: gr.Column(visible=source != "report") for column in self._tab.asking}
        return {
            **groups,
            **asking,
            self._tab.run.status: markup.KEYS if source != "report" else markup.status("", "idle"),
        }

    def own_task(self, task: str) -> Updates:
        """Show the fields of the pairs of a task."""
        live = self._tab.live
        return {
            live.languages: gr.Row(visible=task == "translation"),
            live.pairs: gr.Textbox(placeholder=placeholder(task)),
        }

    def template_of(self, *, as_json: bool) -> Callable[[str], str]:
        """Return the handler that writes a template for pairs."""
        return lambda task: own_pairs.template(task, as_json=as_json, own=own_columns(task))

    def examples(self, shown_report: ShownReport | None, test_set: str | None, order: Order, count: int) -> Updates:
        """Show `count` examples of a test set in an order."""
        return _items(self._tab, shown_report, test_set, order, count) if shown_report else NOTHING

    def download_of(self, ending: str) -> Callable[[ShownReport | None], str]:
        """Return the handler that writes the figures in a format; an archive is in base64."""

        def write(shown_report: ShownReport | None) -> str:
            if shown_report is None:
                raise gr.Error("These figures have expired. Show them again, or run again.", print_exception=False)
            files = files_of(shown_report)
            if ending == "zip":
                return base64.b64encode(reports.to_zip(files)).decode()
            if ending == "jsonl" and not shown_report.examples:
                raise gr.Error("The answers behind this report are not available here.", print_exception=False)
            return next(text for name, text in files.items() if name.endswith(f".{ending}"))

        return write

    def _about(self, shown_report: ShownReport | None) -> Updates:
        if shown_report is None:
            return {}
        return {self._tab.about: report_view.about(shown_report.report, info=self._info(), live=shown_report.live)}

    def _show(self, shown_report: ShownReport) -> Updates:
        return shown(self._tab, shown_report, info=self._info())

    def _read(self, kept: KeptReport) -> ShownReport:
        examples = tuple(examples_beside(kept, data=self._reports_folder / "set"))
        return ShownReport(kept.report, examples)

    def _kept(self) -> list[KeptReport]:
        return kept_reports(self._reports_folder, info=self._info())

    def _info(self) -> ModelInfo | None:
        return self._loader.engine().info if self._loader.status.state == "ready" else None


def files_of(shown_report: ShownReport) -> dict[str, str]:
    """Return the files to download, by name."""
    files = {"table.csv": to_csv(shown_report.report), "report.json": shown_report.report.to_json()}
    return files | ({"answers.jsonl": reports.to_jsonl(shown_report.examples)} if shown_report.examples else {})


def shown(tab: EvaluateTab, shown_report: ShownReport, *, info: ModelInfo | None) -> dict[Any, Any]:
    """Return the updates that show a report."""
    test_sets = list(dict.fromkeys(example.test_set for example in shown_report.examples))
    first = test_sets[0] if test_sets else None
    choices = [(title_of_test_set(name), name) for name in test_sets]
    return {
        tab.about: report_view.about(shown_report.report, info=info, live=shown_report.live),
        tab.plot: report_view.plot(shown_report.report) + slice_table.scores(shown_report.report),
        tab.after: gr.Column(visible=True),
        tab.table: report_view.table(shown_report.report),
        tab.slices: slice_table.heat(shown_report.report),
        tab.examples.box: gr.Accordion(visible=bool(test_sets)),
        tab.examples.test_set: gr.Dropdown(choices, value=first),
        tab.examples.order: "worst",
        **_items(tab, shown_report, first, "worst", PAGE),
        tab.shown_report: shown_report,
    }


def _load_own(path: Path) -> Report:
    """Read a report; InputError where the file is too large, DataError where it is no report."""
    size = path.stat().st_size
    if size > MAX_REPORT_BYTES:
        raise InputError(
            f"{path.name} has {size / 2**20:.1f} MB; a report of at most {MAX_REPORT_BYTES // 2**20} MB is read. "
            "Give the report.json of python -m phi2demo evaluate, or evaluate fewer test sets at once."
        )
    return read_report(path)


def _items(tab: EvaluateTab, shown_report: ShownReport, test_set: str | None, order: Order, count: int) -> Updates:
    base = _base(shown_report.report, test_set)
    chosen = ordered([item for item in shown_report.examples if item.test_set == test_set], order, base=base)
    return {
        tab.examples.list: cards(chosen[:count], base=base) if chosen else "",
        tab.examples.more: gr.Button(visible=len(chosen) > count),
        tab.examples.count: count,
    }


def _base(report: Report, test_set: str | None) -> SystemName | None:
    """Return the base system that the first difference of a test set is taken from."""
    figures_of = [item.figures for item in report.test_sets if item.name == test_set]
    return figures_of[0][0].base if figures_of and figures_of[0] else None
