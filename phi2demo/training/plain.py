"""Plain forms: the texts a base model is pretrained on, as a book or a web page might hold them.

No instruction template appears here, so that what finetuning adds can be seen and measured.
"""

from collections.abc import Callable, Iterable

from phi2demo.tasks.languages import LANGUAGES
from phi2demo.training.corpus import Source, Split
from phi2demo.training.rows import Row


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
