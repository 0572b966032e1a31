"""A request against a loaded model: which prompts, which output tokens, which units. Nothing is scored here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from phi2demo.data.cleaning import clean
from phi2demo.engine.engine import Engine, Output, Tokens
from phi2demo.errors import InputError, SettingsError
from phi2demo.explain.attribution import OutputToken
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.units import Unit, UnitKind, split
from phi2demo.explain.value_function import ScoredOutput
from phi2demo.tasks.request import language_of
from phi2demo.tasks.run import task_named
from phi2demo.tasks.task import PromptLimit

MAX_UNITS = 3000
"""More are refused: trees, LIME's fit and ranks take the square of the units, of 3,000 about ten seconds and 400 MB."""


@dataclass(frozen=True)
class ScoringPlan:
    """What is scored, and how its values are laid out."""

    pieces: tuple[tuple[int, int], ...]
    """Spans of the text, each with a prompt of its own."""
    outputs: tuple[ScoredOutput, ...]
    tokens: tuple[OutputToken, ...]
    """Of the columns."""
    notes: tuple[str, ...]


def output_tokens(engine: Engine, outputs: Sequence[Output]) -> tuple[OutputToken, ...]:
    """The tokens of an output, to pick a target from: the place in this tuple is what `ExplainRequest.target` counts."""
    return tuple(
        OutputToken(token, read.text[start:end], start, end, piece)
        for piece, read in enumerate(_read(engine, outputs))
        for token, (start, end) in zip(read.ids, read.spans, strict=True)
    )


def units_of(engine: Engine, request: ExplainRequest, kind: UnitKind) -> tuple[Unit, ...]:
    """The units of the person's text."""
    spans = engine.tokens(request.text_read).spans if kind == "tokens" else ()
    return split(
        request.text,
        kind,
        read=request.text_read,
        edges=request.edges,
        tokens=spans,
        language=language_of(request.options),
    )


def units_by_kind(engine: Engine, request: ExplainRequest) -> dict[UnitKind, tuple[Unit, ...]]:
    """Units of each kind that has few enough of them, finest first.

    InputError where the kind asked for has too many; with "auto" where every kind has.
    """
    if request.units != "auto" and (count := len(units_of(engine, request, request.units))) > MAX_UNITS:
        raise _too_many(request.units, count)
    units = {kind: units_of(engine, request, kind) for kind in get_args(UnitKind)}
    few = {kind: found for kind, found in units.items() if len(found) <= MAX_UNITS}
    if not few:
        raise _too_many("paragraphs", len(units["paragraphs"]))
    return few


def resolve(engine: Engine, request: ExplainRequest) -> ScoringPlan:
    """InputError where the text does not fit or the target is not there, SettingsError where the weights are not."""
    for variant in request.variants:
        engine.info.check_variant(variant)
    read = _read(engine, request.outputs)
    pieces, notes = _pieces(engine, request, read)
    count = sum(len(each.ids) for each in read)
    first, last = request.target or (0, count)
    if last > count:
        raise SettingsError(f"target is {request.target}, but the output has {count} tokens; the last is {count - 1}.")
    outputs: list[ScoredOutput] = []
    columns: list[OutputToken] = []
    offset = 0
    for piece, each in enumerate(read):
        start, end = max(first - offset, 0), min(last - offset, len(each.ids))
        offset += len(each.ids)
        if start < end:
            _add(request, outputs, columns, piece=piece, read=each, chosen=(start, end))
    if request.instead is not None:
        _add_contrast(engine, request, outputs, columns, read)
    return ScoringPlan(pieces, tuple(outputs), tuple(columns), notes)


def _too_many(kind: UnitKind, count: int) -> InputError:
    advice = "Explain" if kind == "paragraphs" else "Take coarser units or explain"
    return InputError(
        f"The text has {count:,} {kind}; at most {MAX_UNITS:,} can be told apart. {advice} a shorter part of it."
    )


