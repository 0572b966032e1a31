"""Ask an engine and write what it answers: as text while it comes, as lines, or as JSON; progress on standard error."""

import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TextIO

from phi2demo.commands.items import one_line
from phi2demo.engine.engine import Engine
from phi2demo.errors import InputError
from phi2demo.evaluation.sureness import judged
from phi2demo.tasks.declarations import Declarations
from phi2demo.tasks.run import answer_all, run
from phi2demo.tasks.task import Progress, Request, Result


@dataclass(frozen=True)
class Asking:
    """One call of a command: all that its items have in common."""

    engine: Engine
    request: Request
    """Without its text."""
    declared: Declarations
    as_json: bool

    def about(self, text: str) -> Generator[Progress]:
        """The answer to one item."""
        return run(self.engine, replace(self.request, text=text))

    def noted(self, results: tuple[Result, ...]) -> tuple[Result, ...]:
        """With what an adapter was not finetuned for, and what was measured of answers as unsure as these."""
        return judged(self.declared.noted(self.request, results), self.engine.info)


def answer_text(asking: Asking, text: str, output: TextIO) -> None:
    """Write the answer to one text, as it comes where someone is watching."""
    stream = output.isatty() and not asking.as_json and len(asking.request.uses) == 1
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
    pace = 0.1 if sys.stderr.isatty() else 10.0
    bar = tqdm(lines, desc=asking.request.task, unit="line", file=sys.stderr, mininterval=pace)
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
        return [""] * len(asking.request.uses)
    blank: dict[str, Any] = {"text": "", "notes": [], "facts": [], "receipt": None}
    return [json.dumps({**blank, "use": use}) for use in asking.request.uses]


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
    return f"{result.use}: {text}" if len(results) > 1 else text


def _notes(results: tuple[Result, ...]) -> list[str]:
    return [_labelled(result, note, results) for result in results for note in result.notes]
