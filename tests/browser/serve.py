"""Serve the page over the scripted engine: what the browser tests drive."""

import argparse
import time
from dataclasses import replace

from phi2demo.emissions.meter import Meter
from phi2demo.engine.engine import AdapterInfo, Engine
from phi2demo.engine.forwarding import MeteredEngine
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import ModelError
from phi2demo.settings import ASSETS, ServerSettings
from phi2demo.tasks import register
from phi2demo.tasks.declared import AdapterTasks, read_tasks_file
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.page import build_demo, launch
from tests.ui.cards import scripted_model_cards
from tests.ui.scripted import INFO, ScriptedEngine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds a word")
    parser.add_argument("--loading", type=float, default=0.0, help="seconds until the engine is there")
    parser.add_argument("--fails", action="store_true", help="the loading fails")
    parser.add_argument("--bare", action="store_true", help="no adapter")
    parser.add_argument("--second", action="store_true", help="a second adapter")
    parser.add_argument("--undeclared", action="store_true", help="an adapter of which nothing says how it was trained")
    parser.add_argument("--own", action="store_true", help="a task of one's own beside translation")
    parser.add_argument("--queue-size", type=int, default=16)
    parser.add_argument("--time-limit", type=int, help="seconds that one request may take")
    arguments = parser.parse_args()
    info = replace(INFO, adapter=None, adapter_revision=None, lora_rank=None) if arguments.bare else INFO
    if arguments.second:
        info = replace(info, others=(AdapterInfo("second", "scripted-second", "cccccccccccc", 8),))

    def load() -> Engine:
        time.sleep(arguments.loading)
        if arguments.fails:
            raise ModelError("scripted-base/model.safetensors is damaged (its header ends early). Copy it again.")
        return ScriptedEngine(info, delay_s=arguments.delay)

    description = ModelDescription(
        base=info.base,
        adapter=info.adapter,
        parameters=info.parameters,
        device="auto",
        dtype="auto",
        context=info.context,
        is_embedded=not arguments.bare,
        others=tuple(other.variant for other in info.others),
    )
    adapter_tasks = (
        AdapterTasks() if arguments.bare or arguments.undeclared else AdapterTasks(languages=("en", "de", "fr", "es"))
    )
    if arguments.own:
        own = read_tasks_file(ASSETS / "examples" / "own_task" / "tasks.json").own
        register(own)
        adapter_tasks = replace(adapter_tasks, tasks=("translation", *(task.name for task in own)), own=own)
    meter = Meter()
    loader = EngineLoader(lambda: MeteredEngine(load(), meter.computing)).start()
    server = ServerSettings(port=arguments.port, queue_size=arguments.queue_size, time_limit_s=arguments.time_limit)
    model_cards = scripted_model_cards(not arguments.bare)
    demo = build_demo(
        loader, description, adapter_tasks, model_cards=model_cards, meter=meter, longest_s=server.longest_s
    )
    launch(demo, server)


if __name__ == "__main__":
    main()
