"""Perturbations: what they do to a text, and that only a model whose answers they change is flagged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phi2demo.audit import robustness
from phi2demo.audit.report import ProbeResult
from phi2demo.audit.robustness import PERTURBATIONS, with_typos
from phi2demo.engine.engine import END_OF_TEXT, Prompt
from tests.audit.planted import PlantedEngine, make_context, noise
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
    """Depend on the number alone, which no perturbation changes."""
    return noise(number_of(body(prompt.text)), output)


def translator(prompt: Prompt) -> str:
    """Translate every sentence, recognized by its number."""
    number = number_of(prompt.text)
    return f" {number} {SENTENCES[int(number)]}"


def run_probe(items: Path, *, seed: int = 0, info: object = None, **planted: Callable[..., object]) -> ProbeResult:
    engine = PlantedEngine(
        **({"logprob": steady, "complete": translator} | planted), **({"info": info} if info else {})
    )  # type: ignore[arg-type]
    return robustness.probe(make_context(engine, seed=seed, items=items))


@pytest.mark.parametrize("seed", range(10))
def test_a_steady_model_is_not_flagged(items: Path, seed: int) -> None:
    result = run_probe(items, seed=seed)
    assert len(result.figures) == 2 * len(PERTURBATIONS)
    assert not [figure.name for figure in result.figures if figure.flagged]
    assert {figure.estimate.score for figure in result.figures} == {0.0}


def test_labels_that_depend_on_capitals_are_flagged(items: Path) -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        return steady(prompt, output) * (-1 if body(prompt.text).isupper() else 1)

    result = run_probe(items, logprob=logprob)
    assert [figure.name for figure in result.figures if figure.flagged] == ["flips.upper_case"]
    assert result.figures[2].estimate.score == 100.0
    assert "upper case 100.0 %, no end mark 0.0 % (flagged: upper case)." in result.verdict
    assert result.verdict.endswith("no end mark 0.0 (flagged: none).")
    assert {example["slip"] for example in result.examples} == {"upper case"}


def test_translations_that_fail_on_typos_are_flagged(items: Path) -> None:
    def complete(prompt: Prompt) -> str:
        text = body(prompt.text).capitalize()
        known = any(sentence.lower().rstrip(".") in text.lower() for sentence in SENTENCES)
        return translator(prompt) if known else " kein Wort davon"

    result = run_probe(items, complete=complete)
    assert [figure.name for figure in result.figures if figure.flagged] == ["chrf.typos"]


def test_each_sentence_goes_into_one_language(items: Path) -> None:
    assert run_probe(items).n == 2 * len(SENTENCES)


def test_the_base_is_shown_beside_and_prompted_in_its_plain_style(items: Path) -> None:
    def logprob(prompt: Prompt, output: str) -> float:
        if prompt.text.startswith(f"{END_OF_TEXT}English: "):
            return -1.0  # for the confidence in a translation
        assert prompt.text.startswith(f"{END_OF_TEXT}Review: " if prompt.variant == "base" else "Instruct: ")
        sign = -1 if prompt.variant == "base" and not prompt.text.removesuffix("\nSentiment:").endswith(".") else 1
        return sign * noise(number_of(prompt.text), output)

    result = run_probe(items, logprob=logprob, info=INFO)
    flips = next(figure for figure in result.figures if figure.name == "flips.no_end_mark")
    assert flips.base is not None
    assert (flips.flagged, flips.base.flagged, flips.base.score) == (False, True, 100.0)


def test_without_items_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "tales.test.jsonl").write_text('{"text": "Once."}\n')
    result = run_probe(tmp_path)
    assert result.figures == ()
    assert result.verdict == "Robustness to typos and case was not measured."


def test_typos_are_few_and_the_same_for_the_same_seed() -> None:
    text = "The quick brown fox jumps over the lazy dog, and then it sleeps for a very long time indeed."
    assert with_typos(text, 1) == with_typos(text, 1) != with_typos(text, 2)
    for seed in range(50):
        perturbed = with_typos(text, seed)
        assert perturbed != text
        assert abs(len(perturbed) - len(text)) <= round(0.05 * len(text))
        assert _distance(text, perturbed) <= 2 * round(0.05 * len(text))
    assert with_typos("42", 0) == "42"
    assert with_typos("a", 0) == "aa"


def test_the_other_perturbations() -> None:
    made = {name: perturb("Is it Café No. 5?", 0) for name, perturb in PERTURBATIONS.items() if name != "typos"}
    assert made == {
        "lower case": "is it café no. 5?",
        "upper case": "IS IT CAFÉ NO. 5?",
        "no end mark": "Is it Café No. 5",
    }
    assert PERTURBATIONS["no end mark"]("...", 0) == "..."


def _distance(one: str, other: str) -> int:
    """Return the Levenshtein distance, where a swap counts two."""
    row = list(range(len(other) + 1))
    for number, character in enumerate(one, 1):
        before, row[0] = row[0], number
        for to, expected in enumerate(other, 1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (character != expected))
    return row[-1]
