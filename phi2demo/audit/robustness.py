"""Do typos, case and a missing full stop change the answer? Compares labels of reviews, and chrF of translations."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from phi2demo.audit.context import AuditContext, spread
from phi2demo.audit.inference import wilson
from phi2demo.audit.report import Estimate, Figure, ProbeResult, correct_and_flag
from phi2demo.data.test_sets import Item, TestSet, read_test_sets
from phi2demo.engine.engine import Variant
from phi2demo.evaluation.metrics import metrics_for
from phi2demo.evaluation.outputs import SystemName
from phi2demo.evaluation.reports import known_test_sets
from phi2demo.evaluation.statistics import Resamples
from phi2demo.evaluation.systems import make_system
from phi2demo.settings import SHIPPED_SET

TYPOS_PER_CHARACTER = 0.05
_END_MARKS = ".!?…"

Perturb = Callable[[str, int], str]
"""Changes a text, by a seed."""


def with_typos(text: str, seed: int) -> str:
    """Swap letters with the next, drop or double them: one for every 20 characters, at least one.

    The noise of Belinkov and Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation" (2018), with
    fewer errors. The same text and seed give the same typos.
    """
    generator = random.Random(f"{seed} {text}")
    letters = [index for index, character in enumerate(text) if character.isalpha()]
    count = min(len(letters), max(1, round(TYPOS_PER_CHARACTER * len(text))))
    characters = list(text)
    for index in sorted(generator.sample(letters, count), reverse=True):
        kind = generator.choice(("swap", "drop", "double"))
        after = characters[index + 1] if index + 1 < len(characters) else ""
        if kind == "swap" and after.isalpha() and after != characters[index]:
            characters[index : index + 2] = [after, characters[index]]
        elif kind == "drop" and len(text) > 1:
            del characters[index]
        else:
            characters.insert(index, characters[index])
    return "".join(characters)


PERTURBATIONS: dict[str, Perturb] = {
    "typos": with_typos,
    "lower case": lambda text, seed: text.lower(),
    "upper case": lambda text, seed: text.upper(),
    "no end mark": lambda text, seed: text.rstrip(_END_MARKS) or text,
}
"""By their names in the report."""

NAME = "robustness"
TITLE = "Typos, case and missing full stops"
BATCH_SIZE = 16
MAX_ITEMS, QUICK_ITEMS = 120, 12
"""Number of reviews, and of sentences to translate."""
EXAMPLES_PER_PERTURBATION = 3
MIN_FLIPS = 5.0
"""Percent of labels that flip; a share is flagged where the lower end of its interval is above: one in twenty."""
MIN_CHRF_LOSS = 5.0
"""Points of chrF lost from which a loss is flagged: one that a reader notices."""
FLIPS_THRESHOLD = f"lower end of the interval above {MIN_FLIPS:g} % of labels"
CHRF_THRESHOLD = f"{MIN_CHRF_LOSS:g} points of chrF or more, p < 0.05 after Holm's correction over the slips"
UNCHANGED = "as written"


@dataclass(frozen=True)
class Answers:
    """The outputs for the items of a test set, by perturbation; for UNCHANGED those of the original texts."""

    test_set: TestSet
    outputs: dict[str, list[str]]

    def pairs(self, perturbation: str) -> Iterator[tuple[Item, str, str]]:
        """Yield each item with its output before and after the perturbation."""
        return zip(self.test_set.items, self.outputs[UNCHANGED], self.outputs[perturbation], strict=True)


def probe(context: AuditContext) -> ProbeResult:
    """Answer every item as written and with every perturbation; without items nothing is measured."""
    test_sets = _test_sets(context)
    if not test_sets:
        what = "Needs labelled items: --items FOLDER with reviews, or with translations from English."
        return ProbeResult(NAME, TITLE, what, 0, (), "Robustness to typos and case was not measured.")
    answers = {variant: [_answer(context, variant, test_set) for test_set in test_sets] for variant in context.variants}
    by_variant = {variant: _figures(context, answers[variant]) for variant in context.variants}
    audited, base = by_variant[context.audited_variant], context.base_of(by_variant)
    figures = tuple(
        replace(figure, base=base[number].estimate if base else None) for number, figure in enumerate(audited)
    )
    return ProbeResult(
        name=NAME,
        title=TITLE,
        what="Reviews and English sentences as written, with typos (letters swapped, dropped or doubled, one for every 20 "
        "characters, by seed), in lower case, in upper case and without their last full stop: how many labels flip, and "
        "how much chrF the translations lose, decoded greedily, "
        "each sentence into one language. A slip that leaves a text as it is does not count.",
        n=sum(len(test_set.items) for test_set in test_sets),
        figures=figures,
        verdict=_verdict(figures),
        examples=tuple(_examples(context, answers[context.audited_variant])),
    )


def _test_sets(context: AuditContext) -> list[TestSet]:
    """Read reviews and translations from English; several languages take turns with the sentences."""
    if not context.settings.items.is_dir():
        return []
    test_sets, _ = read_test_sets(context.settings.items)
    if context.settings.items == SHIPPED_SET:
        test_sets = list(known_test_sets(test_sets, context.adapter_tasks))
    reviews = [test_set for test_set in test_sets if test_set.kind == "sentiment"]
    translations = [
        test_set
        for test_set in test_sets
        if test_set.kind == "translation" and test_set.name.rpartition(".")[2].startswith("en-")
    ]
    languages = len(translations)
    shared = [replace(test_set, items=test_set.items[start::languages]) for start, test_set in enumerate(translations)]
    limit = QUICK_ITEMS if context.settings.quick else MAX_ITEMS
    return [
        replace(test_set, items=tuple(spread(test_set.items, limit // count)))
        for group, count in ((reviews, 1), (shared, languages))
        for test_set in group
        if test_set.items
    ]


def perturb(item: Item, perturbation: str, *, seed: int) -> Item:
    """Change the item's input text."""
    if perturbation == UNCHANGED:
        return item
    field = "text" if "text" in item.row else "source"
    return replace(item, row=item.row | {field: PERTURBATIONS[perturbation](item.row[field], seed)})


