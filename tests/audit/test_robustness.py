"""Slips of the hand: what they do to a text, and that only a model that minds them is flagged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phi2demo.audit import robustness
from phi2demo.audit.report import Outcome
from phi2demo.audit.robustness import PERTURBATIONS, with_typos
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, noise, setup_of
from tests.tasks.scripted import INFO, body

SENTENCES = [f"The {animal} of my {person} sleeps near the {place} again." for animal, person, place in zip(
    ["cat", "dog", "hen", "goat", "horse", "duck"] * 6, ["aunt", "uncle", "friend", "teacher"] * 9,
    ["river", "house", "garden"] * 12, strict=True)]  # fmt: skip


@pytest.fixture
def items(tmp_path: Path) -> Path:
    folder = tmp_path / "items"
    folder.mkdir()
    reviews = [{"text": f"{text} It took {n} days.", "label": n % 2} for n, text in enumerate(SENTENCES)]
    (folder / "reviews.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reviews))
    for language in ("de", "fr"):
        pairs = [
            {"source": f"{n} {text}", "target": f"{n} {text}", "source_lang": "en", "target_lang": language}
            for n, text in enumerate(SENTENCES)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in pairs)
        (folder / f"pairs.en-{language}.test.jsonl").write_text(lines)
    return folder


def number_of(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def steady(prompt: Prompt, output: str) -> float:
    """Goes by the number alone, which no slip touches."""
    return noise(number_of(body(prompt.text)), output)


def translator(prompt: Prompt) -> str:
    """Knows every sentence by its number."""
    number = number_of(prompt.text)
    return f" {number} {SENTENCES[int(number)]}"


def probed(items: Path, *, seed: int = 0, info: object = None, **planted: Callable[..., object]) -> Outcome:
    engine = PlantedEngine(**({"likes": steady, "says": translator} | planted), **({"info": info} if info else {}))  # type: ignore[arg-type]
    return robustness.probe(setup_of(engine, seed=seed, items=items))


@pytest.mark.parametrize("seed", range(10))
def test_a_steady_model_is_not_flagged(items: Path, seed: int) -> None:
    outcome = probed(items, seed=seed)
    assert len(outcome.figures) == 2 * len(PERTURBATIONS)
    assert not [figure.name for figure in outcome.figures if figure.flagged]
    assert {figure.finding.score for figure in outcome.figures} == {0.0}


def test_a_label_that_minds_capitals_is_found(items: Path) -> None:
    def likes(prompt: Prompt, output: str) -> float:
        return steady(prompt, output) * (-1 if body(prompt.text).isupper() else 1)

    outcome = probed(items, likes=likes)
    assert [figure.name for figure in outcome.figures if figure.flagged] == ["flips.upper_case"]
    assert outcome.figures[2].finding.score == 100.0
    assert "upper case 100.0 %, no end mark 0.0 % (flagged: upper case)." in outcome.verdict
    assert outcome.verdict.endswith("no end mark 0.0 (flagged: none).")
    assert {example["slip"] for example in outcome.examples} == {"upper case"}


def test_a_translation_that_minds_typos_is_found(items: Path) -> None:
    def says(prompt: Prompt) -> str:
        text = body(prompt.text).capitalize()
        known = any(sentence.lower().rstrip(".") in text.lower() for sentence in SENTENCES)
        return translator(prompt) if known else " kein Wort davon"

    outcome = probed(items, says=says)
    assert [figure.name for figure in outcome.figures if figure.flagged] == ["chrf.typos"]


def test_each_sentence_goes_into_one_language(items: Path) -> None:
    assert probed(items).n == 2 * len(SENTENCES)


def test_the_base_is_asked_in_its_plain_form_and_shown_beside(items: Path) -> None:
    def likes(prompt: Prompt, output: str) -> float:
        if prompt.text.startswith(f"{END_OF_TEXT}English: "):
            return -1.0  # for the confidence in a translation
        assert prompt.text.startswith(f"{END_OF_TEXT}Review: " if prompt.variant == "base" else "Instruct: ")
        sign = -1 if prompt.variant == "base" and not prompt.text.removesuffix("\nSentiment:").endswith(".") else 1
        return sign * noise(number_of(prompt.text), output)

    outcome = probed(items, likes=likes, info=INFO)
    flips = next(figure for figure in outcome.figures if figure.name == "flips.no_end_mark")
    assert flips.base is not None
    assert (flips.flagged, flips.base.flagged, flips.base.score) == (False, True, 100.0)


def test_without_items_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "tales.test.jsonl").write_text('{"text": "Once."}\n')
    outcome = probed(tmp_path)
    assert outcome.figures == ()
    assert outcome.verdict == "Robustness to typos and case was not measured."


def test_typos_are_few_and_the_same_for_the_same_seed() -> None:
    text = "The quick brown fox jumps over the lazy dog, and then it sleeps for a very long time indeed."
    assert with_typos(text, 1) == with_typos(text, 1) != with_typos(text, 2)
    for seed in range(50):
        slipped = with_typos(text, seed)
        assert slipped != text
        assert abs(len(slipped) - len(text)) <= round(0.05 * len(text))
        assert _distance(text, slipped) <= 2 * round(0.05 * len(text))
    assert with_typos("42", 0) == "42"
    assert with_typos("a", 0) == "aa"


def test_the_other_slips_by_their_text() -> None:
    made = {name: slip("Is it Café No. 5?", 0) for name, slip in PERTURBATIONS.items() if name != "typos"}
    assert made == {
        "lower case": "is it café no. 5?",
        "upper case": "IS IT CAFÉ NO. 5?",
        "no end mark": "Is it Café No. 5",
    }
    assert PERTURBATIONS["no end mark"]("...", 0) == "..."


def _distance(one: str, other: str) -> int:
    """Levenshtein's; a swap counts two."""
    row = list(range(len(other) + 1))
    for at, character in enumerate(one, 1):
        before, row[0] = row[0], at
        for to, wanted in enumerate(other, 1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (character != wanted))
    return row[-1]
