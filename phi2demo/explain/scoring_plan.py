"""What an explanation scores with a loaded model: pieces of the text, output tokens, units. Scores nothing itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from phi2demo.data.cleaning import clean
from phi2demo.engine.engine import Engine, Output, Tokens, Variant
from phi2demo.errors import InputError, SettingsError, quoted
from phi2demo.explain.attribution import OutputToken
from phi2demo.explain.request import EMPTY_OUTPUT, ExplainRequest
from phi2demo.explain.units import Unit, UnitKind, split
from phi2demo.tasks.request import language_of
from phi2demo.tasks.task import PromptLimit

MAX_UNITS = 3000
"""More units are refused: trees, LIME's fit and ranks take the square of the units, ten seconds and 400 MB for 3,000."""

Span = tuple[int, int]
UnitsByKind = Mapping[UnitKind, tuple[Unit, ...]]


@dataclass(frozen=True)
class ScoredOutput:
    """An output that is scored under the prompt of one piece of the text, and the columns that its values go to."""

    piece: int
    """The index of the piece."""
    variant: Variant
    ids: tuple[int, ...]
    first: int
    """The index of the first token that is explained; the tokens before it are given."""
    last: int
    """One more than the index of the last token that is explained."""
    column: int
    """The column of the first explained token."""
    sign: int
    """-1 where its values count against the target."""


@dataclass(frozen=True)
class ScoringPlan:
    """What is scored, and how its values are laid out in columns."""

    pieces: tuple[Span, ...]
    """Spans of the text as the model reads it; each has its own prompt."""
    outputs: tuple[ScoredOutput, ...]
    tokens: tuple[OutputToken, ...]
    """The output token of each column."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Target:
    """The tokens `first` to `last` of an output."""

    piece: int
    output: Tokens
    first: int
    last: int
    is_contrast: bool = False


def make_scoring_plan(engine: Engine, request: ExplainRequest) -> ScoringPlan:
    """Plan what to score for a request.

    Raises InputError where the text does not fit the model, SettingsError where the target is outside the output or a
    variant is not loaded.
    """
    for variant in request.variants:
        engine.info.check_variant(variant)
    outputs = _tokenized(engine, request.outputs)
    pieces, notes = _pieces(engine, request, outputs)
    targets = _targets(request, outputs)
    if request.instead is not None:
        targets.append(_contrast(engine, request.instead, targets))
    scored: list[ScoredOutput] = []
    tokens: list[OutputToken] = []
    for target in targets:
        ids = target.output.ids[: target.last]
        for variant in request.variants:
            is_subtracted = request.of == "difference" and variant == "base"
            sign = 1 if target.is_contrast == is_subtracted else -1
            scored.append(ScoredOutput(target.piece, variant, ids, target.first, target.last, len(tokens), sign))
        tokens += _output_tokens(target)
    return ScoringPlan(pieces, tuple(scored), tuple(tokens), notes)


def output_tokens(engine: Engine, outputs: Sequence[Output]) -> tuple[OutputToken, ...]:
    """Return the tokens of an output; `ExplainRequest.target` holds indices of this tuple."""
    return tuple(
        token
        for piece, output in enumerate(_tokenized(engine, outputs))
        for token in _output_tokens(_Target(piece, output, 0, len(output.ids)))
    )


def units_by_kind(engine: Engine, request: ExplainRequest) -> UnitsByKind:
    """Return the units of each kind that has at most MAX_UNITS of them, finest first.

    Raises InputError where the kind asked for has more; with "auto", where every kind has more.
    """
    units = {kind: units_of(engine, request, kind) for kind in get_args(UnitKind)}
    few_enough = {kind: parts for kind, parts in units.items() if len(parts) <= MAX_UNITS}
    asked = "paragraphs" if request.units == "auto" else request.units
    if not few_enough or (request.units != "auto" and asked not in few_enough):
        advice = "Explain" if asked == "paragraphs" else "Take coarser units or explain"
        raise InputError(
            f"The text has {len(units[asked]):,} {asked}; at most {MAX_UNITS:,} can be told apart. "
            f"{advice} a shorter part of it."
        )
    return few_enough


def units_of(engine: Engine, request: ExplainRequest, kind: UnitKind) -> tuple[Unit, ...]:
    """Split the person's text into units of a kind."""
    spans = engine.tokens(request.text_read).spans if kind == "tokens" else ()
    return split(
        request.text,
        kind,
        read=request.text_read,
        edges=request.edges,
        tokens=spans,
        language=language_of(request.options),
    )


