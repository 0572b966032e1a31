"""Do typos, case and a missing full stop change what the model answers? Labels of reviews, and translations' chrF."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from phi2demo.audit.inference import wilson
from phi2demo.audit.report import Figure, Finding, Outcome, corrected
from phi2demo.audit.setup import Setup, spread
from phi2demo.data.test_sets import Item, TestSet, read_test_sets
from phi2demo.engine.engine import Variant
from phi2demo.evaluation.metrics import metrics_for
from phi2demo.evaluation.statistics import Resamples
from phi2demo.evaluation.systems import SystemName, make_system

TYPOS_PER_CHARACTER = 0.05
_END_MARKS = ".!?…"

Perturb = Callable[[str, int], str]
"""Of a text and a seed."""


def with_typos(text: str, seed: int) -> str:
    """Letters swapped with the next, dropped or doubled: one for every 20 characters, at least one.

    The noise of Belinkov and Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation" (2018), thinner.
    The same text and seed give the same typos.
    """
    choice = random.Random(f"{seed} {text}")
    letters = [at for at, character in enumerate(text) if character.isalpha()]
    count = min(len(letters), max(1, round(TYPOS_PER_CHARACTER * len(text))))
    characters = list(text)
    for at in sorted(choice.sample(letters, count), reverse=True):
        kind = choice.choice(("swap", "drop", "double"))
        after = characters[at + 1] if at + 1 < len(characters) else ""
        if kind == "swap" and after.isalpha() and after != characters[at]:
            characters[at : at + 2] = [after, characters[at]]
        elif kind == "drop" and len(text) > 1:
            del characters[at]
        else:
            characters.insert(at, characters[at])
    return "".join(characters)


PERTURBATIONS: dict[str, Perturb] = {
    "typos": with_typos,
    "lower case": lambda text, seed: text.lower(),
    "upper case": lambda text, seed: text.upper(),
    "no end mark": lambda text, seed: text.rstrip(_END_MARKS) or text,
}
"""By name, as the report says it."""

NAME = "robustness"
TITLE = "Typos, case and missing full stops"
TOGETHER = 16
MOST_ITEMS, QUICK_ITEMS = 120, 12
"""Of each kind."""
SHOWN = 3
LEAST_FLIPS = 5.0
"""Percent of labels that flip, by the lower end of the interval, that is flagged: more than one in twenty."""
LEAST_CHRF = 5.0
"""Points of chrF lost that are flagged: a loss that a reader notices."""
FLIPS_THRESHOLD = f"lower end of the interval above {LEAST_FLIPS:g} % of labels"
CHRF_THRESHOLD = f"{LEAST_CHRF:g} points of chrF or more, p < 0.05 after Holm's correction over the slips"
PLAIN = "as written"

Answers = dict[str, list[str]]
"""By perturbation, and PLAIN: what was answered to each item."""


def probe(setup: Setup) -> Outcome:
    """Answer every item as written and with every slip; says that it was not measured where there are no items."""
    test_sets = _test_sets(setup)
    if not test_sets:
        what = "Needs labelled items: --items FOLDER with reviews, or with translations from English."
        return Outcome(NAME, TITLE, what, 0, (), "Robustness to typos and case was not measured.")
    found = {variant: [_answers(setup, variant, test_set) for test_set in test_sets] for variant in setup.variants}
    figures = {variant: _figures(setup, test_sets, answers) for variant, answers in found.items()}
    base = figures["base"] if setup.audited != "base" else None
    rows = tuple(
        replace(figure, base=base[at].finding if base else None) for at, figure in enumerate(figures[setup.audited])
    )
    return Outcome(
        name=NAME,
        title=TITLE,
        what="Reviews and English sentences as written, with typos (letters swapped, dropped or doubled, one for every 20 "
        "characters, by seed), in lower case, in upper case and without their last full stop: how many labels flip, and "
        "how much chrF the translations lose, decoded greedily, "
        "each sentence into one language. A slip that leaves a text as it is does not count.",
        n=sum(len(test_set.items) for test_set in test_sets),
        figures=rows,
        verdict=_verdict(rows),
        examples=tuple(_examples(setup, test_sets, found[setup.audited])),
    )


def _test_sets(setup: Setup) -> list[TestSet]:
    """Reviews, and translations from English: of several languages each takes its share of the sentences, by turns."""
    if not setup.settings.items.is_dir():
        return []
    test_sets, _ = read_test_sets(setup.settings.items)
    reviews = [test_set for test_set in test_sets if test_set.kind == "sentiment"]
    pairs = [m for m in test_sets if m.kind == "translation" and m.name.rpartition(".")[2].startswith("en-")]
    shared = [replace(test_set, items=test_set.items[at :: len(pairs)]) for at, test_set in enumerate(pairs)]
    fewest = QUICK_ITEMS if setup.settings.quick else MOST_ITEMS
    return [
        replace(test_set, items=tuple(spread(test_set.items, fewest // count)))
        for test_sets, count in ((reviews, 1), (shared, len(shared)))
        for test_set in test_sets
        if test_set.items
    ]


def slipped(item: Item, slip: str, *, seed: int) -> Item:
    """The item with a slip in the person's text."""
    field = "text" if "text" in item.row else "source"
    return item if slip == PLAIN else replace(item, row=item.row | {field: PERTURBATIONS[slip](item.row[field], seed)})


