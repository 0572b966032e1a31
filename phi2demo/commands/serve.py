"""serve: show the page. The page is up before the weights are."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from phi2demo import settings as defaults
from phi2demo.commands import arguments as shared
from phi2demo.data.languages import detect_language
from phi2demo.emissions.meter import Meter
from phi2demo.engine.engine import Engine
from phi2demo.engine.forwarding import MeteredEngine
from phi2demo.engine.loading import EngineLoader
from phi2demo.engine.planning import ModelPlan, plan
from phi2demo.engine.revisions import adapter_revision, base_revision
from phi2demo.engine.sources import Source
from phi2demo.errors import SettingsError
from phi2demo.tasks.declared import read_adapter_tasks
from phi2demo.tasks.request import best_prompt_style

if TYPE_CHECKING:
    from phi2demo.ui.description import ModelDescription

HASHED_BYTES = 100_000_000
"""Weights of a folder up to this size are hashed in well under a second."""


def main(command: str, argv: Sequence[str]) -> int:
    """As `serve`."""
    return serve(argv)


def serve(argv: Sequence[str]) -> int:
    """Show the page until Ctrl+C. Arguments win over the environment; ModelError where there is no such model."""
    parser = shared.Parser("serve", description="Show the page.")
    shared.add_server_arguments(parser)
    shared.add_model_arguments(parser, second=True)
    given = parser.parse_args(argv)
    server = shared.server_settings(given)
    found = plan(shared.model_settings(given))
    adapter_tasks = read_adapter_tasks(found.adapter_folder)
    second = read_adapter_tasks(found.second_source.folder) if found.second_source else None

    from phi2demo.cards.model_cards import ModelCards
    from phi2demo.ui.page import build_demo, launch

    meter = Meter()
    loader = EngineLoader(lambda: MeteredEngine(_load(found), meter.computing))
    model_cards = ModelCards.of_plan(found)
    longest_s = server.longest_s
    demo = build_demo(
        loader, describe(found), adapter_tasks, model_cards=model_cards, meter=meter, second=second, longest_s=longest_s
    )
    loader.start()
    try:
        launch(demo, server)
    except OSError as error:
        raise SettingsError(
            f"The page cannot be served at {server.host}, port {server.port} ({error}). Give another --port or --host."
        ) from error
    return 0


def describe(found: ModelPlan) -> "ModelDescription":
    """What the page says of the model before its weights are there."""
    from phi2demo.ui.description import ModelDescription

    base, adapter = found.base_source, found.adapter_source
    return ModelDescription(
        base=found.base,
        adapter=found.adapter,
        parameters=found.parameters,
        device=found.device,
        dtype=found.dtype,
        context=found.context,
        is_embedded=found.base_folder.resolve() == defaults.EMBEDDED_MODEL.resolve(),
        second=found.second,
        base_revision=base_revision(base) if _is_quick(base) else None,
        adapter_revision=adapter_revision(adapter) if adapter and _is_quick(adapter) else None,
        base_prompt_style=best_prompt_style(found.base_folder),
    )


def _is_quick(source: Source) -> bool:
    """Whether its weights are known by a commit, or small enough to be hashed before the page is up."""
    if source.revision is not None:
        return True
    return sum((source.folder / file).stat().st_size for file in source.files) <= HASHED_BYTES


def _load(found: ModelPlan) -> Engine:
    from phi2demo.engine.local import LocalEngine

    engine = LocalEngine.load(found)
    warm_up = "The first text whose language is detected takes seconds."
    threading.Thread(target=detect_language, args=(warm_up,), name="read language tables", daemon=True).start()
    return engine
