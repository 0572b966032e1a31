"""Handlers of tabs that answer: from their values to a request, from its progress back to values. Knows no torch."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from threading import Event
from typing import Any, Generic, TypeVar

import gradio as gr

from phi2demo.data.checks import MAX_CHARACTERS
from phi2demo.data.documents import count_words
from phi2demo.engine.engine import Engine, variants_named
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError
from phi2demo.evaluation.confidence import ConfidenceBands
from phi2demo.evaluation.metrics import number
from phi2demo.settings import LONGEST_S
from phi2demo.tasks import task_named
from phi2demo.tasks.candidates import Ranked
from phi2demo.tasks.declared import templates_of
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.result import Alternative, Progress, Result
from phi2demo.tasks.run import SETTINGS_UNKNOWN, Assistant, check
from phi2demo.tasks.task import CheckedRequest, TokenBudget, token_budget_for
from phi2demo.tasks.template_view import describe_prompt, prompt_parts
from phi2demo.tasks.translation import TranslationOptions
from phi2demo.ui import markup
from phi2demo.ui.answer_column import AnswerColumn, AnswersTab
from phi2demo.ui.explain_inputs import Answered
from phi2demo.ui.files import read_document
from phi2demo.ui.options import chooses_prompt_style
from phi2demo.ui.run import AT_ONCE, READS_FILES, Run, Updates
from phi2demo.ui.task_tab import TaskTab

SHOWN = 20
"""Parts of a long text whose candidates are shown; the API gives all."""
LEAST_SHARE = 0.005
"""The least probability that is written as a percentage."""
_HEADS = (
    ("Candidate", "The chosen one comes first"),
    ("Forward", "Log-probability of this output given your text, in nats"),
    ("Backward", "Log-probability of your text given this output, in nats"),
    ("Score", "The candidate with the highest score is chosen"),
)
_HEADS_OF_ALTERNATIVES = (_HEADS[0], ("Log-probability", "Log-probability of this output given your text, in nats"))
_LEGEND = (
    "Log-probability of each output given your text, in nats, and as a percentage where it is not tiny. Beam search also "
    "applies the options, and candidates that keep to your text go first."
)
_LEGEND_OF_BOTH = (
    "Log-probabilities in nats: of each output given your text (forward), and of your text given the output (backward). "
    "The score combines both, with a bonus for length and a penalty for words left untranslated."
)


def alternatives(pieces: Sequence[Sequence[Alternative]], remark: Callable[[str], str] = lambda output: "") -> str:
    """Write a folded table, grouped by part of the text; empty where there was no choice.

    `remark` gives a note on an output.
    """
    weighed = [piece for piece in pieces if piece]
    if not weighed:
        return ""
    both = any(isinstance(alternative, Ranked) for piece in weighed for alternative in piece)
    shown = _HEADS if both else _HEADS_OF_ALTERNATIVES
    heads = "".join(f'<th scope="col" title="{escape(words)}">{escape(head)}</th>' for head, words in shown)
    bodies = "".join(_body(piece, remark) for piece in weighed[:SHOWN])
    left = len(weighed) - SHOWN
    legend = _LEGEND_OF_BOTH if both else _LEGEND
    more = f" {left:,} more parts are not shown; the API and --json give all." if left > 0 else ""
    return (
        '<details class="alternatives"><summary>Other candidates</summary>'
        f'<table><thead><tr>{heads}</tr></thead>{bodies}</table><p class="note">{legend}{more}</p></details>'
    )


def _body(piece: Sequence[Alternative], remark: Callable[[str], str]) -> str:
    likeliest = max(piece, key=_likeliness)
    rows = "".join(
        _row(alternative, remark(alternative.text), first=rank == 0, is_most_probable=alternative is likeliest)
        for rank, alternative in enumerate(piece)
    )
    return f"<tbody>{rows}</tbody>"


def _likeliness(alternative: Alternative) -> float:
    """Return the log-probability; per token where the score takes length into account."""
    return alternative.log_probability / (
        len(alternative.candidate.token_ids) if isinstance(alternative, Ranked) else 1
    )


def _row(alternative: Alternative, remark: str, *, first: bool, is_most_probable: bool) -> str:
    both = isinstance(alternative, Ranked)
    marks = [
        *(["chosen"] if first else []),
        *(["most probable per token" if both else "most probable"] if is_most_probable else []),
        *([remark] if remark else []),
    ]
    mark = f" <small>{escape(', '.join(marks))}</small>" if marks else ""
    if isinstance(alternative, Ranked):
        cells = [
            number(value, 1)
            for value in (alternative.log_probability, alternative.reverse_log_probability, alternative.score)
        ]
    else:
        cells = [f"{number(alternative.log_probability, 1)}{_share(alternative.log_probability)}"]
    kind = "chosen" if first else "other"
    return (
        f'<tr class="{kind}"><th scope="row">{escape(alternative.text)}{mark}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _share(log_probability: float) -> str:
    """Write a probability as a percentage where it is large enough."""
    share = math.exp(log_probability)
    return f" ({share:.0%})" if share >= LEAST_SHARE else ""


FRAME_S = 0.05
"""Steps that come faster are not shown one by one."""

Tab = TypeVar("Tab", bound=AnswersTab)


class AnswerHandlers(ABC, Generic[Tab]):
    """The handlers of any tab that shows answers."""

    def __init__(
        self, tab: Tab, loader: EngineLoader, *, reports: Path | None = None, longest_s: float = LONGEST_S
    ) -> None:
        """`reports` is the folder of evaluation reports, from which low confidence gets its words; None for none.

        A replay may take `longest_s` seconds.
        """
        self._tab, self._loader, self._reports, self._longest_s = tab, loader, reports, longest_s

    def run(self, values: Mapping[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Answer the tab's request, step by step."""
        yield from self._tab.run.steps(partial(self._answer, values), request)

    def _answer(self, values: Mapping[Any, Any], cancel: Event) -> Generator[Updates, None, None]:
        checked = self._checked(values)
        engine = yield from self._tab.run.wait_for_weights(self._loader, cancel)
        yield self._cleared()
        with closing(self._assistant(engine).run(checked, cancel=cancel)) as steps:
            yield from self._show(checked, steps, values)

    def replay_of(self, column: AnswerColumn) -> Callable[[str, gr.Request], Iterator[Updates]]:
        """Return the handler that answers a column's receipt again and says whether the text is the same."""
        replay_run = self._tab.run.reporting_in(column.replayed)

        def handle(receipt_json: str, request: gr.Request) -> Iterator[Updates]:
            yield from replay_run.steps(partial(self._replay, replay_run, receipt_json), request)

        return handle

    def count(self, values: Mapping[Any, Any]) -> str:
        """Count the input in words and, once the model is loaded, in tokens."""
        text = values[self._tab.ask.text] or ""
        if len(text) > MAX_CHARACTERS:
            return markup.note(f"{len(text):,} characters; at most {MAX_CHARACTERS:,} are read.", "warning")
        return markup.counter(count_words(text), self._token_budget(values))

    def _token_budget(self, values: Mapping[Any, Any]) -> TokenBudget | None:
        if self._loader.status.state != "ready":
            return None
        try:
            asked = self._tab.ask.read(values)
        except Phi2DemoError:  # an option that cannot be is refused when it is asked
            return None
        engine = self._loader.engine()
        template = templates_of(engine.info).longest(asked.variants)
        return token_budget_for(engine, task_named(asked.task), asked, template)

    def open_file(self, path: str | None) -> Iterator[Updates]:
        """Put the text of a file into the input box. Gradio deletes its copy, which visitors with the same file share."""
        tab = self._tab
        if path is None:
            return
        name, reset = Path(path).name, {tab.upload: gr.UploadButton(value=None)}
        yield {tab.run.status: markup.status(f"Reading {name}", "running")}
        try:
            text = read_document(path)
            yield {tab.ask.text: text, tab.run.status: markup.status(f"Read {name}", "done"), **reset}
        except Phi2DemoError as error:
            yield {tab.run.status: markup.status(str(error), "error"), **reset}

    @abstractmethod
    def try_example(self, index: int) -> Updates:
        """Fill the tab with an example."""

    def _cleared(self) -> Updates:
        reading = markup.status("Reading your text", "running")
        updates: Updates = {self._tab.run.status: reading, **self._tab.run.busy()}
        for column in self._tab.columns.values():
            updates |= {
                column.text: "",
                column.bars: "",
                column.after: gr.Column(visible=False),
                column.why: gr.Button(interactive=False),
            }
        return updates

    def _checked(self, values: Mapping[Any, Any]) -> CheckedRequest:
        """The request that the values ask for; refused here, before any model is asked, where it cannot be answered."""
        return check(self._tab.ask.read(values))

    def _assistant(self, engine: Engine) -> Assistant:
        bands = ConfidenceBands(engine.info, self._reports) if self._reports else None
        return Assistant(engine, self._tab.variant_tasks, bands)

    def _show(self, checked: CheckedRequest, steps: Iterator[Progress], values: Mapping[Any, Any]) -> Iterator[Updates]:
        shown = 0.0
        for progress in steps:
            if progress.results is not None:
                yield self._done(checked, progress.results, values)
            elif time.monotonic() - shown >= FRAME_S:
                shown = time.monotonic()
                texts = {self._tab.columns[variant].text: text for variant, text in progress.texts.items()}
                yield {self._tab.run.status: markup.running(progress), **texts}

    def _done(self, checked: CheckedRequest, results: tuple[Result, ...], values: Mapping[Any, Any]) -> Updates:
        stopped = any(result.receipt.stop_reason == "stopped" for result in results)
        updates = self._tab.run.ended("Stopped" if stopped else "Done", "stopped" if stopped else "done")
        info = self._loader.engine().info
        checked = replace(checked, templates=templates_of(info))
        for result in results:
            template, receipt = checked.template(result.variant), result.receipt
            parts = prompt_parts(receipt.prompt, checked, template, info.special_tokens)
            prompt = markup.prompt(parts, describe_prompt(checked, result.variant), pieces=receipt.pieces)
            column = self._tab.columns[result.variant]
            updates |= {
                column.text: result.text,
                column.bars: markup.bars(result.probabilities),
                column.facts: markup.facts(result),
                column.alternatives: alternatives(result.alternatives, partial(checked.task.remark, checked.read.text)),
                column.details: prompt + markup.details(result),
                column.receipt: receipt.to_json(),
                column.replayed: "",
                column.after: gr.Column(visible=True),
                column.why: gr.Button(interactive=bool(result.text.strip())),
                column.answered: Answered(checked.request, result),
            }
        return updates

    def _replay(self, replay_run: Run, receipt_json: str, cancel: Event) -> Generator[Updates, None, None]:
        receipt = Receipt.from_json(receipt_json)
        yield {replay_run.status: markup.status("Replaying", "running"), **replay_run.busy()}
        shown_at = 0.0
        assistant = self._assistant(self._loader.engine())
        with closing(assistant.replay(receipt, cancel=cancel, longest_s=self._longest_s)) as steps:
            for progress in steps:
                if cancel.is_set():
                    yield replay_run.ended("Stopped before it was complete.", "stopped")
                    return
                if progress.results is not None:
                    yield {replay_run.status: _verdict(receipt, progress.results[0]), **replay_run.idle()}
                elif time.monotonic() - shown_at >= FRAME_S:
                    shown_at = time.monotonic()
                    numbers = f"{progress.seconds:.1f} s, {progress.new_tokens:,} tokens"
                    yield {replay_run.status: markup.status("Replaying", "running", numbers=numbers)}


