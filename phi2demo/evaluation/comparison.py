"""One input answered by several models: the differences between the answers, and the scores of each against a reference.

Knows no page.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import combinations
from typing import Any, Literal

from phi2demo.data.checks import check_text
from phi2demo.data.cleaning import characters, clean
from phi2demo.data.languages import detect_language
from phi2demo.engine.engine import Variant
from phi2demo.errors import InputError, quoted
from phi2demo.evaluation.metrics import Metric, metrics_of_one
from phi2demo.tasks import TASKS
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Result

Kind = Literal["same", "gone", "new"]

MOST_WORDS = 3000
"""In longer texts, words that make up more than a hundredth of all are not matched alone: that takes minutes."""

_INSIDE = "'’-.,:/"
"""Characters that belong to a word where they stand inside one: isn't, 3.5, well-known."""


@dataclass(frozen=True)
class Change:
    """A run of words that both texts have (same), that only the first has (gone), or only the second (new)."""

    kind: Kind
    text: str
    """With the white space before it, as it stands in its text."""


@dataclass(frozen=True)
class _Word:
    text: str
    space: str
    """White space before it."""

    @property
    def key(self) -> str:
        """The normalized text that is compared: an accented letter may be one character or two."""
        return unicodedata.normalize("NFC", self.text)


def differences(before: str, after: str) -> tuple[Change, ...]:
    """Compare two texts by words; white space is not compared.

    The same and new words, joined, are exactly `after`, except for white space at its end. A few shared words between
    longer changes count as changed, as in diff-match-patch's semantic clean-up (Fraser, 2006): else two different
    sentences would share their articles.
    """
    old, new = _words(before), _words(after)
    matcher = SequenceMatcher(
        None, [word.key for word in old], [word.key for word in new], autojunk=max(len(old), len(new)) > MOST_WORDS
    )
    runs = [(old[a1:a2], new[b1:b2], tag == "equal") for tag, a1, a2, b1, b2 in matcher.get_opcodes()]
    return tuple(_changes(_without_islands(runs)))


def shared(changes: Sequence[Change]) -> float:
    """Compute the share of words that both texts have, of all words of both, from 0 to 1; 1 where both are empty."""
    words = {
        kind: sum(len(_words(change.text)) for change in changes if change.kind == kind)
        for kind in ("same", "gone", "new")
    }
    total = 2 * words["same"] + words["gone"] + words["new"]
    return 2 * words["same"] / total if total else 1.0


_Run = tuple[list[_Word], list[_Word], bool]
"""Words of the first text, of the second, and whether they are the same."""


def _without_islands(runs: list[_Run]) -> list[_Run]:
    """Merge shared runs that are no longer than the changes on both sides, until there are none."""
    index = 1
    while index < len(runs) - 1:
        old, new, same = runs[index]
        if same and _length(new) <= min(_extent(runs[index - 1]), _extent(runs[index + 1])):
            (old1, new1, _), (old2, new2, _) = runs[index - 1], runs[index + 1]
            runs[index - 1 : index + 2] = [(old1 + old + old2, new1 + new + new2, False)]
            index = max(1, index - 2)
        else:
            index += 1
    return runs


def _extent(run: _Run) -> int:
    return max(_length(run[0]), _length(run[1]))


def _length(words: Sequence[_Word]) -> int:
    return sum(len(word.text) for word in words)


def _changes(runs: Sequence[_Run]) -> Iterator[Change]:
    for old, new, same in runs:
        if same:
            yield Change("same", _joined(new))
            continue
        if old:
            yield Change("gone", _joined(old))
        if new:
            yield Change("new", _joined(new))


def _joined(words: Sequence[_Word]) -> str:
    return "".join(word.space + word.text for word in words)


def _words(text: str) -> list[_Word]:
    """Split into words, punctuation marks and emoji, never inside what is read as one character."""
    words: list[_Word] = []
    space = ""
    clusters = characters(text)
    for place, cluster in enumerate(clusters):
        if cluster.isspace():
            space += cluster
            continue
        following = clusters[place + 1] if place + 1 < len(clusters) else ""
        last = words[-1].text if words and not space else ""
        if _continues(last, cluster, following):
            words[-1] = _Word(last + cluster, words[-1].space)
        else:
            words.append(_Word(cluster, space))
            space = ""
    return words


