"""Metrics of answers: BLEU, chrF, ROUGE, accuracy, F1, exact match, bits per character, perplexity. Texts in, numbers out.

Every metric turns examples into sufficient statistics and their sums into a score; see `statistics`.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from phi2demo.data.languages import LANGUAGES
from phi2demo.evaluation.statistics import ScoreOfSums, Statistics
from phi2demo.tasks import TASKS
from phi2demo.tasks.declaration import METRICS
from phi2demo.tasks.own_task import OwnTask

References = Sequence[Sequence[str]]
"""Good answers, by example."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Metric:
    """A metric: from outputs and references to statistics, and from their sums to a score."""

    name: str
    title: str
    """For tables."""
    statistics: Callable[[Sequence[str], References], Statistics]
    """Of outputs and their references."""
    score: ScoreOfSums
    signature: str
    """Settings and version, which have to be the same for two scores to be comparable."""
    higher_is_better: bool = True
    digits: int = 1
    """After the decimal point, in tables."""
    of_baselines: bool = True
    """Whether a baseline that is no language model has a score too."""
    ratio: bool = False
    """Whether the score is the ratio of two sums; the second number of an item that was not scored is 0."""


METRICS_BY_KIND: dict[str, Callable[[References, Sequence[str]], tuple[Metric, ...]]] = {
    "translation": lambda references, labels: (_bleu(references), _chrf(references)),
    "summarization": lambda references, labels: _rouge_of(references),
    "sentiment": lambda references, labels: (_accuracy(), _macro_f1(labels)),
    "question_answering": lambda references, labels: (_exact_match(), _token_f1()),
    "generation": lambda references, labels: (_chrf(references),),
    "prose": lambda references, labels: (bits_per_character(), perplexity()),
    "continuation": lambda references, labels: (bits_per_character(), perplexity()),
}
"""The metrics of a kind of row, from references and the labels of the task; the first one stands for the test set.

assets/docs/evaluation.md lists them."""
ITEM_METRICS = {
    "translation": "chrf", "summarization": "rougeL", "sentiment": "accuracy", "question_answering": "f1",
}  # fmt: skip
"""By kind of row, the metric that says most about a single answer."""


def metrics_for(kind: str, references: References) -> tuple[Metric, ...]:
    """Choose the metrics for a kind of row, or for a declared task."""
    task = TASKS.get(kind)
    if isinstance(task, OwnTask):
        kind = METRICS[task.declaration.output][task.metric]
    return METRICS_BY_KIND[kind](references, task.labels if task else ())


def item_metric(kind: str, references: Sequence[str]) -> Metric:
    """Choose the metric for a single item of a kind; of a declared task the first."""
    metrics = metrics_for(kind, [references])
    return next((metric for metric in metrics if metric.name == ITEM_METRICS.get(kind)), metrics[0])


def metrics_of_one(kind: str, reference: str, *, english: bool = True) -> tuple[Metric, ...]:
    """Choose the metrics for a single answer; `english` says whether ROUGE can read the reference.

    BLEU uses the n-grams that a short text has, as sacrebleu's sentence_bleu does.
    """
    references, task = [[reference]], TASKS.get(kind)
    if kind == "translation":
        return _chrf(references), _bleu(references, effective_order=True)
    if kind == "summarization" and not english:
        return (_chrf(references),)
    return (_accuracy(),) if task and task.labels else metrics_for(kind, references)


def bits_per_character() -> Metric:
    """Score texts by likelihood; each output begins with two numbers, `bits characters`."""
    return Metric(
        "bits_per_character",
        "bits per character",
        lambda outputs, references: _numbers(outputs, 0, 1),
        _ratio,
        "negative log2-probability of all texts / their Unicode characters",
        higher_is_better=False,
        digits=3,
        ratio=True,
    )


def perplexity() -> Metric:
    """Score texts by the likelihood of their tokens; each output is three numbers, `bits characters tokens`."""
    return Metric(
        "perplexity",
        "perplexity per token",
        lambda outputs, references: _numbers(outputs, 0, 2),
        lambda sums: 2**bits if (bits := _ratio(sums)) < MAX_BITS else math.inf,
        "2 ** (negative log2-probability of all texts / their tokens, by the model's own tokenizer: comparable only "
        "between models that share it)",
        higher_is_better=False,
        digits=2,
        of_baselines=False,
        ratio=True,
    )


MAX_BITS = 1000
"""Bits of a token from which on a perplexity does not fit a float."""


def _ratio(sums: Statistics) -> float:
    """Divide the sums; NaN where nothing was scored."""
    return float(sums[0] / sums[1]) if sums[1] else math.nan


def _numbers(outputs: Sequence[str], *places: int) -> Statistics:
    rows = [output.split() for output in outputs]
    return np.array([[float(row[place]) for place in places] for row in rows])


def _of_sacrebleu(metric: Any, name: str, title: str, references: References) -> Metric:
    """Wrap a corpus metric of sacrebleu, with its own statistics of sentences."""
    rows = max(map(len, references))
    streams = _streams(references, rows)
    metric._cache_references(streams)  # sets the number of references, which the signature names

    def statistics(outputs: Sequence[str], references: References) -> Statistics:
        extracted = metric._extract_corpus_statistics(list(outputs), _streams(references, rows))
        return np.array(extracted, dtype=np.float64)

    def score(sums: Any) -> float:
        return float(metric._compute_score_from_stats(sums.tolist()).score)

    return Metric(name, title, statistics, score, metric.get_signature().format())


