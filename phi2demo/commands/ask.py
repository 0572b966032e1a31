"""generate, summarize, translate, classify, answer, or ask TASK: a text, or a file with one item a line."""

import argparse
import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, TextIO

from phi2demo.commands import arguments as shared
from phi2demo.commands.arguments import add_base_prompt_style, add_task_arguments, task_options
from phi2demo.commands.input_output import PIPE, one_line, open_output, read_lines, read_text
from phi2demo.engine.engine import Engine, Variant
from phi2demo.errors import InputError, SettingsError
from phi2demo.evaluation.confidence import ConfidenceBands
from phi2demo.settings import ModelSettings
from phi2demo.tasks.declared import AdapterTasks, read_variant_tasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.task import AnyTask, CheckedRequest


def answer_text(assistant: Assistant, checked: CheckedRequest, output: TextIO, *, as_json: bool) -> None:
    """Write the answer to one text, as it comes where someone is watching."""
    stream = output.isatty() and not as_json and len(checked.request.variants) == 1
    steps = assistant.run(checked)
    results = _stream(steps, output) if stream else finish(steps, show=sys.stderr.isatty())
    if as_json:
        values = [result.as_dict() for result in results]
        print(json.dumps(values if len(values) > 1 else values[0], ensure_ascii=False, indent=2), file=output)
        return
    if not stream:
        for result in results:
            print(_labelled(result, result.text, results), file=output)
    for note in _notes(results):
        print(f"note: {note}", file=sys.stderr)


def answer_lines(
    assistant: Assistant,
    lines: Sequence[CheckedRequest | None],
    variants: Sequence[Variant],
    output: TextIO,
    *,
    as_json: bool,
) -> None:
    """Write an answer a line (a line for each model with several), in order; None, a blank line, gets a blank one."""
    from tqdm import tqdm

    requests = [checked for checked in lines if checked]
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    name = requests[0].task.name if requests else None
    bar = tqdm(lines, desc=name, unit="line", file=sys.stderr, mininterval=interval_s)
    with closing(assistant.answer_all(requests)) as answers:
        for number, checked in enumerate(bar, 1):
            if checked is None:
                print("\n".join(_blank(variants, as_json=as_json)), file=output)
                continue
            with naming_line(number):
                results = next(answers)
            for result in results:
                if as_json:
                    print(json.dumps(result.as_dict(), ensure_ascii=False), file=output)
                else:
                    print(_labelled(result, one_line(result.text), results), file=output)
            output.flush()
            for note in _notes(results) if not as_json else ():
                bar.write(f"note: line {number}: {note}", file=sys.stderr)


def _blank(variants: Sequence[Variant], *, as_json: bool) -> list[str]:
    """The answer to a blank line: as many lines as any answer has."""
    if not as_json:
        return [""] * len(variants)
    blank: dict[str, Any] = {"text": "", "notes": [], "facts": [], "receipt": None}
    return [json.dumps({**blank, "variant": variant}) for variant in variants]


def finish(steps: Generator[Progress], *, show: bool) -> tuple[Result, ...]:
    """The results at the end of `steps`, with a progress bar where there are several pieces and `show` is set."""
    from tqdm import tqdm

    results: tuple[Result, ...] | None = None
    with closing(steps) as progress, tqdm(disable=not show, file=sys.stderr, leave=False) as bar:
        for step in progress:
            results = step.results
            bar.total = step.total
            bar.n = step.done
            bar.set_description(step.stage, refresh=False)
            bar.set_postfix_str(f"{step.new_tokens} tokens", refresh=False)
            bar.update(0)
    assert results is not None
    return results


