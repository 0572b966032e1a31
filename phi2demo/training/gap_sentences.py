"""Summaries made from prose: the sentence that says most of what the rest of a text says, taken out of it.

Gap-sentence generation after Zhang et al., "PEGASUS: Pre-training with Extracted Gap-sentences for Abstractive
Summarization" (2020): the sentence with the highest ROUGE-1 F against the rest of the text.
"""

import re
from collections import Counter

from phi2demo.tasks.documents import split_sentences
from phi2demo.training.corpus import SPLITS, Source, Split
from phi2demo.training.rows import Row

PREFIX = "gap_sentences."
"""Of the name of a data set made here, before that of the prose it was made from."""
MIN_SENTENCES = 4
MIN_WORDS = 6
"""In the sentence taken out."""
MAX_WORDS = 40
MAX_CHARACTERS = 2000
"""Of a text; a longer one is cut at a sentence end."""

_WORD = re.compile(r"\w+")


def gap_sentences(source: Source) -> Source:
    """The prose of `source` as rows with `document` and `summary`; texts of too few sentences give none."""
    rows: dict[Split, tuple[Row, ...]] = {
        split: tuple(row for text in source.rows[split] if (row := take_out(text["text"]))) for split in SPLITS
    }
    return Source(f"{PREFIX}{source.name}", "summarization", rows)


def take_out(text: str) -> Row | None:
    """The start of a text without its most telling sentence (`document`), and that sentence (`summary`)."""
    sentences = split_sentences(text[:MAX_CHARACTERS])
    if len(text) > MAX_CHARACTERS:
        sentences.pop()  # cut off in its middle
    if len(sentences) < MIN_SENTENCES:
        return None
    words = [Counter(_WORD.findall(sentence.casefold())) for sentence in sentences]
    total = sum(words, Counter[str]())
    scores = [_rouge_1(one, total - one) if MIN_WORDS <= one.total() <= MAX_WORDS else -1.0 for one in words]
    best = max(range(len(scores)), key=scores.__getitem__)
    if scores[best] <= 0:
        return None
    document = "".join(sentences[:best] + sentences[best + 1 :]).strip()
    return {"document": document, "summary": sentences[best].strip()}


def _rouge_1(one: Counter[str], other: Counter[str]) -> float:
    """F measure of the words that two texts share."""
    return 2 * (one & other).total() / max(1, one.total() + other.total())
