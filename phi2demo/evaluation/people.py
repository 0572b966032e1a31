"""What people score against one another, where several of them answered the same. Knows no model.

The second answer is taken for an output and scored against the others, as Rajpurkar et al., "SQuAD: 100,000+ Questions
for Machine Comprehension of Text" (2016), measure human performance; the models are scored on the same items against the
same others. It says how far a score can tell answers apart at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from phi2demo.data.cleaning import clean
from phi2demo.evaluation.datasets import Item, Measure
from phi2demo.evaluation.figures import Scored
from phi2demo.evaluation.forms import FormName
from phi2demo.evaluation.slices import LEAST_TO_RANK, text_of
from phi2demo.evaluation.statistics import Resamples
from phi2demo.training.corpus import fingerprint

PERSON = "person"
"""Among the peers of a figure."""


@dataclass(frozen=True)
class SecondAnswers:
    """The items of a measure that a second person answered."""

    measure: Measure
    """Of these items alone; their references are without that answer."""
    places: tuple[int, ...]
    """Of the items in the whole measure."""
    answers: tuple[str, ...]
    groups: tuple[int, ...]
    """Of the items, as numbers from 0: those of the same text are resampled together."""

    def describe(self, outputs: Mapping[FormName, Sequence[str]], *, resamples: int, seed: int) -> dict[str, Any]:
        """Figures as JSON values, of the person and of each form; `outputs` are those of the whole measure."""
        own = {form: [texts[place] for place in self.places] for form, texts in outputs.items()}
        drawn = Resamples.draw_groups(self.groups, resamples=resamples, seed=seed)
        figures = Scored.of(self.measure, own).figures(drawn, peers={PERSON: self.answers})
        return {"n": len(self.places), "figures": figures}


def second_answers(measure: Measure) -> SecondAnswers | None:
    """None where there are too few to rank anything by."""
    found = _other_translations(measure) if measure.kind == "translation" else _second_of_each(measure)
    if len(found) < LEAST_TO_RANK:
        return None
    places, answers, items = zip(*found, strict=True)
    texts = [fingerprint(text_of(item.row, measure.kind)) for item in items]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return SecondAnswers(replace(measure, items=items), places, answers, tuple(numbers[text] for text in texts))


def _other_translations(measure: Measure) -> list[tuple[int, str, Item]]:
    """Of each row that another translates too: that one, the first for the last; its own stays the reference."""
    same: dict[bytes, dict[str, int]] = {}
    for place, item in enumerate(measure.items):
        same.setdefault(fingerprint(text_of(item.row, measure.kind)), {}).setdefault(item.references[0], place)
    others = {}
    for targets in same.values():
        texts = list(targets)
        for at, text in enumerate(texts if len(texts) > 1 else ()):
            others[targets[text]] = texts[(at + 1) % len(texts)]
    return [(place, others[place], measure.items[place]) for place in sorted(others)]


def _second_of_each(measure: Measure) -> list[tuple[int, str, Item]]:
    """Of each item that has several answers, which may be the same: the second; the others stay references."""
    found = []
    for place, item in enumerate(measure.items):
        first, *others = _answers(item, measure.kind)
        if others:
            left = tuple(dict.fromkeys((first, *others[1:])))
            found.append((place, others[0], replace(item, references=left)))
    return found


def _answers(item: Item, kind: str) -> list[str]:
    """All that people gave; of a kind that has one by its nature, that."""
    if kind == "question_answering":
        return [clean(answer["text"]) for answer in item.row["answers"]]
    return list(item.references)
