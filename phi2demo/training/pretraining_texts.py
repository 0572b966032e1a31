"""Token streams on disk and the blocks drawn from them: every batch follows from (seed, step) alone.

That makes a resumed run see exactly the batches that an unbroken one would have seen.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phi2demo.data.corpus import SPLITS, Source, Split
from phi2demo.data.documents import split_sentences
from phi2demo.data.languages import LANGUAGES
from phi2demo.data.rows import Row
from phi2demo.engine.text_encoder import TextEncoder
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WEIGHTS = {
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
"""Share of the blocks drawn from each data set, by the start of its name; a set not named here gets `DEFAULT_WEIGHT`."""
DEFAULT_WEIGHT = 0.05

Tokens = NDArray[np.uint16]


def weight_of(name: str, overrides: Mapping[str, float]) -> float:
    """The weight of a data set: `overrides` first, then `WEIGHTS`, each by the start of the name."""
    for weights in (overrides, WEIGHTS):
        for prefix, weight in weights.items():
            if name.startswith(prefix):
                return weight
    return DEFAULT_WEIGHT


def write_stream(texts: Iterable[str], tokenizer: "PreTrainedTokenizerFast", path: Path, *, seed: int) -> int:
    """Tokenize `texts` in shuffled order into one uint16 file, each text ended by the end token; returns its length."""
    documents = list(texts)
    order = np.random.default_rng(seed).permutation(len(documents))
    end, encoder = tokenizer.eos_token_id, TextEncoder(tokenizer)
    total = 0
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for start in range(0, len(order), 4096):
            rows = encoder.encode_all([documents[i] for i in order[start : start + 4096]])
            ids = np.fromiter((i for row in rows for i in (*row, end)), dtype=np.uint16)
            ids.tofile(file)
            total += len(ids)
    part.rename(path)
    return total


@dataclass(frozen=True)
class Blocks:
    """Blocks of consecutive tokens drawn at random places from weighted streams."""

    streams: Mapping[str, Tokens]
    """By name of the data set."""
    weights: Sequence[float]
    """In the order of the streams."""
    seed: int

    def __post_init__(self) -> None:
        if not self.streams or sum(self.weights) <= 0:
            raise SettingsError(
                "No training text has a weight above 0. Give a folder with more text or other --mix weights."
            )

    def at(self, step: int, *, rows: int, length: int) -> NDArray[np.int64]:
        """The blocks of one step: int64 of shape (rows, length + 1), the last column only being a target."""
        random = np.random.default_rng([self.seed, step])
        chosen = random.choice(len(self.streams), size=rows, p=np.asarray(self.weights) / sum(self.weights))
        streams = list(self.streams.values())
        return self._draw([streams[index] for index in chosen], length, random)

    def of(self, name: str, *, rows: int, length: int) -> NDArray[np.int64]:
        """Blocks of one data set, the same every time, in the shape of `at`."""
        return self._draw([self.streams[name]] * rows, length, np.random.default_rng(self.seed))

    @staticmethod
    def _draw(streams: Sequence[Tokens], length: int, random: np.random.Generator) -> NDArray[np.int64]:
        blocks = np.empty((len(streams), length + 1), dtype=np.int64)
        for row, stream in enumerate(streams):
            start = int(random.integers(max(1, len(stream) - length)))
            block = stream[start : start + length + 1]
            blocks[row] = np.resize(block, length + 1)  # a stream shorter than a block is repeated
        return blocks


def plain_texts(source: Source, split: Split) -> Iterable[str]:
    """The rows of one split as plain documents; a translation pair gives one document in each direction."""
    form = PLAIN_FORMS[source.kind]
    return (text for row in source.rows[split] for text in form(row))


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
    """Label last, and label first: there every word of the review is learned in the light of the label."""
    label = "positive" if int(row["label"]) == 1 else "negative"
    return [f"Review: {row['text']}\nSentiment: {label}", f"A {label} review: {row['text']}"]


def _prose(row: Row) -> list[str]:
    return [row["text"]]


PLAIN_FORMS: dict[str, Callable[[Row], list[str]]] = {
    "translation": _translation,
    "summarization": _summarization,
    "question_answering": _question_answering,
    "simplification": _simplification,
    "sentiment": _sentiment,
    "prose": _prose,
}

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
