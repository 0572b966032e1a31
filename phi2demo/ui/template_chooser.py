"""The panel that shows one text through every prompt template, for an adapter of which nothing says how it was trained."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from threading import Event
from typing import Any

import gradio as gr

from phi2demo.engine.engine import Engine, ModelInfo, visible
from phi2demo.engine.loading import EngineLoader
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.task import CheckedRequest
from phi2demo.tasks.template_view import (
    TITLES,
    assistant_with,
    declare_template,
    prompt_parts,
    templates_to_try,
    title_of,
    trial_request,
)
from phi2demo.tasks.templates import Template, Templates, missing_tokens
from phi2demo.ui import markup
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.markdown_html import code
from phi2demo.ui.run import AT_ONCE, PRIVATE, Run, Updates, build_run
from phi2demo.ui.sessions import Sessions

ID = "prompt-templates"
TEXT = "Write one sentence about the sea."
"""The first text to try."""
FRAME_S = 0.05
"""Steps that come faster are not shown one by one."""
_INTRODUCTION = (
    '<h2 class="model-name">Which prompt template was this adapter trained with?</h2><p>Nothing beside it says so. Try a text '
    "like those that it was trained on: with the right template the answer is to the point, and ends where it should.</p>"
)


@dataclass(frozen=True)
class TrialCard:
    """The components of one template."""

    box: Any
    shown: Any
    use: Any


@dataclass(frozen=True)
class TemplateChooser:
    """The components of the panel."""

    text: Any
    run: Run
    cards: dict[str, TrialCard]
    """By the name of the template."""
    chosen: Any
    """Says what to do with the choice."""
    description: ModelDescription

    def shown(self) -> list[Any]:
        """Return the components that a trial updates."""
        return [component for card in self.cards.values() for component in (card.box, card.shown)]


def build_template_chooser(description: ModelDescription, sessions: Sessions) -> TemplateChooser:
    """Lay out the panel; the cards appear with the first trial."""
    with gr.Column(elem_classes="trials", elem_id=ID):
        gr.HTML(_INTRODUCTION, apply_default_css=False)
        text = gr.Textbox(TEXT, label="Text to try", lines=2, max_lines=10, elem_classes="input-text")
        run = build_run(ID, "Try each template", sessions)
        run.status.render()
        cards = {}
        with gr.Row(elem_classes="trial-cards", equal_height=True):
            for name in TITLES:
                with gr.Column(visible=False, elem_classes="trial", min_width=0) as box:
                    shown = gr.HTML("", apply_default_css=False)
                    use = gr.Button("Use this one", size="sm", min_width=0, scale=0)
                cards[name] = TrialCard(box, shown, use)
        chosen = gr.HTML("", apply_default_css=False)
    return TemplateChooser(text, run, cards, chosen, description)


def connect_template_chooser(chooser: TemplateChooser, trials: "TemplateTrials") -> None:
    """Connect the events of the panel."""
    event = chooser.run.connect(chooser.run.button.click, trials.run, {chooser.text}, chooser.shown())
    chooser.run.connect_stop([event])
    for name, card in chooser.cards.items():
        content = json.dumps(declare_template("", name))
        card.use.click(None, None, js=f"() => window.phi2demoDownload('tasks.json', {content})", **PRIVATE)
        card.use.click(partial(how_to_use, name, chooser.description), None, chooser.chosen, **AT_ONCE)


def how_to_use(name: str, description: ModelDescription) -> str:
    """Say where the downloaded tasks.json belongs, and how to start without it."""
    adapter = description.adapter or ""
    return (
        f"<p>{escape(TITLES[name])} stands in the file <code>tasks.json</code> that was just downloaded. Put it beside "
        f"<code>adapter_config.json</code> of {escape(adapter)}, and start again. Without the file, add to the command:</p>"
        + code(f"--template {name}")
    )


class TemplateTrials:
    """Asks the loaded model the same through each template, one after another."""

    def __init__(self, chooser: TemplateChooser, loader: EngineLoader, *, longest_s: float = LONGEST_S) -> None:
        """All answers together may take `longest_s` seconds."""
        self._chooser, self._loader, self._longest_s = chooser, loader, longest_s

    def run(self, values: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Show every prompt at once, then the answers as they come."""
        yield from self._chooser.run.steps(partial(self._try_templates, values[self._chooser.text] or ""), request)

    def _try_templates(self, text: str, cancel: Event) -> Generator[Updates, None, None]:
        run = self._chooser.run
        engine = yield from run.wait_for_weights(self._loader, cancel)
        checked = trial_request(text, engine.info)
        templates = templates_to_try(engine.info)
        share_s = self._longest_s / len(templates)
        generation = checked.request.generation.within(share_s)
        checked = replace(checked, request=replace(checked.request, generation=generation))
        yield run.busy() | self._prompts(checked, templates, engine.info)
        started = time.monotonic()
        for number, template in enumerate(templates, 1):
            stage = f"Asking through {title_of(template)}, {number} of {len(templates)}"
            yield {run.status: markup.status(stage, "running", share=(number - 1) / len(templates))}
            yield from self._answer(engine, checked, template, cancel)
            if cancel.is_set():
                yield run.ended("Stopped", "stopped")
                return
        yield run.ended(
            "Done: which one looks as it was trained?", "done", numbers=f"{time.monotonic() - started:.1f} s"
        )

    def _prompts(self, checked: CheckedRequest, templates: tuple[Template, ...], info: ModelInfo) -> Updates:
        updates: Updates = {}
        for name, card in self._chooser.cards.items():
            template = next((template for template in templates if template.name == name), None)
            updates[card.box] = gr.Column(visible=template is not None)
            if template is not None:
                updates[card.shown] = card_html(checked, template, info, answer="…")
        return updates

    def _answer(
        self, engine: Engine, checked: CheckedRequest, template: Template, cancel: Event
    ) -> Generator[Updates, None, None]:
        card, shown_at = self._chooser.cards[template.name], 0.0
        with closing(assistant_with(engine, template).run(checked, cancel=cancel)) as steps:
            for progress in steps:
                if progress.results is not None or time.monotonic() - shown_at >= FRAME_S:
                    shown_at = time.monotonic()
                    (answer,) = progress.texts.values()
                    said = answer or ("…" if progress.results is None else "")
                    yield {card.shown: card_html(checked, template, engine.info, answer=said)}


def card_html(checked: CheckedRequest, template: Template, info: ModelInfo, *, answer: str) -> str:
    """Write one template with its prompt and its answer."""
    asked = replace(checked, templates=Templates(template))
    prompt = visible(asked.prompt(asked.read.text, asked.request.variants[0]))
    parts = prompt_parts(prompt, asked, template, info.special_tokens)
    in_force = " <small>in force now</small>" if template.reason else ""
    said = (
        f'<p class="said">{escape(answer)}</p>'
        if answer
        else '<p class="said note">No answer: the model ended at once.</p>'
    )
    return (
        f"<h3>{escape(title_of(template))}{in_force}</h3>"
        + markup.note(missing_tokens(template, info.special_tokens), "warning")
        + f"<h4>Prompt</h4>{markup.prompt_text(parts)}<h4>Answer</h4>{said}"
    )
