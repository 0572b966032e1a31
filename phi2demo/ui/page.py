"""The page as a whole, and how it is served."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from phi2demo.cards.model_cards import ModelCards
from phi2demo.emissions.meter import Meter
from phi2demo.engine.engine import Variant
from phi2demo.engine.loading import EngineLoader
from phi2demo.evaluation.reports import REPORTS_FOLDER, shipped_test_sets
from phi2demo.explain.export import STYLE as HEATMAP_STYLE
from phi2demo.settings import LONGEST_S, ServerSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, VariantTasks
from phi2demo.ui.answer_column import AnswersTab
from phi2demo.ui.api import add_card_endpoint, add_endpoints
from phi2demo.ui.compare_handlers import CompareHandlers, add_compare_endpoint, connect_compare
from phi2demo.ui.compare_tab import ID as COMPARE
from phi2demo.ui.compare_tab import build_compare_tab
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.evaluate_handlers import EvaluateHandlers, add_evaluate_endpoint, connect_reports, connect_run
from phi2demo.ui.evaluate_reports import EvaluateReports
from phi2demo.ui.evaluate_tab import ID as EVALUATE
from phi2demo.ui.evaluate_tab import build_evaluate_tab
from phi2demo.ui.explain_api import add_explain_endpoint
from phi2demo.ui.explain_handlers import ExplainHandlers, connect_explain, connect_why
from phi2demo.ui.explain_tab import ID as EXPLAIN
from phi2demo.ui.explain_tab import ExplainFilling, build_explain_tab
from phi2demo.ui.files import MAX_BYTES
from phi2demo.ui.handlers import TabHandlers, connect_task
from phi2demo.ui.header import TITLE, build_header
from phi2demo.ui.model_tab import ID as MODEL_TAB
from phi2demo.ui.model_tab import build_model_tab
from phi2demo.ui.sessions import Sessions
from phi2demo.ui.task_tab import build_task_tab
from phi2demo.ui.template_chooser import TemplateTrials, build_template_chooser, connect_template_chooser
from phi2demo.ui.theme import SCRIPT, STYLES, build_theme

UPLOADS_KEPT_S = 300
"""An uploaded file is read within seconds, or after the files before it in the queue."""
UPLOADS_CHECKED_S = 60
"""How often gradio deletes uploads of that age."""


def build_demo(
    loader: EngineLoader,
    description: ModelDescription,
    adapter_tasks: AdapterTasks,
    *,
    model_cards: ModelCards | None = None,
    meter: Meter | None = None,
    others: Mapping[Variant, AdapterTasks] | None = None,
    reports: Path = REPORTS_FOLDER,
    longest_s: float = LONGEST_S,
) -> gr.Blocks:
    """Lay out the page: a header, a tab for each task, and the API. Loads nothing itself.

    `adapter_tasks` is the first adapter's, `others` those of further adapters, which get no tabs of their own.
    The Model tab shows the cards of `model_cards` and is left out without one; `meter` times what the engine computes.
    `reports` is the folder of evaluation reports, with the items that are shipped in `set`. One request, from the page
    or over the API, may take `longest_s` seconds, as others wait for the model meanwhile.
    """
    sessions = Sessions()
    declared = VariantTasks(adapter_tasks, others or {}, description.base_prompt_style)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(UPLOADS_CHECKED_S, UPLOADS_KEPT_S)) as demo:
        build_header(demo, loader, description, adapter_tasks)
        with gr.Tabs(elem_classes="tasks", overflow_behavior="wrap") as tabs:
            answering: list[AnswersTab] = []
            for name in adapter_tasks.tasks:
                with gr.Tab(TASKS[name].title, id=name, elem_id=f"tab-{name}"):
                    tab = build_task_tab(TASKS[name], description, adapter_tasks, sessions, longest_s=longest_s)
                    connect_task(tab, TabHandlers(tab, loader, reports=reports, longest_s=longest_s))
                    answering.append(tab)
            if description.has_adapter:
                with gr.Tab("Compare", id=COMPARE, elem_id=f"tab-{COMPARE}"):
                    comparing = build_compare_tab(description, declared, sessions, longest_s=longest_s)
                    asking = CompareHandlers(comparing, loader, reports=reports, longest_s=longest_s)
                    connect_compare(comparing, asking)
                    answering.append(comparing)
            with gr.Tab("Explain", id=EXPLAIN, elem_id=f"tab-{EXPLAIN}") as opened:
                explaining = build_explain_tab(tabs, description, declared.either, sessions)
            handlers = ExplainHandlers(explaining, loader, longest_s=longest_s)
            filling = ExplainFilling(explaining, loader)
            connect_explain(opened, explaining, handlers, filling)
            for answers_tab in answering:
                connect_why(answers_tab, explaining, handlers, filling)
            with gr.Tab("Evaluate", id=EVALUATE, elem_id=f"tab-{EVALUATE}") as opened:
                evaluating = build_evaluate_tab(
                    description, adapter_tasks, sessions, shipped=shipped_test_sets(reports / "set")
                )
            connect_reports(opened, evaluating, EvaluateReports(evaluating, loader, reports_folder=reports))
            connect_run(evaluating, EvaluateHandlers(evaluating, loader))
            if model_cards is not None:
                with gr.Tab("Model", id=MODEL_TAB, elem_id=f"tab-{MODEL_TAB}") as opened:
                    if description.has_adapter and description.template is None and adapter_tasks == AdapterTasks():
                        chooser = build_template_chooser(description, sessions)
                        connect_template_chooser(chooser, TemplateTrials(chooser, loader, longest_s=longest_s))
                    build_model_tab(opened, model_cards, loader, meter or Meter())
        add_endpoints(loader, declared, reports=reports, longest_s=longest_s)
        if description.has_adapter:
            add_compare_endpoint(loader, declared, reports=reports, longest_s=longest_s)
        add_explain_endpoint(loader, declared, longest_s=longest_s)
        add_evaluate_endpoint(loader, declared, longest_s=longest_s)
        if model_cards is not None:
            add_card_endpoint(model_cards)

        def close(request: gr.Request) -> None:
            sessions.close(str(request.session_hash))

        demo.unload(close)
    return demo


def launch(
    demo: gr.Blocks, settings: ServerSettings, *, prevent_thread_lock: bool = False, quiet: bool = False
) -> tuple[Any, str, str | None]:
    """Serve the page; returns gradio's app, the local address and the public one."""
    demo.queue(max_size=settings.queue_size, api_open=False, default_concurrency_limit=4)
    app, local, public = demo.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        share=settings.share,
        auth=settings.credentials,
        theme=build_theme(),
        css=HEATMAP_STYLE,
        css_paths=STYLES,
        head=f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
        max_file_size=MAX_BYTES,
        allowed_paths=[],
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        strict_cors=True,
        state_session_capacity=1000,
        show_error=False,
        inbrowser=False,
        quiet=quiet,
        prevent_thread_lock=prevent_thread_lock,
    )
    return app, local, public
