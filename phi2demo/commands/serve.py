"""The command `serve`: starts the page, and loads the weights while the page is already up."""

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from phi2demo import settings as defaults
from phi2demo.commands import arguments as shared
from phi2demo.data.languages import detect_language
from phi2demo.emissions.meter import Meter
from phi2demo.engine.engine import Engine
from phi2demo.engine.forwarding import MeteredEngine
from phi2demo.engine.loading import EngineLoader, read_chat_template
from phi2demo.engine.planning import ModelPlan, plan
from phi2demo.engine.revisions import adapter_revision, base_revision
from phi2demo.engine.sources import Source
from phi2demo.errors import SettingsError
from phi2demo.tasks.declared import AdapterTasks, read_adapter_tasks
from phi2demo.tasks.request import best_prompt_style
from phi2demo.tasks.template_view import warn_of_template
from phi2demo.tasks.templates import find_template

if TYPE_CHECKING:
    from phi2demo.ui.description import ModelDescription

log = logging.getLogger(__name__)

HASHED_BYTES = 100_000_000
"""Weights up to this size are hashed in well under a second."""


def main(command: str, argv: Sequence[str]) -> int:
    """Run `serve`."""
    return serve(argv)


def serve(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl+C and return 0; arguments override the environment.

    Raises ModelError for a model that cannot be found, SettingsError for settings or an address that cannot be used.
    """
    parser = shared.Parser("serve", description="Start the page.")
    shared.add_server_arguments(parser)
    shared.add_model_arguments(parser, several=True)
    arguments = parser.parse_args(argv)
    server = shared.server_settings(arguments)
    model_plan = plan(shared.model_settings(arguments, several=True))
    adapter_tasks = read_adapter_tasks(model_plan.adapter_folder, model_plan.base_folder)
    _check_template(model_plan, adapter_tasks)
    others = {
        other.variant: read_adapter_tasks(other.source.folder, model_plan.base_folder) for other in model_plan.others
    }
    shared.register_planned(model_plan)

    from phi2demo.cards.model_cards import ModelCards
    from phi2demo.ui.page import build_demo, launch

    meter = Meter()
    loader = EngineLoader(lambda: MeteredEngine(_load(model_plan), meter.computing))
    model_cards = ModelCards.of_plan(model_plan)
    longest_s = server.longest_s
    demo = build_demo(
        loader,
        describe(model_plan),
        adapter_tasks,
        model_cards=model_cards,
        meter=meter,
        others=others,
        longest_s=longest_s,
    )
    loader.start()
    try:
        launch(demo, server)
    except OSError as error:
        raise SettingsError(
            f"The page cannot be served at {server.host}, port {server.port} ({error}). Give another --port or --host."
        ) from error
    return 0


def _check_template(model_plan: ModelPlan, adapter_tasks: AdapterTasks) -> None:
    """Raise SettingsError where the template or the system text that was given cannot be used."""
    if model_plan.template or model_plan.system:
        find_template(
            given=model_plan.template,
            declared=adapter_tasks.template,
            system=model_plan.system,
            chat=read_chat_template(model_plan),
            architecture=model_plan.config.model_type,
        )


def describe(model_plan: ModelPlan) -> "ModelDescription":
    """Describe the model for the page, before its weights are loaded."""
    from phi2demo.ui.description import ModelDescription

    base, finetuned = model_plan.base_source, model_plan.finetuned_source
    revision_of = adapter_revision if model_plan.adapter_source else base_revision
    return ModelDescription(
        base=model_plan.base,
        adapter=model_plan.adapter,
        parameters=model_plan.parameters,
        device=model_plan.device,
        dtype=model_plan.dtype,
        context=model_plan.context,
        is_embedded=model_plan.base_folder.resolve() == defaults.EMBEDDED_MODEL.resolve(),
        others=tuple(other.variant for other in model_plan.others),
        base_revision=base_revision(base) if _is_quick(base) else None,
        adapter_revision=revision_of(finetuned) if finetuned and _is_quick(finetuned) else None,
        base_prompt_style=best_prompt_style(model_plan.base_folder),
        is_scalable=model_plan.adapter_config is None or not model_plan.adapter_config.fixed_strength,
        template=model_plan.template,
    )


def _is_quick(source: Source) -> bool:
    """Return whether the weights are identified by a commit, or small enough to hash before the page is up."""
    if source.revision is not None:
        return True
    return sum((source.folder / file).stat().st_size for file in source.files) <= HASHED_BYTES


def _load(model_plan: ModelPlan) -> Engine:
    from phi2demo.engine.process import load_engine

    engine = load_engine(model_plan)
    for warning in warn_of_template(engine.info):
        log.warning(warning)
    warm_up = "The first text whose language is detected takes seconds."
    threading.Thread(target=detect_language, args=(warm_up,), name="read language tables", daemon=True).start()
    return engine