def _tokenized(engine: Engine, outputs: Sequence[Output]) -> list[Tokens]:
    """Return outputs as tokens, without the special ones at their ends."""
    tokenized = []
    for output in outputs:
        ids = engine.tokens(output).ids if isinstance(output, str) else output
        tokens = engine.tokens(ids)
        spans = list(tokens.spans)
        while spans and spans[-1][0] == spans[-1][1]:
            spans.pop()
        tokenized.append(Tokens(tokens.text, tokens.ids[: len(spans)], tuple(spans)))
    if not any(tokens.ids for tokens in tokenized):
        raise InputError(EMPTY_OUTPUT)
    return tokenized


def _targets(request: ExplainRequest, outputs: Sequence[Tokens]) -> list[_Target]:
    """Return the part of the target in each output that holds one."""
    count = sum(len(output.ids) for output in outputs)
    first, last = request.target or (0, count)
    if last > count:
        raise SettingsError(f"target is {request.target}, but the output has {count} tokens; the last is {count - 1}.")
    targets, offset = [], 0
    for piece, output in enumerate(outputs):
        start, end = max(first - offset, 0), min(last - offset, len(output.ids))
        offset += len(output.ids)
        if start < end:
            targets.append(_Target(piece, output, start, end))
    return targets


def _contrast(engine: Engine, instead: str, targets: Sequence[_Target]) -> _Target:
    """Return the same output up to the target, continued with the text that is typed instead."""
    target, *others = targets
    if others:
        raise SettingsError(
            "The target lies in several pieces of the output, which have prompts of their own. "
            "Pick words of one sentence to say what should stand instead."
        )
    output, first, last = target.output, target.first, target.last
    text = output.text[output.spans[first][0] : output.spans[last - 1][1]]
    space = text[: len(text) - len(text.lstrip())]
    typed = engine.tokens(space + clean(instead))
    ids = (*output.ids[:first], *typed.ids)
    if ids == output.ids[:last]:
        raise InputError(f"{quoted(instead)} is what the output says. Type something else to compare it with.")
    contrast = Tokens(typed.text, ids, ((0, 0),) * first + typed.spans)
    return _Target(target.piece, contrast, first, len(ids), is_contrast=True)


def _output_tokens(target: _Target) -> list[OutputToken]:
    output = target.output
    side: Literal["output", "contrast"] = "contrast" if target.is_contrast else "output"
    return [
        OutputToken(output.ids[index], output.text[start:end], start, end, target.piece, side)
        for index, (start, end) in enumerate(output.spans[: target.last])
        if index >= target.first
    ]


def _pieces(
    engine: Engine, request: ExplainRequest, outputs: Sequence[Tokens]
) -> tuple[tuple[Span, ...], tuple[str, ...]]:
    """Cut the text as the task cuts it, where there is an output for each piece; else keep the whole text in one prompt.

    Returns the pieces and notes on them.
    """
    text = request.text_read
    reserved = max(len(output.ids) for output in outputs)
    template = request.asked.template(request.variants[0])
    limit = PromptLimit(engine.count_tokens, engine.info.context - reserved, reserved, template)
    cut = request.asked.task.pieces(text, request.options, limit)
    if len(cut.texts) == len(outputs):
        return _located(text, cut.texts), ()
    if len(outputs) > 1:
        raise InputError(
            f"The output has {len(outputs)} pieces, but the task cuts this text into {len(cut.texts)}. "
            "Explain the text that the output was made from."
        )
    prompts = [request.asked.prompt(text, variant) for variant in request.variants]
    if not all(map(limit.fits, prompts)):
        longest = max(map(engine.count_tokens, prompts))
        raise InputError(
            f"Text, instruction and output have {longest + reserved} tokens together; an explanation "
            f"reads them in one go, and this model reads at most {engine.info.context}. Explain a shorter part of it."
        )
    note = f"The task reads this text {cut.noun} by {cut.noun}; here the output is scored under the whole text."
    return ((0, len(text)),), (note,)


def _located(text: str, pieces: Sequence[str]) -> tuple[Span, ...]:
    """Return the spans of pieces that follow each other in `text`."""
    spans, end = [], 0
    for piece in pieces:
        start = text.index(piece, end)
        end = start + len(piece)
        spans.append((start, end))
    return tuple(spans)
