"""explain: which words of a text made the model write its output, or a part of it, and how reliable that is."""

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
from phi2demo.engine.engine import Engine, GenerationOptions
from phi2demo.errors import SettingsError
from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution
from phi2demo.explain.job import explain
from phi2demo.explain.request import EVALS, METHODS, OF, UNITS, VALUES, ExplainRequest, as_output
from phi2demo.tasks.declared import AdapterTasks, read_variant_tasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.task import AnyTask

BAR = 24
"""Characters in the longest bar."""
STRONGEST = 15
"""Units listed."""
_FIELDS = ("method", "units", "value", "mask", "max_evals", "seed", "instead", "trust")
"""Arguments that are fields of an ExplainRequest under the same name."""


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Explain; return 0. Arguments and text are checked before the model is loaded."""
    task = _task_in(command, argv)
    args = _parser(command, task).parse_args(argv)
    settings = shared.model_settings(args, several=True)
    if args.of not in (None, *OF):
        shared.check_variants("--of", args.of, settings)
    text = _text(args)
    fields = {name: value for name in _FIELDS if (value := getattr(args, name)) is not None}
    fields["target"] = _span(args.span)
    options = task_options(args, task, AdapterTasks())
    checked = check(Request(task.name, text, options, _greedy(args, task.generation)))
    output = None if args.output is None else as_output(args.output)
    ExplainRequest(task.name, text, options, (output or " ?",), of=args.of or "finetuned", **fields)
    engine = load_engine(settings)
    fields["of"] = of = args.of or engine.info.variants[0]
    variant_tasks = read_variant_tasks(engine.info)
    adapter_tasks = variant_tasks.asked_of(of)
    checked = check(checked.request).with_settings(
        options=adapter_tasks.adapt(task_options(args, task, adapter_tasks)),
        generation=_greedy(args, adapter_tasks.generation(task.name)),
        variants=("finetuned" if of == "difference" else of,),
        base_prompt_style=variant_tasks.prompt_style(args.base_prompt_style),
    )
    if output is None:
        (result,) = finish(Assistant(engine).run(checked), show=sys.stderr.isatty())
        explain_request = ExplainRequest.from_result(engine, checked.request, result, **fields)
    else:
        fields["base_prompt_style"] = checked.request.base_prompt_style
        fields["adapter_strength"] = checked.request.generation.adapter_strength
        fields["sentence_case"] = checked.request.generation.sentence_case
        explain_request = ExplainRequest(task.name, text, checked.request.options, (output,), **fields)
    attribution = _finish(engine, explain_request, show=sys.stderr.isatty())
    for path, render in ((args.html, export.page), (args.csv, export.to_csv)):
        if path is not None:
            with open_output(path) as file:
                file.write(render(attribution))
    if args.json:
        print(json.dumps(attribution.as_dict(), ensure_ascii=False, indent=2))
    elif PIPE not in (args.html, args.csv):
        print("\n".join(_lines(attribution)))
    return 0


def _greedy(args: argparse.Namespace, defaults: GenerationOptions) -> GenerationOptions:
    """Return the generation options; tokens are sampled only where a temperature is given."""
    return shared.generation_options(args, replace(defaults, temperature=0.0))


def _finish(engine: Engine, request: ExplainRequest, *, show: bool) -> Attribution:
    """Run an explanation to its end; show a progress bar of the prompts scored where `show` is set."""
    from tqdm import tqdm

    attribution = None
    with (
        closing(explain(engine, request)) as steps,
        tqdm(disable=not show, file=sys.stderr, leave=False, unit="prompt") as bar,
    ):
        for step in steps:
            if (estimate := step.estimate) and bar.total is None:
                if show:
                    bar.write(
                        f"at most {estimate.calls:,} prompts, about {estimate.seconds:.0f} s, "
                        f"for {estimate.units} {estimate.kind}",
                        file=sys.stderr,
                    )
                bar.total = estimate.calls
            bar.n = step.calls
            bar.set_description(step.stage, refresh=False)
            bar.update(0)
            attribution = step.attribution
    assert attribution is not None
    return attribution


def _lines(attribution: Attribution) -> list[str]:
    """Return the lines of the report: question, strongest units with bars, trust figures, notes."""
    totals = attribution.totals
    scale = export.strongest(totals)
    listed = attribution.ranked[:STRONGEST]
    rows = [
        f"{totals[index]:+9.2f} {('█' if totals[index] >= 0 else '░') * round(abs(totals[index]) / scale * BAR):<{BAR}} "
        f"{export.shown(attribution.units[index].text, longest=60)}"
        for index in listed
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


def _text(args: argparse.Namespace) -> str:
    if (args.text is None) == (args.file is None):
        raise SettingsError("Give a text, or --file FILE with one; - is standard input.")
    if args.file is not None:
        return read_text(args.file).removesuffix("\n")
    return read_text(PIPE) if args.text == PIPE else str(args.text)


def _span(text: str | None) -> tuple[int, int] | None:
    """Read `3:5` as (3, 5), and `3` as (3, 4)."""
    if text is None:
        return None
    first, colon, last = text.partition(":")
    if not first.isdecimal() or not (last.isdecimal() if colon else True):
        raise SettingsError(
            f"--target {text}: give the first output token and the one after the last, as 3:5, or one as 3."
        )
    return int(first), int(last) if colon else int(first) + 1


def _task_in(command: str, argv: Sequence[str]) -> AnyTask:
    """Return the task that is named; which other arguments there are depends on it."""
    parser = shared.Parser(command, add_help=False)
    parser.add_argument("--task", default="generate")
    shared.add_model_arguments(parser, several=True)
    known = parser.parse_known_args(argv)[0]
    return shared.find_task(known.task, shared.model_settings(known, several=True))


def _parser(command: str, task: AnyTask) -> shared.Parser:
    parser = shared.Parser(command, description="Find which parts of a text made the model write its output.")
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text; - reads standard input")
    parser.add_argument("--file", metavar="FILE", help="read the text from a file in UTF-8; - is standard input")
    parser.add_argument(
        "--task",
        default="generate",
        help="generate, summarize, translate, classify, answer, or a task that the adapter declares; --help with --task "
        "also lists the options of that task; default: generate",
    )
    parser.add_argument(
        "--output", metavar="TEXT", help="the output to explain; default: what the model answers, greedily"
    )
    parser.add_argument(
        "--of",
        help="finetuned, base, difference, or the name of a further adapter; default: finetuned where there is an adapter",
    )
    parser.add_argument(
        "--target", dest="span", metavar="3:5", help="output tokens to explain, counted from 0; default: all"
    )
    parser.add_argument("--instead", metavar="TEXT", help="explain how much likelier the target is than this text")
    parser.add_argument(
        "--method", choices=METHODS, help="default: auto, exact where there are few units, else partition"
    )
    parser.add_argument("--units", choices=UNITS, help="default: the finest whose estimate is below ten seconds")
    parser.add_argument("--value", choices=VALUES, help="default: log-probability")
    parser.add_argument(
        "--mask", metavar="TEXT", help="the text that replaces hidden units; default: none, they are dropped"
    )
    parser.add_argument("--max-evals", type=int, metavar="N", help=f"{EVALS[0]} to {EVALS[1]}; default: 500")
    parser.add_argument(
        "--no-trust", dest="trust", action="store_false", default=None, help="skip curves and agreement: faster"
    )
    parser.add_argument("--seed", type=int, help="default: 0")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--html", metavar="FILE", help="write one standalone HTML page")
    parser.add_argument("--csv", metavar="FILE", help="write one row for each unit")
    add_base_prompt_style(parser)
    add_task_arguments(parser, task)
    shared.add_generation_arguments(
        parser,
        replace(task.generation, temperature=0.0),
        reversible=task.reversible,
        recases=task.recases,
        labels=bool(task.labels),
    )
    shared.add_model_arguments(parser, several=True)
    return parser
