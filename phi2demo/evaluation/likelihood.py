"""How many bits a model needs for a text. Knows nothing of tasks or files."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phi2demo.engine.engine import END_OF_TEXT, Engine, Prompt, Use

_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True)
class Likelihood:
    """Of a text under a model."""

    bits: float
    """Negative log2-probability."""
    tokens: int
    """That it was scored as."""


def text_bits(engine: Engine, texts: Sequence[str], *, use: Use, adapter_strength: float = 1.0) -> list[Likelihood]:
    """Of each whole text, the first token given the end of another text.

    A text longer than the context is cut between words into parts of about half a context. The first part is scored
    from the start, each later one after the part before it, so that every token is scored once and, but for the first
    part's, after at least half a context of what precedes it.
    """
    prompts, outputs, owners = [], [], []
    for owner, text in enumerate(texts):
        parts = cut(text, count=engine.count_tokens, limit=engine.info.context - 1, part=engine.info.context // 2 - 1)
        for before, part in zip((END_OF_TEXT, *parts), parts, strict=False):
            prompts.append(Prompt(before, use))
            outputs.append(part)
            owners.append(owner)
    bits, tokens = [0.0] * len(texts), [0] * len(texts)
    scores = engine.score(prompts, outputs, adapter_strength=adapter_strength)
    for owner, score in zip(owners, scores, strict=True):
        bits[owner] -= score.total / math.log(2)
        tokens[owner] += len(score.token_ids)
    return [Likelihood(*each) for each in zip(bits, tokens, strict=True)]


def cut(text: str, *, count: Callable[[str], int], limit: int, part: int) -> list[str]:
    """`text` whole if it has at most `limit` tokens, else in parts of at most `part`; joined, they are `text`."""
    if count(text) <= limit:
        return [text]
    parts = [""]
    used = 0
    for word in _WORD.findall(text):
        for piece in _halved(word, count, part):
            size = count(piece)
            if used + size > part and parts[-1]:
                parts.append("")
                used = 0
            parts[-1] += piece
            used += size
    return parts


def _halved(word: str, count: Callable[[str], int], limit: int) -> list[str]:
    if len(word) < 2 or count(word) <= limit:
        return [word]
    middle = len(word) // 2
    return _halved(word[:middle], count, limit) + _halved(word[middle:], count, limit)