class TabHandlers(AnswerHandlers[TaskTab]):
    """The handlers of a task's own tab."""

    def try_example(self, index: int) -> Updates:
        """Fill the tab with the text and options of an example."""
        sample = self._tab.samples[index]
        fields = self._tab.ask.fields
        known = {fields[name]: value for name, value in sample.options.items() if name in fields}
        return {self._tab.ask.text: sample.text, **known}

    def swap_languages(self, values: Mapping[Any, Any]) -> Updates:
        """Swap the languages, and the text for its translation where that is shown, or back."""
        ask = self._tab.ask
        source, target = ask.fields["source"], ask.fields["target"]
        box = (values[ask.text] or "", values[source], values[target])
        shown = variants_named(values[ask.variant], ask.others) if ask.variant else ("base",)
        answers = [_other_side(values[self._tab.columns[variant].answered], *box) for variant in shown]
        text = next((answer for answer in answers if answer), None)
        return {source: box[2], target: box[1], **({ask.text: text} if text else {})}

    def switch(self, variant: str) -> Updates:
        """Show the columns of the chosen models, and the prompt style of the base where it is one of them."""
        ask = self._tab.ask
        shown = variants_named(variant, ask.others)
        columns = {column.box: gr.Column(visible=name in shown) for name, column in self._tab.columns.items()}
        visible = "base" in shown and chooses_prompt_style(ask.task, ask.adapter_tasks)
        return {**columns, ask.base_prompt_style: gr.Radio(visible=visible)}