def _answers(setup: Setup, variant: Variant, test_set: TestSet) -> Answers:
    name: SystemName = (
        "base_plain" if variant != setup.audited else "finetuned" if variant == "finetuned" else "base_template"
    )
    system = make_system(name, setup.engine, test_set, seed=setup.settings.seed)
    assert system is not None
    system = replace(system, generation=replace(system.generation, num_beams=1))
    asked = [(slip, slipped(item, slip, seed=setup.settings.seed)) for slip in (PLAIN, *PERTURBATIONS)
             for item in test_set.items]  # fmt: skip
    outputs: list[str] = []
    starts = range(0, len(asked), TOGETHER)
    for start in setup.track(starts, f"{NAME} {test_set.name} {variant}"):
        outputs += [answer.output for answer in system.answer([item for _, item in asked[start : start + TOGETHER]])]
    answers: Answers = {}
    for (slip, _), output in zip(asked, outputs, strict=True):
        answers.setdefault(slip, []).append(output)
    return answers


def _figures(setup: Setup, test_sets: Sequence[TestSet], answers: Sequence[Answers]) -> list[Figure]:
    reviews = [(m, a) for m, a in zip(test_sets, answers, strict=True) if m.kind == "sentiment"]
    pairs = [(m, a) for m, a in zip(test_sets, answers, strict=True) if m.kind == "translation"]
    figures = []
    for slip in PERTURBATIONS if reviews else ():
        title = f"labels of reviews that flip: {slip}"
        figures.append(
            Figure(f"flips.{_key(slip)}", title, "% of labels", FLIPS_THRESHOLD, _flips(setup, reviews, slip))
        )
    lost = [_lost(setup, pairs, slip) for slip in PERTURBATIONS] if pairs else []
    for slip, finding in zip(PERTURBATIONS if pairs else (), corrected(lost, least=LEAST_CHRF), strict=True):
        title = f"chrF that translations lose: {slip}"
        figures.append(Figure(f"chrf.{_key(slip)}", title, "points of chrF", CHRF_THRESHOLD, finding))
    return figures


def _flips(setup: Setup, reviews: Sequence[tuple[TestSet, Answers]], slip: str) -> Finding:
    flips = [
        before != after
        for test_set, answers in reviews
        for item, before, after in zip(test_set.items, answers[PLAIN], answers[slip], strict=True)
        if slipped(item, slip, seed=setup.settings.seed) != item
    ]
    if not flips:
        return Finding(0.0, 0.0, 100.0)
    low, high = wilson(sum(flips), len(flips))
    return Finding(100 * sum(flips) / len(flips), 100 * low, 100 * high, flagged=100 * low > LEAST_FLIPS)


def _lost(setup: Setup, pairs: Sequence[tuple[TestSet, Answers]], slip: str) -> Finding:
    """Over all languages."""
    items = [item for test_set, _ in pairs for item in test_set.items]
    references = [item.references for item in items]
    chrf = metrics_for("translation", references)[1]
    before, after = (
        chrf.statistics([text for _, answers in pairs for text in answers[name]], references) for name in (PLAIN, slip)
    )
    resamples = Resamples.draw(len(before), resamples=setup.settings.resamples, seed=setup.settings.seed)
    difference = resamples.compare(before, after, chrf.score)
    return Finding(difference.value, difference.low, difference.high, difference.p)


def _verdict(figures: Sequence[Figure]) -> str:
    def told(kind: str, unit: str) -> str:
        own = [figure for figure in figures if figure.name.startswith(f"{kind}.")]
        shown = (f"{figure.title.split(': ')[1]} {figure.finding.score:.1f}{unit}" for figure in own)
        flagged = [figure.title.split(": ")[1] for figure in own if figure.flagged]
        return f"{', '.join(shown)} (flagged: {', '.join(flagged) or 'none'})." if own else ""

    sentences = []
    if flips := told("flips", " %"):
        sentences.append(f"Labels of reviews that a slip of the hand flipped: {flips}")
    if lost := told("chrf", ""):
        sentences.append(f"Points of chrF that translations lost to it: {lost}")
    return " ".join(sentences)


def _examples(setup: Setup, test_sets: Sequence[TestSet], answers: Sequence[Answers]) -> list[dict[str, Any]]:
    """Labels that flipped, the first of each slip, then translations of the first item."""
    examples: list[dict[str, Any]] = []
    for test_set, own in zip(test_sets, answers, strict=True):
        for slip in PERTURBATIONS:
            for item, before, after in zip(test_set.items, own[PLAIN], own[slip], strict=True):
                text = slipped(item, slip, seed=setup.settings.seed).row
                if before != after:
                    shown = {"slip": slip, "text": text.get("text", text.get("source")), "answer": after, PLAIN: before}
                    examples.append(shown)
                    break
    return examples[: SHOWN * len(PERTURBATIONS)]


def _key(slip: str) -> str:
    return slip.replace(" ", "_")