@contextmanager
def naming_line(number: int | None) -> Iterator[None]:
    """Put the number of the line, where there is one, into the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"line {number}: {error}" if number else str(error)) from error


def _stream(steps: Generator[Progress], output: TextIO) -> tuple[Result, ...]:
    """Print text as it grows. Where it is rewritten (summaries of summaries), only what it is in the end."""
    printed, results = "", None
    with closing(steps) as progress:
        for step in progress:
            results = step.results
            (text,) = step.texts.values()
            if text.startswith(printed) and (step.total == 1 or results):
                print(text[len(printed) :], end="", flush=True, file=output)
                printed = text
    assert results is not None
    if printed != results[0].text:
        print(f"\n{results[0].text}", end="", file=output)
    print(file=output)
    return results


def _labelled(result: Result, text: str, results: tuple[Result, ...]) -> str:
    return f"{result.variant}: {text}" if len(results) > 1 else text


def _notes(results: tuple[Result, ...]) -> list[str]:
    return [_labelled(result, note, results) for result in results for note in result.notes]


ASK = "ask"
LoadEngine = Callable[[ModelSettings], Engine]


def load_local(settings: ModelSettings) -> Engine:
    """The engine in this process; ModelError where the model cannot be used."""
    from phi2demo.engine.planning import plan

    planned = plan(settings)  # before torch is imported, which takes seconds
    shared.register_planned(planned)
    from phi2demo.engine.process import load_engine

    return load_engine(planned)


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Answer; returns 0. Arguments and texts are checked before the model is loaded."""
    task, argv = _task_in(argv) if command == ASK else (shared.built_in_task(command), argv)
    arguments = _parser(task, command).parse_args(argv)
    settings = shared.model_settings(arguments, several=True)
    request = Request(
        task.name,
        "",
        task_options(arguments, task, AdapterTasks()),
        shared.generation_options(arguments, task.generation),
        shared.check_variants("--variant", arguments.variant or "finetuned", settings),
        arguments.seed,
    )
    lines: list[CheckedRequest | None] = []
    for number, text in enumerate(_read(arguments), 1):
        is_blank = arguments.input is not None and not text.strip()
        with naming_line(number if arguments.input else None):
            lines.append(None if is_blank else check(replace(request, text=text)))
    engine = load_engine(settings)
    variant_tasks = read_variant_tasks(engine.info)
    variants = request.variants if arguments.variant else engine.info.variants[:1]
    adapter_tasks = variant_tasks.of(variants)
    settings_of_model: dict[str, Any] = {
        "options": adapter_tasks.adapt(task_options(arguments, task, adapter_tasks)),
        "generation": shared.generation_options(arguments, adapter_tasks.generation(task.name)),
        "variants": variants,
        "base_prompt_style": variant_tasks.prompt_style(arguments.base_prompt_style),
    }
    requests = [checked and check(checked.request).with_settings(**settings_of_model) for checked in lines]
    assistant = Assistant(engine, variant_tasks, ConfidenceBands(engine.info))
    with open_output(arguments.output) as output:
        if arguments.input is None:
            assert requests[0] is not None
            answer_text(assistant, requests[0], output, as_json=arguments.json)
        else:
            answer_lines(assistant, requests, variants, output, as_json=arguments.json)
    return 0


def _read(arguments: argparse.Namespace) -> list[str]:
    if (arguments.text is None) == (arguments.input is None):
        raise SettingsError("Give a text, or --input FILE with one item a line; - is standard input.")
    if arguments.input is not None:
        return read_lines(arguments.input)
    return [read_text(PIPE) if arguments.text == PIPE else arguments.text]


def _task_in(argv: Sequence[str]) -> tuple[AnyTask, list[str]]:
    """Return the task that `ask TASK ...` names, and the arguments after it."""
    parser = shared.Parser(ASK, description="Ask for a task of the model, also one that its tasks.json declares.")
    parser.add_argument("task", metavar="TASK", help="id of the task; ask TASK --help lists what it takes")
    parser.add_argument("--field", action="append", metavar="NAME=VALUE", help="a field of the task; may be repeated")
    shared.add_model_arguments(parser, several=True)
    if not argv or argv[0].startswith("-"):
        parser.parse_args(argv)
        raise SettingsError(f"Give the task first: python -m phi2demo {ASK} TASK ...")
    name, *rest = argv
    known, _ = parser.parse_known_args([argument for argument in argv if argument not in ("-h", "--help")])
    return shared.find_task(name, shared.model_settings(known, several=True)), rest


def _parser(task: AnyTask, command: str) -> shared.Parser:
    parser = shared.Parser(f"{ASK} {task.name}" if command == ASK else command, description=task.__doc__)
    parser.add_argument("text", nargs="?", metavar="TEXT", help=f"{task.input_label.lower()}; - reads standard input")
    parser.add_argument("--input", metavar="FILE", help="one item a line, in UTF-8; - is standard input")
    parser.add_argument("--output", metavar="FILE", help="one answer a line, in the same order; - is standard output")
    parser.add_argument("--json", action="store_true", help="with notes and receipt; a line each with --input")
    parser.add_argument(
        "--variant",
        help="finetuned, base, both, all, or the name of a further adapter; default: finetuned where there is an adapter",
    )
    parser.add_argument("--seed", type=int, help="makes a sampled answer the same again; default: a random one")
    add_base_prompt_style(parser)
    add_task_arguments(parser, task)
    shared.add_generation_arguments(
        parser,
        task.generation,
        reversible=task.reversible,
        may_withhold=bool(task.no_answer),
        recases=task.recases,
        labels=bool(task.labels),
    )
    shared.add_model_arguments(parser, several=True)
    return parser
