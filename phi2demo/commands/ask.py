"""generate, summarize, translate, classify, answer: a text, or a file with one item a line."""

import argparse
import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TextIO

from phi2demo.commands import arguments as shared
from phi2demo.commands.arguments import add_base_prompt_style, add_task_arguments, task_options
from phi2demo.commands.input_output import PIPE, one_line, open_output, read_lines, read_text
from phi2demo.engine.engine import VARIANTS, Engine
from phi2demo.errors import InputError, SettingsError
from phi2demo.evaluation.confidence import judged
from phi2demo.settings import ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, VariantTasks, read_variant_tasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.run import answer_all, run
from phi2demo.tasks.task import AnyTask


@dataclass(frozen=True)
class Asking:
    """One call of a command: all that its items have in common."""

    engine: Engine
    request: Request
    """Without its text."""
    declared: VariantTasks
    as_json: bool

    def about(self, text: str) -> Generator[Progress]:
        """The answer to one item."""
        return run(self.engine, replace(self.request, text=text))

    def noted(self, results: tuple[Result, ...]) -> tuple[Result, ...]:
        """With what an adapter was not finetuned for, and what was measured of answers as unsure as these."""
        return judged(self.declared.noted(self.request, results), self.engine.info)


def answer_text(asking: Asking, text: str, output: TextIO) -> None:
    """Write the answer to one text, as it comes where someone is watching."""
    stream = output.isatty() and not asking.as_json and len(asking.request.variants) == 1
    steps = asking.about(text)
    found = _stream(steps, output) if stream else finish(steps, show=sys.stderr.isatty())
    results = asking.noted(found)
    if asking.as_json:
        values = [result.as_dict() for result in results]
        print(json.dumps(values if len(values) > 1 else values[0], ensure_ascii=False, indent=2), file=output)
        return
    if not stream:
        for result in results:
            print(_labelled(result, result.text, results), file=output)
    for note in _notes(results):
        print(f"note: {note}", file=sys.stderr)


def answer_lines(asking: Asking, lines: Sequence[str], output: TextIO) -> None:
    """Write an answer a line (a line for each model with both), in order; a blank line is answered by a blank one."""
    from tqdm import tqdm

    requests = [replace(asking.request, text=line) for line in lines if line.strip()]
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    bar = tqdm(lines, desc=asking.request.task, unit="line", file=sys.stderr, mininterval=interval_s)
    with closing(answer_all(asking.engine, requests)) as answers:
        for number, line in enumerate(bar, 1):
            if not line.strip():
                print("\n".join(_blank(asking)), file=output)
                continue
            with told_where(number):
                results = asking.noted(next(answers))
            for result in results:
                if asking.as_json:
                    print(json.dumps(result.as_dict(), ensure_ascii=False), file=output)
                else:
                    print(_labelled(result, one_line(result.text), results), file=output)
            output.flush()
            for note in _notes(results) if not asking.as_json else ():
                bar.write(f"note: line {number}: {note}", file=sys.stderr)


def _blank(asking: Asking) -> list[str]:
    """What stands for a blank line: as many lines as an answer would have."""
    if not asking.as_json:
        return [""] * len(asking.request.variants)
    blank: dict[str, Any] = {"text": "", "notes": [], "facts": [], "receipt": None}
    return [json.dumps({**blank, "variant": variant}) for variant in asking.request.variants]


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
def told_where(number: int | None) -> Iterator[None]:
    """Say in an InputError which line it is about."""
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
        task_options(given, task, AdapterTasks()),
        shared.generation_options(given, task.generation),
        VARIANTS[given.variant or "finetuned"],
        given.seed,
    )
    if "second" in request.variants:
        shared.check_second(f"--variant {given.variant}", settings)
    texts = _read(given)
    for number, text in enumerate(texts, 1):
        if given.input is None or text.strip():
            with told_where(number if given.input else None):
                task.check(replace(request, text=text))
    engine = load_engine(settings)
    declared = read_variant_tasks(engine.info)
    variants = request.variants if given.variant else engine.info.variants[:1]
    adapter_tasks = declared.of(variants)
    request = replace(
        request,
        options=adapter_tasks.adapt(task_options(given, task, adapter_tasks)),
        generation=shared.generation_options(given, adapter_tasks.generation(task.name)),
        variants=variants,
        base_prompt_style=declared.prompt_style(given.base_prompt_style),
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
    parser.add_argument("--variant", choices=VARIANTS, help="default: finetuned where there is an adapter, else base")
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
    shared.add_model_arguments(parser, second=True)
    return parser