def _answer(context: AuditContext, variant: Variant, test_set: TestSet) -> Answers:
    name: SystemName = (
        "base_plain"
        if variant != context.audited_variant
        else "finetuned"
        if variant == "finetuned"
        else "base_template"
    )
    seed = context.settings.seed
    system = make_system(name, context.engine, test_set, seed=seed)
    assert system is not None
    system = replace(system, generation=replace(system.generation, num_beams=1))
    names = (UNCHANGED, *PERTURBATIONS)
    items = [perturb(item, perturbation, seed=seed) for perturbation in names for item in test_set.items]
    outputs: list[str] = []
    for start in context.show_progress(range(0, len(items), BATCH_SIZE), f"{NAME} {test_set.name} {variant}"):
        outputs += [answer.output for answer in system.answer(items[start : start + BATCH_SIZE])]
    size = len(test_set.items)
    return Answers(test_set, {perturbation: outputs[i * size : (i + 1) * size] for i, perturbation in enumerate(names)})


def _figures(context: AuditContext, answers: Sequence[Answers]) -> list[Figure]:
    reviews = [answer for answer in answers if answer.test_set.kind == "sentiment"]
    translations = [answer for answer in answers if answer.test_set.kind == "translation"]
    figures = []
    for perturbation in PERTURBATIONS if reviews else ():
        title = f"labels of reviews that flip: {perturbation}"
        flips = _flips(context, reviews, perturbation)
        figures.append(Figure(f"flips.{_key(perturbation)}", title, "% of labels", FLIPS_THRESHOLD, flips))
    if translations:
        losses = [_chrf_loss(context, translations, perturbation) for perturbation in PERTURBATIONS]
        losses = correct_and_flag(losses, threshold=MIN_CHRF_LOSS)
        for perturbation, loss in zip(PERTURBATIONS, losses, strict=True):
            title = f"chrF that translations lose: {perturbation}"
            figures.append(Figure(f"chrf.{_key(perturbation)}", title, "points of chrF", CHRF_THRESHOLD, loss))
    return figures


def _flips(context: AuditContext, reviews: Sequence[Answers], perturbation: str) -> Estimate:
    """Estimate the share of labels that flip, among the reviews that the perturbation changes."""
    flips = [
        before != after
        for answers in reviews
        for item, before, after in answers.pairs(perturbation)
        if perturb(item, perturbation, seed=context.settings.seed) != item
    ]
    if not flips:
        return Estimate(0.0, 0.0, 100.0)
    low, high = wilson(sum(flips), len(flips))
    return Estimate(100 * sum(flips) / len(flips), 100 * low, 100 * high, flagged=100 * low > MIN_FLIPS)


def _chrf_loss(context: AuditContext, translations: Sequence[Answers], perturbation: str) -> Estimate:
    """Estimate the loss of chrF over all languages together."""
    references = [item.references for answers in translations for item in answers.test_set.items]
    chrf = metrics_for("translation", references)[1]
    before, after = (
        chrf.statistics([text for answers in translations for text in answers.outputs[name]], references)
        for name in (UNCHANGED, perturbation)
    )
    resamples = Resamples.draw(len(before), resamples=context.settings.resamples, seed=context.settings.seed)
    difference = resamples.compare(before, after, chrf.score)
    return Estimate(difference.value, difference.low, difference.high, difference.p)


def _verdict(figures: Sequence[Figure]) -> str:
    sentences = []
    for kind, unit, title in (
        ("flips", " %", "Labels of reviews that flipped"),
        ("chrf", "", "Points of chrF that translations lost"),
    ):
        of_kind = {figure.title.split(": ")[1]: figure for figure in figures if figure.name.startswith(f"{kind}.")}
        if of_kind:
            scores = ", ".join(f"{name} {figure.estimate.score:.1f}{unit}" for name, figure in of_kind.items())
            flagged = ", ".join(name for name, figure in of_kind.items() if figure.flagged) or "none"
            sentences.append(f"{title}: {scores} (flagged: {flagged}).")
    return " ".join(sentences)


def _examples(context: AuditContext, answers: Sequence[Answers]) -> list[dict[str, Any]]:
    """Return for each test set and perturbation the first item whose answer changed."""
    examples: list[dict[str, Any]] = []
    for of_test_set in answers:
        for perturbation in PERTURBATIONS:
            for item, before, after in of_test_set.pairs(perturbation):
                if before != after:
                    row = perturb(item, perturbation, seed=context.settings.seed).row
                    text = row.get("text", row.get("source"))
                    examples.append({"slip": perturbation, "text": text, "answer": after, UNCHANGED: before})
                    break
    return examples[: EXAMPLES_PER_PERTURBATION * len(PERTURBATIONS)]


def _key(perturbation: str) -> str:
    return perturbation.replace(" ", "_")