def _add(
    request: ExplainRequest,
    outputs: list[ScoredOutput],
    columns: list[OutputToken],
    *,
    piece: int,
    read: Tokens,
    chosen: tuple[int, int],
    is_contrast: bool = False,
) -> None:
    """Score the chosen tokens of an output under every use, into columns of their own."""
    for variant in request.variants:
        sign = -1 if is_contrast else 1
        if request.of == "difference" and variant == "base":
            sign = -sign
        outputs.append(ScoredOutput(piece, variant, read.ids[: chosen[1]], *chosen, len(columns), sign))
    for at in range(*chosen):
        start, end = read.spans[at]
        columns.append(
            OutputToken(read.ids[at], read.text[start:end], start, end, piece, "that" if is_contrast else "this")
        )


def _add_contrast(
    engine: Engine,
    request: ExplainRequest,
    outputs: list[ScoredOutput],
    columns: list[OutputToken],
    read: Sequence[Tokens],
) -> None:
    """The other side: the same output up to the target, and then what was typed instead."""
    assert request.instead is not None
    this = outputs[0]
    if {output.piece for output in outputs} != {this.piece}:
        raise SettingsError(
            "The target lies in several pieces of the output, which have prompts of their own. "
            "Pick words of one sentence to say what should stand instead."
        )
    target = read[this.piece].text[columns[0].start : columns[-1].end]
    space = target[: len(target) - len(target.lstrip())]
    typed = engine.tokens(space + clean(request.instead))
    ids = (*this.ids[: this.first], *typed.ids)
    if ids == this.ids:
        raise InputError(f"{request.instead!r} is what the output says. Type something else to compare it with.")
    spans = ((0, 0),) * this.first + typed.spans
    _add(
        request,
        outputs,
        columns,
        piece=this.piece,
        read=Tokens(typed.text, ids, spans),
        chosen=(this.first, len(ids)),
        is_contrast=True,
    )


def _read(engine: Engine, outputs: Sequence[Output]) -> list[Tokens]:
    """Outputs as tokens, without the special ones at their ends."""
    read = []
    for output in outputs:
        ids = engine.tokens(output).ids if isinstance(output, str) else output
        tokens = engine.tokens(ids)
        spans = list(tokens.spans)
        while spans and spans[-1][0] == spans[-1][1]:
            spans.pop()
        read.append(Tokens(tokens.text, tokens.ids[: len(spans)], tuple(spans)))
    if not any(each.ids for each in read):
        raise InputError("The output is empty, so there is nothing to explain. Ask the model first, or type an output.")
    return read


def _pieces(
    engine: Engine, request: ExplainRequest, read: Sequence[Tokens]
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Where the text is cut as the task cuts it, if there is an output for each; else the whole text in one prompt."""
    text, whole = request.text_read, ((0, len(request.text_read)),)
    reserved = max(len(each.ids) for each in read)
    budget = PromptLimit(engine.count_tokens, engine.info.context - reserved, reserved)
    task = task_named(request.task)
    cut = task.pieces(text, request.options, budget)
    if len(cut.texts) == len(read):
        return _located(text, cut.texts), ()
    if len(read) > 1:
        raise InputError(
            f"The output has {len(read)} pieces, but the task cuts this text into {len(cut.texts)}. "
            "Explain the text that the output was made from."
        )
    prompts = [request.prompt(text, variant) for variant in request.variants]
    if not all(map(budget.fits, prompts)):
        longest = max(map(engine.count_tokens, prompts))
        raise InputError(
            f"Text, instruction and output have {longest + reserved} tokens together; an explanation "
            f"reads them in one go, and this model reads at most {engine.info.context}. Explain a shorter part of it."
        )
    return whole, (
        f"The task reads this text {cut.noun} by {cut.noun}; here the output is scored under the whole text.",
    )


def _located(text: str, pieces: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The spans of pieces that follow each other in `text`."""
    spans = []
    at = 0
    for piece in pieces:
        start = text.index(piece, at)
        at = start + len(piece)
        spans.append((start, at))
    return tuple(spans)
