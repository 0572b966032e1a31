"""explain: which words of a text made the model write its output, or a part of it, and how far to believe that."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from phi2demo.commands import arguments as shared
from phi2demo.commands.arguments import add_base_prompt_style, add_task_arguments, task_options
from phi2demo.commands.ask import LoadEngine, finish, load_local
from phi2demo.commands.input_output import PIPE, open_output, read_text
from phi2demo.engine.engine import Engine, GenerationOptions, Variant
from phi2demo.errors import SettingsError
from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution
from phi2demo.explain.job import explain
from phi2demo.explain.request import EVALS, METHODS, OF, UNITS, VALUES, ExplainRequest, as_output
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, read_variant_tasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import run
from phi2demo.tasks.task import AnyTask

BAR = 24
"""Characters of the longest bar."""
STRONGEST = 15
"""Units listed."""
_COMMANDS = {task.command: task for task in TASKS.values()}
_SETTINGS = ("method", "units", "value", "mask", "max_evals", "seed", "instead", "trust")
"""Arguments that are fields of an ExplainRequest."""


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Explain; returns 0. Arguments and text are checked before the model is loaded."""
    task = _task_in(command, argv)
    given = _parser(command, task).parse_args(argv)
    settings = shared.model_settings(given)
    if given.of == "second":
        shared.check_second("--of second", settings)
    text = _text(given)
    options = task_options(given, task, AdapterTasks())
    chosen = {name: value for name in _SETTINGS if (value := getattr(given, name)) is not None}
    chosen["target"] = _span(given.span)
    asked = task.check(Request(task.name, text, options, _greedy(given, task.generation)))
    trial = as_output("?" if given.output is None else given.output)
    ExplainRequest(task.name, text, options, (trial,), of=given.of or "finetuned", **chosen)
    engine = load_engine(settings)
    of = given.of or engine.info.variants[0]
    declared = read_variant_tasks(engine.info)
    adapter_tasks = declared.asked_of(of)
    prompt_style = declared.prompt_style(given.base_prompt_style)
    asked = replace(
        asked,
        options=adapter_tasks.adapt(task_options(given, task, adapter_tasks)),
        generation=_greedy(given, adapter_tasks.generation(task.name)),
        base_prompt_style=prompt_style,
    )
    if given.output is not None:
        chosen |= {"base_prompt_style": prompt_style, "adapter_strength": asked.generation.adapter_strength}
        chosen["sentence_case"] = asked.generation.sentence_case
        request = ExplainRequest(task.name, text, asked.options, (as_output(given.output),), of=of, **chosen)
    else:
        variant: Variant = "finetuned" if of == "difference" else of
        request = _answered(engine, replace(asked, variants=(variant,)), of=of, **chosen)
    attribution = _finish(engine, request, show=sys.stderr.isatty())
    for path, content in ((given.html, export.page), (given.csv, export.to_csv)):
        if path is not None:
            with open_output(path) as file:
                file.write(content(attribution))
    if given.json:
        print(json.dumps(attribution.as_dict(), ensure_ascii=False, indent=2))
    elif PIPE not in (given.html, given.csv):
        print("\n".join(_lines(attribution)))
    return 0


def _greedy(given: argparse.Namespace, defaults: GenerationOptions) -> GenerationOptions:
    """As given; nothing is sampled unless a person says so."""
    return shared.generation_options(given, replace(defaults, temperature=0.0))


def _answered(engine: Engine, asked: Request, **settings: object) -> ExplainRequest:
    """A request to explain what the model answers."""
    (result,) = finish(run(engine, asked), show=sys.stderr.isatty())
    return ExplainRequest.from_result(engine, asked, result, **settings)


def _finish(engine: Engine, request: ExplainRequest, *, show: bool) -> Attribution:
    """The attribution, with a progress bar of prompts scored where `show` is set."""
    from tqdm import tqdm

    attribution = None
    with (
        closing(explain(engine, request)) as steps,
        tqdm(disable=not show, file=sys.stderr, leave=False, unit="prompt") as bar,
    ):
        for step in steps:
            if step.estimate and bar.total is None:
                estimate = step.estimate
                bar.write(
                    f"at most {estimate.calls:,} prompts, about {estimate.seconds:.0f} s, "
                    f"for {estimate.units} {estimate.kind}",
                    file=sys.stderr,
                ) if show else None
                bar.total = estimate.calls
            bar.n = step.calls
            bar.set_description(step.stage, refresh=False)
            bar.update(0)
            attribution = step.attribution
    assert attribution is not None
    return attribution