def _other_side(answered: Answered | None, text: str, source: str, target: str) -> str:
    """Return the other side of a translation that has this text on one side; empty where it has not."""
    if answered is None or not isinstance(answered.asked.options, TranslationOptions):
        return ""
    asked, options, translated = answered.asked.text, answered.asked.options, answered.result.text
    if (text, source, target) == (asked, options.source, options.target):
        return translated
    return asked if (text, source, target) == (translated, options.target, options.source) else ""


def _verdict(receipt: Receipt, result: Result) -> str:
    seconds = f"{result.receipt.seconds:.1f} s"
    unsure = markup.note(SETTINGS_UNKNOWN if SETTINGS_UNKNOWN in result.notes else "")
    if result.text == receipt.output:
        return markup.note(f"The same text again, in {seconds}.", "good") + unsure
    limit = result.receipt.generation["time_limit_s"]
    why = f", as its time limit of {limit:g} s was reached" if result.receipt.stop_reason == "time" else ""
    return markup.note(f"Another text this time{why}, in {seconds}: {result.text}", "warning") + unsure


def connect_task(tab: TaskTab, handlers: TabHandlers) -> None:
    """Connect the events of a task's tab."""
    connect_answers(tab, handlers)
    if tab.ask.variant:
        outputs = [*(column.box for column in tab.columns.values()), tab.ask.base_prompt_style]
        tab.ask.variant.change(handlers.switch, tab.ask.variant, outputs, **AT_ONCE)
    if tab.swap_languages is not None:
        languages = [tab.ask.fields["source"], tab.ask.fields["target"]]
        inputs = tab.ask.all() | {column.answered for column in tab.columns.values()}
        tab.swap_languages.click(handlers.swap_languages, inputs, [*languages, tab.ask.text], **AT_ONCE)


