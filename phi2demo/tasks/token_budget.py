"""How much of a text fits into one prompt beside its template and the output. Knows nothing of torch or of the page."""

from dataclasses import dataclass

from phi2demo.engine.engine import Engine, GenerationOptions
from phi2demo.errors import InputError
from phi2demo.tasks.request import Request
from phi2demo.tasks.task import AnyTask, PromptLimit

COUNTED_CHARACTERS = 100_000
"""The pieces of a longer text are not counted: that takes seconds, and is asked for at every key."""


@dataclass(frozen=True)
class TokenBudget:
    """What a text takes of the room there is."""

    tokens: int
    """Of the text as the model reads it."""
    limit: int | None = None
    """As many as the text may have; None where a longer one is read in pieces."""
    pieces: int | None = None
    """In which it is read; None where they were not counted."""
    noun: str = "piece"
    """What a piece is."""


def prompt_limit_of(engine: Engine, task: AnyTask, generation: GenerationOptions) -> PromptLimit:
    """The context less what is kept for the output."""
    context = engine.info.context
    if task.labels:
        return PromptLimit(
            engine.count_tokens, context - max(engine.count_tokens(f" {label}") for label in task.labels) - 1
        )
    reserved = min(generation.max_new_tokens, context // 2)
    return PromptLimit(engine.count_tokens, context - reserved, reserved)


def token_budget_for(engine: Engine, task: AnyTask, request: Request) -> TokenBudget:
    """What the text of a request, checked or not, takes."""
    read, budget = task.read(request), prompt_limit_of(engine, task, request.generation)
    tokens = engine.count_tokens(read.text)
    if not task.splits:
        around = engine.count_tokens(task.prompt(read.text, read.options)) - tokens
        return TokenBudget(tokens, max(0, budget.tokens - around))
    if len(read.text) > COUNTED_CHARACTERS:
        return TokenBudget(tokens)
    try:
        pieces = task.pieces(read.text, read.options, budget)
    except InputError:  # said when it is asked
        return TokenBudget(tokens)
    return TokenBudget(tokens, None, len(pieces.texts), pieces.noun)