def _continues(word: str, cluster: str, following: str) -> bool:
    """Say whether a cluster belongs to the word before it."""
    if not word or not (word[0].isalnum() or word[0] == "_"):
        return False
    return cluster[0].isalnum() or cluster == "_" or (cluster in _INSIDE and following[:1].isalnum())


FORMAT = 2
Anchor = str
"""What an answer is compared with: the answer of another variant, or the reference."""


@dataclass(frozen=True)
class AnswerScore:
    """A score of one answer against the reference. Higher is better."""

    name: str
    title: str
    value: float
    """In percent."""
    signature: str
    digits: int


@dataclass(frozen=True)
class Comparison:
    """The answers to one request, with their scores."""

    request: Request
    results: tuple[Result, ...]
    reference: str | None
    """A good answer, where the person gave one."""
    scores: dict[Variant, tuple[AnswerScore, ...]]
    """Against the reference; empty without one."""

    def text_of(self, anchor: Anchor) -> str | None:
        """Look up an answer or the reference; None where there is none."""
        if anchor == "reference":
            return self.reference
        return next((result.text for result in self.results if result.variant == anchor), None)

    def changes(self, variant: Variant, anchor: Anchor) -> tuple[Change, ...]:
        """Compare the answer of `variant` with `anchor`; both have to exist."""
        before, after = self.text_of(anchor), self.text_of(variant)
        assert before is not None
        assert after is not None
        return differences(before, after)

    def as_dict(self) -> dict[str, Any]:
        """Give JSON values: the request, every answer with its receipt and scores, and the differences between any two."""
        variants = [result.variant for result in self.results]
        pairs: list[tuple[Anchor, Variant]] = [*combinations(variants, 2)]
        if self.reference is not None:
            pairs += [("reference", variant) for variant in variants]
        return {
            "format": FORMAT,
            "task": self.request.task,
            "text": self.request.text,
            "options": asdict(self.request.options),
            "reference": self.reference,
            "answers": [
                result.as_dict() | {"scores": [asdict(score) for score in self.scores.get(result.variant, ())]}
                for result in self.results
            ],
            "differences": [self._difference(anchor, variant) for anchor, variant in pairs],
        }

    def _difference(self, anchor: Anchor, variant: Variant) -> dict[str, Any]:
        changes = self.changes(variant, anchor)
        return {
            "from": anchor,
            "to": variant,
            "shared": round(shared(changes), 4),
            "changes": [asdict(change) for change in changes],
        }


def check_reference(task: str, typed: object) -> str | None:
    """Check and clean a reference as typed; None where it is empty. InputError where it cannot be an answer of the task."""
    if typed is None or (isinstance(typed, str) and not typed.strip()):
        return None
    text = clean(check_text(typed, what="good answer"))
    labels = {label.casefold(): label for label in TASKS[task].labels}
    if labels and text.casefold() not in labels:
        raise InputError(f"The good answer is {quoted(text)}; for this task it is {' or '.join(labels.values())}.")
    return labels.get(text.casefold(), text)


def compare(request: Request, results: Sequence[Result], reference: str | None) -> Comparison:
    """Compare the answers to `request` with each other and, where there is one, with a checked reference."""
    scores: dict[Variant, tuple[AnswerScore, ...]] = {}
    if reference is not None:
        english = request.task != "summarization" or detect_language(reference) in ("en", None)
        metrics = metrics_of_one(request.task, reference, english=english)
        scores = {
            result.variant: tuple(_score(metric, result.text, reference) for metric in metrics) for result in results
        }
    return Comparison(request, tuple(results), reference, scores)


def _score(metric: Metric, output: str, reference: str) -> AnswerScore:
    value = metric.score(metric.statistics([output], [[reference]]).sum(0))
    return AnswerScore(metric.name, metric.title, value, metric.signature, metric.digits)
