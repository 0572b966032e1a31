"""Pretraining texts: rows of the corpus as plain documents, and summaries taken out of prose. Knows no tokens."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from phi2demo.data.corpus import SPLITS, Source, Split
from phi2demo.data.documents import split_sentences
from phi2demo.data.languages import LANGUAGES
from phi2demo.data.rows import Row, sentiment_of

DATA_SET_WEIGHTS = {
    "gap_sentences.wikipedia2015_leads": 0.12,
    "gap_sentences.onestop_english": 0.02,
    "gap_sentences.": 0.0,
    "tatoeba": 0.16,
    "african_storybook.en-fr": 0.01,
    "tinystories": 0.08,
    "wikipedia2015_leads": 0.10,
    "gutenberg_children": 0.05,
    "english_novels": 0.02,
    "onestop_english": 0.02,
    "african_storybook_en": 0.02,
    "wikipedia2015_first_sentence": 0.09,
    "scitldr": 0.03,
    "rt_polarity": 0.05,
    "squad": 0.05,
    "onestop_adv_ele": 0.02,
}
"""Share of the blocks drawn from each data set, by the start of its name; other data sets get `DEFAULT_WEIGHT`."""
DEFAULT_WEIGHT = 0.05

GAP_SENTENCES = "gap_sentences."
"""Start of the name of a data set of summaries that were taken out of prose; the name of the prose follows."""
MIN_SENTENCES = 4
MIN_SUMMARY_WORDS = 6
MAX_SUMMARY_WORDS = 40
MAX_CHARACTERS = 2000
"""Of a text from which a summary is taken; a longer text is cut at the end of a sentence."""

_WORD = re.compile(r"\w+")


def data_set_weight(name: str, overrides: Mapping[str, float]) -> float:
    """Return the weight of a data set: from `overrides`, else from `DATA_SET_WEIGHTS`, by the start of its name."""
    for weights in (overrides, DATA_SET_WEIGHTS):
        for prefix, weight in weights.items():
            if name.startswith(prefix):
                return weight
    return DEFAULT_WEIGHT


def plain_documents(source: Source, split: Split) -> Iterable[str]:
    """Return the rows of one split as plain documents, for a translation pair one in each direction."""
    make = DOCUMENT_MAKERS[source.kind]
    return (document for row in source.rows[split] for document in make(row))


def _translation(row: Row) -> list[str]:
    ends = [(LANGUAGES[row["source_lang"]], row["source"]), (LANGUAGES[row["target_lang"]], row["target"])]
    return [f"{a}: {text_a}\n{b}: {text_b}" for (a, text_a), (b, text_b) in (ends, ends[::-1])]


def _summarization(row: Row) -> list[str]:
    return [f"{row['document']}\n\nIn short: {row['summary']}"]


def _question_answering(row: Row) -> list[str]:
    answers = row["answers"]
    return [f"{row['context']}\n\nQuestion: {row['question']}\nAnswer: {answers[0]['text']}"] if answers else []


def _simplification(row: Row) -> list[str]:
    return [f"Original: {row['source']}\nIn simple words: {row['target']}"]


def _sentiment(row: Row) -> list[str]:
    """Put the label last, and first: every word of the review is then learned given its label."""
    label = sentiment_of(row)
    return [f"Review: {row['text']}\nSentiment: {label}", f"A {label} review: {row['text']}"]


def _prose(row: Row) -> list[str]:
    return [row["text"]]


DOCUMENT_MAKERS: dict[str, Callable[[Row], list[str]]] = {
    "translation": _translation,
    "summarization": _summarization,
    "question_answering": _question_answering,
    "simplification": _simplification,
    "sentiment": _sentiment,
    "prose": _prose,
}
"""By the kind of a row, a function that returns the documents made of it."""


def gap_sentences(source: Source) -> Source:
    """Make a data set of summaries from prose; texts with too few sentences are left out.

    The gap sentences of PEGASUS (Zhang et al., 2020): the sentence that shares most words with the rest is the summary.
    """
    rows: dict[Split, tuple[Row, ...]] = {
        split: tuple(row for text in source.rows[split] if (row := take_out_summary(text["text"]))) for split in SPLITS
    }
    return Source(f"{GAP_SENTENCES}{source.name}", "summarization", rows)


def take_out_summary(text: str) -> Row | None:
    """Return the start of a text without its most typical sentence (`document`), and that sentence (`summary`)."""
    sentences = split_sentences(text[:MAX_CHARACTERS])
    if len(text) > MAX_CHARACTERS:
        sentences.pop()  # it is cut off
    if len(sentences) < MIN_SENTENCES:
        return None
    words = [Counter(_WORD.findall(sentence.casefold())) for sentence in sentences]
    total = sum(words, Counter[str]())
    scores = [
        _rouge_1(sentence, total - sentence) if MIN_SUMMARY_WORDS <= sentence.total() <= MAX_SUMMARY_WORDS else -1.0
        for sentence in words
    ]
    best = max(range(len(scores)), key=scores.__getitem__)
    if scores[best] <= 0:
        return None
    document = "".join(sentences[:best] + sentences[best + 1 :]).strip()
    return {"document": document, "summary": sentences[best].strip()}


def _rouge_1(words: Counter[str], other_words: Counter[str]) -> float:
    """Return the F measure of the words that two texts share."""
    return 2 * (words & other_words).total() / max(1, words.total() + other_words.total())