def _lines(attribution: Attribution) -> list[str]:
    """For people: question, strongest units with bars, trust, notes."""
    totals = attribution.totals
    longest = max(float(abs(totals).max()), 1e-9)
    listed = attribution.ranked[:STRONGEST]
    rows = [
        f"{totals[at]:+9.2f} {('█' if totals[at] >= 0 else '░') * round(abs(totals[at]) / longest * BAR):<{BAR}} "
        f"{export.shown(attribution.units[at].text, longest=60)}"
        for at in listed
    ]
    if len(totals) > len(listed):
        rows.append(f"{'':9} and {len(totals) - len(listed)} weaker {attribution.kind}")
    return [
        export.question(attribution),
        export.settings(attribution),
        export.effect(attribution),
        "",
        *rows,
        "",
        *export.trust_lines(attribution),
        *(f"note: {note}" for note in attribution.notes),
    ]


def _text(given: argparse.Namespace) -> str:
    if (given.text is None) == (given.file is None):
        raise SettingsError("Give a text, or --file FILE with one; - is standard input.")
    if given.file is not None:
        return read_text(given.file).removesuffix("\n")
    return read_text(PIPE) if given.text == PIPE else str(given.text)


def _span(text: str | None) -> tuple[int, int] | None:
    """`3:5` as (3, 5), and `3` as (3, 4)."""
    if text is None:
        return None
    first, colon, last = text.partition(":")
    if not first.isdecimal() or not (last.isdecimal() if colon else True):
        raise SettingsError(
            f"--target {text}: give the first output token and the one after the last, as 3:5, or one as 3."
        )
    return int(first), int(last) if colon else int(first) + 1


def _task_in(command: str, argv: Sequence[str]) -> AnyTask:
    """The task that is named, before the arguments that only it has can be read."""
    parser = shared.Parser(command, add_help=False)
    parser.add_argument("--task", choices=_COMMANDS, default="generate")
    return _COMMANDS[parser.parse_known_args(argv)[0].task]


def _parser(command: str, task: AnyTask) -> shared.Parser:
    parser = shared.Parser(command, description="Say which parts of a text made the model write its output.")
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text; - reads standard input")
    parser.add_argument("--file", metavar="FILE", help="read the text from a file in UTF-8; - is standard input")
    parser.add_argument(
        "--task",
        choices=_COMMANDS,
        default="generate",
        help="its own arguments are in the help with --task; default: generate",
    )
    parser.add_argument(
        "--output", metavar="TEXT", help="the output to explain; default: what the model answers, greedily"
    )
    parser.add_argument("--of", choices=OF, help="default: finetuned where there is an adapter, else base")
    parser.add_argument(
        "--target", dest="span", metavar="3:5", help="output tokens to explain, counted from 0; default: all"
    )
    parser.add_argument("--instead", metavar="TEXT", help="why the target and not this?")
    parser.add_argument(
        "--method", choices=METHODS, help="default: auto, exact where there are few units, else partition"
    )
    parser.add_argument("--units", choices=UNITS, help="default: the finest whose estimate is under ten seconds")
    parser.add_argument("--value", choices=VALUES, help="default: log-probability")
    parser.add_argument("--mask", metavar="TEXT", help="what stands for hidden units; default: nothing")
    parser.add_argument("--max-evals", type=int, metavar="N", help=f"{EVALS[0]} to {EVALS[1]}; default: 500")
    parser.add_argument(
        "--no-trust", dest="trust", action="store_false", default=None, help="skip curves and agreement: faster"
    )
    parser.add_argument("--seed", type=int, help="default: 0")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--html", metavar="FILE", help="write one standalone page")
    parser.add_argument("--csv", metavar="FILE", help="write a row a unit")
    add_base_prompt_style(parser)
    add_task_arguments(parser, task)
    shared.add_generation_arguments(
        parser,
        replace(task.generation, temperature=0.0),
        reversible=task.reversible,
        recases=task.recases,
        labels=bool(task.labels),
    )
    shared.add_model_arguments(parser, second=True)
    return parser