def connect_answers(tab: AnswersTab, handlers: AnswerHandlers[Any]) -> list[Any]:
    """Connect the events that every tab with answers has, and return those that answer."""
    run_events = [tab.run.connect(tab.run.button.click, handlers.run, tab.ask.all(), tab.shown())]
    if tab.examples is not None:
        fill = handlers.try_example, tab.examples, tab.filled()
        run_events.append(tab.run.connect(tab.examples.click, handlers.run, tab.ask.all(), tab.shown(), fill=fill))
    tab.run.connect_stop([*run_events, *(_connect_replay(tab, column, handlers) for column in tab.columns.values())])
    changes = [component.change for component in tab.ask.counted()]
    gr.on(changes, handlers.count, tab.ask.all(), tab.ask.counter, trigger_mode="always_last", **AT_ONCE)
    if tab.upload is not None:
        tab.upload.upload(handlers.open_file, tab.upload, [tab.ask.text, tab.run.status, tab.upload], **READS_FILES)
    return run_events


def _connect_replay(tab: AnswersTab, column: AnswerColumn, handlers: AnswerHandlers[Any]) -> Any:
    replay_run = tab.run.reporting_in(column.replayed)
    return replay_run.connect(column.replay.click, handlers.replay_of(column), column.receipt, [])
