"""generate, summarize, translate, classify, answer: a text, or a file with one item a line."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

from phi2demo.commands import arguments as shared
from phi2demo.commands.answers import Asking, answer_lines, answer_text, told_where
from phi2demo.commands.items import PIPE, open_output, read_lines, read_text
from phi2demo.commands.task_arguments import add_base_form, add_task_arguments, task_options
from phi2demo.engine.engine import USES, Engine
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declaration import Declaration
from phi2demo.tasks.declarations import read_declarations
from phi2demo.tasks.task import AnyTask, Request

LoadEngine = Callable[[ModelSettings], Engine]


def load_local(settings: ModelSettings) -> Engine:
    """The engine in this process; ModelError where the model cannot be used."""
    from phi2demo.engine.planning import plan

    found = plan(settings)  # before torch is imported, which takes seconds
    from phi2demo.engine.local import LocalEngine

    return LocalEngine.load(found)


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Answer; returns 0. Arguments and texts are checked before the model is loaded."""
    task = next(task for task in TASKS.values() if task.command == command)
    given = _parser(task).parse_args(argv)
    settings = shared.model_settings(given)
    request = Request(
        task.name,
        "",
        task_options(given, task, Declaration()),
        shared.generation_options(given, task.generation),
        USES[given.use or "finetuned"],
        given.seed,
    )
    if "second" in request.uses:
        shared.check_second(f"--use {given.use}", settings)
    texts = _read(given)
    for number, text in enumerate(texts, 1):
        if given.input is None or text.strip():
            with told_where(number if given.input else None):
                task.check(replace(request, text=text))
    engine = load_engine(settings)
    declared = read_declarations(engine.info)
    uses = request.uses if given.use else engine.info.uses[:1]
    declaration = declared.of(uses)
    request = replace(
        request,
        options=declaration.adapt(task_options(given, task, declaration)),
        generation=shared.generation_options(given, declaration.generation(task.name)),
        uses=uses,
        base_form=declared.form(given.base_form),
    )
    asking = Asking(engine, request, declared, as_json=given.json)
    with open_output(given.output) as output:
        if given.input is None:
            answer_text(asking, texts[0], output)
        else:
            answer_lines(asking, texts, output)
    return 0


def _read(given: argparse.Namespace) -> list[str]:
    if (given.text is None) == (given.input is None):
        raise SettingsError("Give a text, or --input FILE with one item a line; - is standard input.")
    if given.input is not None:
        return read_lines(given.input)
    return [read_text(PIPE) if given.text == PIPE else given.text]


def _parser(task: AnyTask) -> shared.Parser:
    parser = shared.Parser(task.command, description=task.__doc__)
    parser.add_argument("text", nargs="?", metavar="TEXT", help=f"{task.input_label.lower()}; - reads standard input")
    parser.add_argument("--input", metavar="FILE", help="one item a line, in UTF-8; - is standard input")
    parser.add_argument("--output", metavar="FILE", help="one answer a line, in the same order; - is standard output")
    parser.add_argument("--json", action="store_true", help="with notes and receipt; a line each with --input")
    parser.add_argument("--use", choices=USES, help="default: finetuned where there is an adapter, else base")
    parser.add_argument("--seed", type=int, help="makes a sampled answer the same again; default: a random one")
    add_base_form(parser)
    add_task_arguments(parser, task)
    shared.add_generation_arguments(
        parser,
        task.generation,
        reversible=task.reversible,
        may_withhold=bool(task.no_answer),
        recases=task.recases,
        labels=bool(task.labels),
    )
    shared.add_model_arguments(parser, second=True)
    return parser
