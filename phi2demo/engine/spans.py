"""Which characters of a text its tokens are of. Pure: knows no tokenizer."""

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"
"""What a decoder writes for bytes that are no whole character yet."""

Span = tuple[int, int]


def covering(offsets: Sequence[Span], length: int) -> tuple[Span, ...]:
    """A tokenizer's offsets as spans without gaps from 0 to `length`: each token holds the white space before it.

    A byte-level tokenizer can cut one character into several tokens: their spans overlap.
    """
    spans: list[Span] = []
    covered = 0
    for start, end in offsets:
        spans.append((min(start, covered), max(end, covered)))
        covered = spans[-1][1]
    if spans:
        spans[-1] = (spans[-1][0], length)
    return tuple(spans)


def decoded(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[str, tuple[Span, ...]]:
    """The text of token ids and each token's span in it; a special token, which has no text, has an empty span."""
    text = decode(ids)
    silent = [not decode([token]) for token in ids]
    ends = [0]
    for count in range(1, len(ids)):
        so_far = decode(ids[:count])
        whole = so_far if text.startswith(so_far) else so_far.rstrip(UNFINISHED)
        ends.append(max(len(whole), ends[-1]))
    ends.append(len(text))
    reached = list(ends)
    for at in range(len(ids) - 1, 0, -1):  # a part of a character belongs where the character is finished
        if ends[at] == ends[at - 1] and not silent[at - 1]:
            reached[at] = max(reached[at], reached[at + 1])
    spans: list[Span] = []
    for at, quiet in enumerate(silent):
        start, end = ends[at], ends[at] if quiet else reached[at + 1]
        if start == end and not quiet and spans:
            start = spans[-1][0]
        spans.append((start, end))
    return text, tuple(spans)
