"""The top of the page: what it is, which model answers, whether it is loaded, and its limits."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from phi2demo.audit.report import COMMAND, SHIPPED_AUDIT, read_summary
from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import ModelInfo
from phi2demo.engine.loading import EngineLoader, LoadStatus
from phi2demo.errors import DataError
from phi2demo.tasks import BUILT_IN, TASKS
from phi2demo.tasks.declared import AdapterTasks, templates_of
from phi2demo.tasks.template_view import needs_choice, title_of, warn_of_template
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.markup import chips, note

TICK_S = 1.0
_LOADED = "<div class='loading'></div>"
TITLE = "Phi-2 finetuned, in the open"
LOAD_PHI = "python app.py --model microsoft/phi-2"


def build_header(
    demo: gr.Blocks, loader: EngineLoader, description: ModelDescription, adapter_tasks: AdapterTasks
) -> None:
    """Lay out the header; a timer keeps it up to date until the loading has ended."""
    with gr.Column(elem_classes="page-header", elem_id="header"):
        gr.HTML(f"<h1>{TITLE}</h1><p class='lead'>{_lead(description, adapter_tasks)}</p>", apply_default_css=False)
        identity = gr.HTML(
            identity_of(loader, description, adapter_tasks), apply_default_css=False, elem_classes="identity"
        )
        panel = limits_panel(description, adapter_tasks, audit=audit_of(description))
        gr.HTML(panel, apply_default_css=False, elem_id="limits-panel")
    timer = gr.Timer(TICK_S)

    def refresh() -> tuple[str, Any]:
        return identity_of(loader, description, adapter_tasks), gr.Timer(active=loader.status.state == "loading")

    for event in (demo.load, timer.tick):
        event(refresh, None, [identity, timer], queue=False, show_progress="hidden", api_visibility="private")


def identity_of(loader: EngineLoader, description: ModelDescription, adapter_tasks: AdapterTasks) -> str:
    """Say which model answers: as loaded or, before that, as declared, with the time that loading has taken."""
    status = loader.status
    if status.state == "ready":
        info = loader.engine().info
        warnings = "".join(note(warning, "warning") for warning in (*info.warnings, *warn_of_template(info)))
        offer = template_offer(info) if needs_choice(info, adapter_tasks) else ""
        return chips(_of_info(info)) + warnings + offer + _LOADED
    return chips(_of_description(description)) + _loading(status)


def template_offer(info: ModelInfo) -> str:
    """Say that the prompt template of the adapter is a guess, with a link to the panel that tries the others."""
    guess = title_of(templates_of(info).first)
    return (
        f'<p class="note">Nothing says with which prompt template this adapter was trained; {escape(guess)} is used. '
        '<a href="#prompt-templates">Try the others</a></p>'
    )


def _of_info(info: ModelInfo) -> list[str]:
    adapter = f"adapter {info.adapter}" + _kind(info.adapter_kind or "LoRA", info.lora_rank)
    return [
        f"base {info.base}, {count(info.parameters)} parameters",
        adapter if info.adapter else "base only",
        *(f"adapter {other.name}{_kind(other.kind, other.rank)}" for other in info.others),
        f"{_device(info.device)}, {info.dtype}, {info.engine}",
        f"context {info.context:,} tokens",
    ]


def _kind(kind: str, rank: int | None) -> str:
    """Say how an adapter was made, as the end of a sentence."""
    return f", {kind} rank {rank}" if rank else "" if kind == "LoRA" else f", {kind}"


def _of_description(description: ModelDescription) -> list[str]:
    size = f", {count(description.parameters)} parameters" if description.parameters else ""
    return [
        f"base {description.base}{size}",
        f"adapter {description.adapter}" if description.adapter else "base only",
        *(f"adapter {other}" for other in description.others),
        "" if description.device == "auto" else _device(description.device),
        f"context {description.context:,} tokens" if description.context else "",
    ]


def _loading(status: LoadStatus) -> str:
    if status.state == "failed":
        return f'<div class="loading failed" role="alert"><strong>No model is loaded.</strong> {escape(status.message)}</div>'
    return (
        '<div class="loading"><span>Loading the weights; you can type already.</span> '
        f'<span class="numbers" aria-hidden="true">{status.seconds:.0f} s</span></div>'
    )


def _lead(description: ModelDescription, adapter_tasks: AdapterTasks) -> str:
    does = "Give a language model a text: it continues, summarizes, translates or classifies it, or answers from it"
    if not BUILT_IN.keys() & set(adapter_tasks.tasks):
        does = "Give a text to a language model that was finetuned for a task of its own"
    compare = "; beside it you see what the model wrote before it was finetuned" if description.has_adapter else ""
    stands_in = (
        " Answering here is a small model of the same architecture, trained from scratch, not Phi-2 itself."
        if description.is_embedded
        else ""
    )
    return f"{does}{compare}.{stands_in}"


def limits_panel(description: ModelDescription, adapter_tasks: AdapterTasks, *, audit: str) -> str:
    """Write the limits of the model, folded to one line; `audit` is what `audit_of` returns."""
    items = [
        "<strong>It may be wrong.</strong> It makes up names, numbers and events, and sounds sure of them. "
        "Check what matters.",
        "<strong>It may carry bias.</strong> It repeats what its training texts say about people, places and opinions. "
        "Do not let it decide about anyone.",
        f"<strong>Languages.</strong> {_languages(description, adapter_tasks)}",
        _context(description.context),
        f"<strong>Audit.</strong> {audit}",
    ]
    if description.is_embedded:
        items.insert(
            0,
            "<strong>This is not Phi-2.</strong> What answers here is a small model of Phi's architecture"
            + (f" with {count(description.parameters)} parameters" if description.parameters else "")
            + ", trained from scratch for this demo; Phi-2 has 2.8 B and writes far better. "
            f"To load it: <code>{LOAD_PHI}</code>, with an adapter of yours <code>--adapter FOLDER_OR_ID</code>.",
        )
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f'<details id="limits"><summary>Limits of this model</summary><ul>{listed}</ul></details>'


def audit_of(description: ModelDescription, path: Path = SHIPPED_AUDIT) -> str:
    """Write the summary of the audit of these weights, or how to make one; as HTML."""
    try:
        summary = (
            read_summary(description.base_revision, description.adapter_revision, path)
            if description.is_known
            else None
        )
    except DataError as error:
        return escape(str(error))
    if summary is None:
        return f"This model was not audited for bias, memorization and robustness. To audit it: <code>{COMMAND}</code>"
    listed = "".join(f"<li>{escape(sentence)}</li>" for sentence in summary.sentences)
    return f"Audited on {escape(summary.made_at[:10])}; to repeat it: <code>{COMMAND}</code><ul>{listed}</ul>"


def _languages(description: ModelDescription, adapter_tasks: AdapterTasks) -> str:
    names = [LANGUAGES[code] for code in adapter_tasks.languages]
    if adapter_tasks.own and "translation" not in adapter_tasks.tasks:
        return "The adapter does not say in which languages it was finetuned." + _training_languages(adapter_tasks)
    if description.has_adapter:
        return f"It was trained on {_listed(names)}. It is poor at other languages." + _training_languages(
            adapter_tasks
        )
    return "A base such as Phi-2 was trained mostly on English. It is worse at other languages, and poor at some."


def _training_languages(adapter_tasks: AdapterTasks) -> str:
    """Say which languages each task was finetuned on, where that is declared."""
    tasks: dict[tuple[str, ...], list[str]] = {}
    for task, codes in adapter_tasks.training_languages.items():
        tasks.setdefault(codes, []).append(TASKS[task].title)
    return "".join(
        f" {_listed(titles)} {'were' if len(titles) > 1 else 'was'} finetuned on "
        f"{_listed([LANGUAGES[code] for code in codes])} texts alone."
        for codes, titles in tasks.items()
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _context(context: int) -> str:
    reads = f"It reads at most {context:,} tokens at once" if context else "It reads a limited text at once"
    return (
        f"<strong>Length.</strong> {reads}, about {context * 3 // 4:,} words. "
        if context
        else f"<strong>Length.</strong> {reads}. "
    ) + "Longer texts are summarized and translated piece by piece; elsewhere they are refused, never cut in silence."


def count(parameters: int) -> str:
    """Write 28_400_000 as 28 M."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if parameters >= size:
            return f"{parameters / size:.3g} {unit}"
    return str(parameters)


def _device(device: str) -> str:
    return device.upper() if device in ("cpu", "mps") else device