def _streams(references: References, count: int) -> list[list[str | None]]:
    """Turn the references of each example into `count` lists over all examples, as sacrebleu takes them."""
    return [[texts[index] if index < len(texts) else None for texts in references] for index in range(count)]


def _bleu(references: References, *, effective_order: bool = False) -> Metric:
    from sacrebleu.metrics.bleu import BLEU

    return _of_sacrebleu(BLEU(effective_order=effective_order), "bleu", "BLEU", references)


def _chrf(references: References) -> Metric:
    from sacrebleu.metrics.chrf import CHRF

    return _of_sacrebleu(CHRF(), "chrf", "chrF", references)


def _rouge(which: str, *, suffix: str = "", only_first: bool = False) -> tuple[Metric, ...]:
    """Make ROUGE-1, -2 and -L F of rouge-score, in percent, with Porter's stemmer; for English only: it drops other letters."""
    from rouge_score.rouge_scorer import RougeScorer

    names = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
    score = cache(RougeScorer(list(names), use_stemmer=True).score)  # it gives all three at once

    def statistics_of(name: str) -> Callable[[Sequence[str], References], Statistics]:
        def statistics(outputs: Sequence[str], references: References) -> Statistics:
            best = [
                max(score(text, output)[name].fmeasure for text in (texts[:1] if only_first else texts))
                for output, texts in zip(outputs, references, strict=True)
            ]
            return _mean(best)

        return statistics

    signature = f"rouge-score {version('rouge-score')}, F, stemmer, {which}"
    note = " (first reference)" if only_first else ""
    return tuple(
        Metric(f"{name}{suffix}", f"{title}{note}", statistics_of(name), _percent, f"{name}, {signature}")
        for name, title in names.items()
    )


def _rouge_of(references: References) -> tuple[Metric, ...]:
    several = any(len(texts) > 1 for texts in references)
    rouge = _rouge("best of references" if several else "one reference")
    return rouge + _rouge("first reference", suffix="_first", only_first=True) if several else rouge


def _accuracy() -> Metric:
    def statistics(outputs: Sequence[str], references: References) -> Statistics:
        return _mean([float(output == texts[0]) for output, texts in zip(outputs, references, strict=True)])

    return Metric("accuracy", "accuracy", statistics, _percent, "share of right labels, in percent")


def _macro_f1(labels: Sequence[str]) -> Metric:
    """Average over the labels that occur, from counts of expected and predicted labels; no answer counts as wrong."""

    def statistics(outputs: Sequence[str], references: References) -> Statistics:
        counts = np.zeros((len(outputs), len(labels), 3))
        for row, (output, texts) in enumerate(zip(outputs, references, strict=True)):
            for column, label in enumerate(labels):
                counts[row, column] = (output == texts[0] == label, output == label, texts[0] == label)
        return counts.reshape(len(outputs), -1)

    def score(sums: Any) -> float:
        right, predicted, expected = sums.reshape(len(labels), 3).T
        used = predicted + expected > 0
        return float(100 * np.mean(2 * right[used] / (predicted + expected)[used])) if used.any() else 0.0

    return Metric("macro_f1", "macro-F1", statistics, score, "mean over labels of F1, in percent")


def _exact_match() -> Metric:
    def statistics(outputs: Sequence[str], references: References) -> Statistics:
        pairs = zip(outputs, references, strict=True)
        return _mean([max(float(plain_answer(o) == plain_answer(text)) for text in texts) for o, texts in pairs])

    return Metric("exact_match", "exact match", statistics, _percent, "SQuAD v1.1 normalization, best of answers")


def _token_f1() -> Metric:
    def statistics(outputs: Sequence[str], references: References) -> Statistics:
        return _mean([max(token_f1(o, text) for text in texts) for o, texts in zip(outputs, references, strict=True)])

    return Metric("f1", "F1", statistics, _percent, "of words, SQuAD v1.1 normalization, best of answers")


def plain_answer(text: str) -> str:
    """Lower-case and remove punctuation and articles, as the SQuAD v1.1 script does (Rajpurkar et al., 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def token_f1(output: str, reference: str) -> float:
    """Compute F1 of the words of two answers, as the same script does, from 0 to 1."""
    words, expected = plain_answer(output).split(), plain_answer(reference).split()
    shared = (Counter(words) & Counter(expected)).total()
    return 2 * shared / (len(words) + len(expected)) if shared else 0.0


def _mean(values: Sequence[float]) -> Statistics:
    return np.array([[value, 1.0] for value in values])


def _percent(sums: Any) -> float:
    return float(100 * sums[0] / sums[1])


_MINUS = str.maketrans("-", "−")


def title_of_test_set(name: str) -> str:
    """Write the name of a test set for people: `English to German, tatoeba` for `translation.tatoeba.en-de`."""
    task, _, rest = name.partition(".")
    if task == "translation" and "." in rest:
        data, _, direction = rest.rpartition(".")
        source, _, target = direction.partition("-")
        if source in LANGUAGES and target in LANGUAGES:
            return f"{LANGUAGES[source]} to {LANGUAGES[target]}, {data}"
    title = TASKS[task].title if task in TASKS else task.capitalize()
    return f"{title}, {rest}" if rest else title


def metric_title(title: str, *, higher_is_better: bool) -> str:
    """Add to a metric's title where lower is better."""
    return title if higher_is_better else f"{title} (lower is better)"


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """Format a number, with a true minus sign and without a negative zero."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not text.strip("+-0."):
        text = text.strip("+-")
    return text.translate(_MINUS)
