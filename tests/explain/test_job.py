import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phi2demo.engine.engine import GenerationOptions, Output, Prompt, Score, Tokens
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.errors import InputError, SettingsError, StoppedError
from phi2demo.explain import scoring_plan
from phi2demo.explain.estimate import TrialTiming, time_trial
from phi2demo.explain.job import explain
from phi2demo.explain.request import METHODS, ExplainRequest, Method
from phi2demo.explain.scoring_plan import UnitsByKind
from phi2demo.explain.shapley import warm_up
from phi2demo.explain.units import UnitKind
from phi2demo.explain.value_function import ScoreCache, ValueFunction
from phi2demo.settings import ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.translation import TranslationOptions
from tests.explain.planted import PlantedEngine, asked, by_unit, explained, rewards
from tests.tasks.scripted import INFO

TEXT = "the old train leaves the quiet coast at eight"
WEIGHTS = {"train": 3.0, "eight": 2.0, "quiet": -1.0}


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """shap is imported once, before anything is timed."""
    warm_up()


@pytest.fixture
def engine() -> PlantedEngine:
    return PlantedEngine(rewards(WEIGHTS))


@pytest.mark.parametrize("method", METHODS)
def test_planted_words_are_ranked_first(engine: PlantedEngine, method: Method) -> None:
    attribution = explained(engine, asked(TEXT, method=method))
    names = [attribution.units[index].text.strip() for index in attribution.ranked]
    assert names[:3] == ["train", "eight", "quiet"]
    totals = by_unit(attribution)
    assert totals["quiet"] < 0 < totals["eight"]
    if method != "lime":
        assert totals == {word: pytest.approx(WEIGHTS.get(word, 0.0), abs=1e-9) for word in TEXT.split()}
        assert attribution.trust.remainder < 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_a_word_that_needs_another_shares_its_credit(method: Method) -> None:
    def both(token: str, text: str, prompt: Prompt) -> float:
        return -1.0 if {"not", "good"} <= set(text.split()) else -5.0

    totals = by_unit(explained(PlantedEngine(both), asked("a film that is not good", method=method)))
    assert sorted(totals, key=totals.__getitem__)[-2:] in (["not", "good"], ["good", "not"])
    assert totals["not"] == pytest.approx(totals["good"], abs=0.6)
    assert totals["film"] == pytest.approx(0, abs=0.5)


def test_a_contrast_flips_its_sign_when_the_sides_swap() -> None:
    def taste(token: str, text: str, prompt: Prompt) -> float:
        return -1.0 if (token == "warm") == ("sun" in text.split()) else -3.0

    engine = PlantedEngine(taste)
    warm_not_cold = explained(engine, asked("we see the sun", " warm", instead="cold"))
    cold_not_warm = explained(engine, asked("we see the sun", " cold", instead="warm"))
    np.testing.assert_allclose(warm_not_cold.totals, -cold_not_warm.totals, atol=1e-12)
    assert by_unit(warm_not_cold)["sun"] == pytest.approx(4)
    assert [(token.text, token.side) for token in warm_not_cold.tokens] == [(" warm", "output"), (" cold", "contrast")]


def test_a_contrast_replaces_the_target_after_what_stands_before_it(engine: PlantedEngine) -> None:
    attribution = explained(engine, asked(TEXT, " one two three", target=(1, 2), instead="2 and"))
    outputs = {engine.tokens(ids).text for _, ids in engine.scored if not isinstance(ids, str)}
    assert outputs == {" one two", " one 2 and"}
    assert [token.text for token in attribution.tokens] == [" two", " 2", " and"]


def test_what_finetuning_changed_is_the_difference() -> None:
    def learned(token: str, text: str, prompt: Prompt) -> float:
        present = set(text.split())
        return (
            -9.0 + 2.0 * ("train" in present) + (3.0 if prompt.variant == "finetuned" else 0.0) * ("eight" in present)
        )

    engine = PlantedEngine(learned)
    totals = {of: by_unit(explained(engine, asked(TEXT, of=of))) for of in ("finetuned", "base", "difference")}
    assert (totals["finetuned"]["train"], totals["base"]["train"]) == (pytest.approx(2), pytest.approx(2))
    assert totals["difference"]["train"] == pytest.approx(0, abs=1e-9)
    assert totals["difference"]["eight"] == pytest.approx(3)


@pytest.mark.parametrize("method", METHODS)
def test_tokens_sum_to_the_whole_output(tiny_base: Path, tiny_adapter: Path, method: Method) -> None:
    engine = LocalEngine.load(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu", dtype="float32")))
    text, output = "The train to the coast leaves at eight.", " The cat sleeps."
    whole_request = ExplainRequest(
        "generation", text, GenerationTaskOptions(), (output,), units="words", method=method, trust=False
    )
    cache = ScoreCache()
    *_, last = explain(engine, whole_request, cache=cache)
    whole = last.attribution
    assert whole is not None
    parts = np.zeros(len(whole.units))
    for token in range(len(whole.tokens)):
        one = ExplainRequest(
            "generation", text, GenerationTaskOptions(), (output,), units="words", method=method, trust=False,
            target=(token, token + 1),
        )  # fmt: skip
        *_, last = explain(engine, one, cache=cache)
        assert last.attribution is not None
        np.testing.assert_allclose(last.attribution.totals, whole.values[:, token], atol=1e-4)
        parts += last.attribution.totals
    np.testing.assert_allclose(parts, whole.totals, atol=1e-4)
    if method != "lime":
        effect = (whole.full_values - whole.base_values).sum()
        assert whole.totals.sum() == pytest.approx(effect, abs=1e-4)


def test_the_values_are_those_of_the_output_that_the_model_wrote(tiny_base: Path, tiny_adapter: Path) -> None:
    engine = LocalEngine.load(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu", dtype="float32")))
    request = Request(
        "translation", "The cat sleeps. It rained.", TranslationOptions(), GenerationOptions(max_new_tokens=6), seed=1
    )
    (result,) = Assistant(engine).answer(check(request))
    *_, last = explain(engine, ExplainRequest.from_result(engine, request, result, units="words", max_evals=40))
    attribution = last.attribution
    assert attribution is not None
    assert attribution.output == "".join(result.raw)
    assert "".join(unit.text for unit in attribution.units) == request.text
    first = [index for index, token in enumerate(attribution.tokens) if token.piece == 0]
    assert np.abs(attribution.values[3:, first]).max() < 1e-9, "the second sentence has no part in the first output"
    assert np.abs(attribution.values[:3, first]).max() > 1e-3
    prompts = [
        Prompt(TASKS["translation"].prompt(sentence, request.options)) for sentence in ("The cat sleeps.", "It rained.")
    ]
    scores = engine.score(prompts, [result.token_ids[0], result.token_ids[1]])
    ends = sum(len(ids) for ids in result.token_ids) - len(attribution.tokens)
    assert ends in (0, 1, 2)
    counts = [sum(token.piece == piece for token in attribution.tokens) for piece in (0, 1)]
    kept = [score.log_probabilities[:count] for score, count in zip(scores, counts, strict=True)]
    np.testing.assert_allclose(attribution.full_values, np.concatenate(kept), atol=1e-4)


def test_steps_hold_an_estimate_then_calls_then_partial_values(engine: PlantedEngine) -> None:
    engine.seconds_a_batch = 0.15
    steps = list(explain(engine, asked(f"{TEXT} and {TEXT}", max_evals=200, method="partition")))
    estimate = next(step.estimate for step in steps if step.estimate)
    assert (estimate.kind, estimate.units) == ("words", 19)
    final = steps[-1].attribution
    assert final is not None
    assert 0.3 * estimate.calls < final.trust.calls <= estimate.calls
    assert 0.2 * estimate.seconds < final.trust.seconds < 5 * estimate.seconds + 2
    assert [step.calls for step in steps] == sorted(step.calls for step in steps)
    partial = [step.partial for step in steps if step.partial]
    assert partial
    assert partial[0].totals.sum() == pytest.approx((final.full_values - final.base_values).sum())
    assert steps[-1].share == 1
    assert 0 <= steps[0].share <= 1


@pytest.mark.parametrize("how", ["cancel", "close"])
@pytest.mark.parametrize("method", METHODS)
def test_stop_ends_within_a_second(engine: PlantedEngine, how: str, method: Method) -> None:
    engine.seconds_a_batch = 60.0
    cancel = threading.Event()
    steps = explain(engine, asked(TEXT, method=method), cancel=cancel)
    next(steps)
    while not engine.scored:
        next(steps)
    started = time.monotonic()
    if how == "cancel":
        cancel.set()
        with pytest.raises(StoppedError, match="no explanation"):
            list(steps)
    else:
        steps.close()
    assert time.monotonic() - started < 1
    _wait_for_end()


def test_it_ends_at_its_time_limit(engine: PlantedEngine) -> None:
    engine.seconds_a_batch = 60.0
    started = time.monotonic()
    with pytest.raises(SettingsError, match=r"longer than the 1 seconds .* Allow fewer masked texts"):
        list(explain(engine, asked(TEXT), longest_s=1.0))
    assert time.monotonic() - started < 2
    _wait_for_end()


def _wait_for_end() -> None:
    deadline = time.monotonic() + 5
    while any(thread.name == "explain" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name == "explain" for thread in threading.enumerate())


def test_an_error_of_the_engine_reaches_the_reader() -> None:
    def broken(token: str, text: str, prompt: Prompt) -> float:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        list(explain(PlantedEngine(broken), asked(TEXT)))


class LetterEngine(PlantedEngine):
    """Letters are tokens."""

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        if not isinstance(text, str):
            text = "".join(map(chr, text))
        return Tokens(text, tuple(map(ord, text)), tuple((start, start + 1) for start in range(len(text))))


@pytest.mark.parametrize(("text", "units"), [("great", 5), ("😀!", 2), ("a", 1)])
@pytest.mark.parametrize("kind", ["auto", "tokens"])
def test_a_single_word_is_explained_and_estimated(text: str, units: int, kind: UnitKind) -> None:
    engine = LetterEngine(rewards({}))
    steps = list(explain(engine, asked(text, " yes", units=kind)))
    assert all(0.0 <= step.share <= 1.0 for step in steps)
    attribution = steps[-1].attribution
    assert attribution is not None
    assert len(attribution.units) == units
    estimate = steps[-1].estimate
    assert estimate is not None
    assert estimate.units == units
    assert estimate.calls > 0
    assert len({prompt.text for prompt, _ in engine.scored}) <= estimate.calls + 2, "and those of the trial"


def test_one_word_has_the_whole_credit_and_a_note_says_so(engine: PlantedEngine) -> None:
    for method in METHODS:
        attribution = explained(engine, asked("train", method=method))
        assert by_unit(attribution) == {"train": pytest.approx(3)}
        assert "The text is one word, so it has the whole credit" in attribution.notes[0]


@pytest.mark.parametrize(
    ("text", "max_evals", "kind"),
    [
        ("the train leaves", 300, "tokens"),
        ("One word here. " * 30, 40, "sentences"),
        ("\n\n".join(["One word. " * 4] * 3), 16, "paragraphs"),
    ],
)
def test_units_are_as_fine_as_the_budget_allows(text: str, max_evals: int, kind: str) -> None:
    engine = PlantedEngine(rewards({}))
    attribution = explained(engine, asked(text, units="auto", max_evals=max_evals))
    assert attribution.kind == kind


@pytest.mark.parametrize(
    ("text", "units", "says"),
    [
        (
            "one two " * 4,
            "words",
            r"^The text has 8 words; at most 6 can be told apart\. Take coarser units or explain a",
        ),
        ("One. Two.\n" * 4, "sentences", r"has 8 sentences; at most 6 .* coarser units"),
        ("One.\n" * 7, "paragraphs", r"has 7 paragraphs; at most 6 can be told apart\. Explain a shorter part of it\."),
        ("One.\n" * 7, "auto", r"has 7 paragraphs; at most 6 can be told apart\. Explain a shorter part of it\."),
    ],
)
def test_too_many_units_are_refused_before_a_tree_is_made(
    engine: PlantedEngine, monkeypatch: pytest.MonkeyPatch, text: str, units: str, says: str
) -> None:
    monkeypatch.setattr(scoring_plan, "MAX_UNITS", 6)
    monkeypatch.setattr("phi2demo.explain.estimate.linkage", None)
    with pytest.raises(InputError, match=says):
        list(explain(engine, asked(text, units=units)))
    assert engine.scored == []


@pytest.mark.parametrize(("units", "kind"), [("auto", "sentences"), ("sentences", "sentences"), ("paragraphs",) * 2])
def test_kinds_with_too_many_units_are_skipped(
    engine: PlantedEngine, monkeypatch: pytest.MonkeyPatch, units: str, kind: str
) -> None:
    monkeypatch.setattr(scoring_plan, "MAX_UNITS", 6)
    tried: list[int] = []

    def watched(value_function: ValueFunction, kinds: UnitsByKind, *, seed: int) -> TrialTiming:
        timing = time_trial(value_function, kinds, seed=seed)
        tried.append(len(value_function.units))
        return timing

    monkeypatch.setattr("phi2demo.explain.job.time_trial", watched)
    text = "The train leaves. It is late.\n\nWe wait. It comes."
    assert explained(engine, asked(text, units=units)).kind == kind
    assert tried == [4], "by sentences"


@pytest.mark.slow
def test_the_most_units_are_explained_within_a_minute() -> None:
    engine = PlantedEngine(rewards({"the": 1.0}), info=replace(INFO, context=100_000))
    text = "the " + "1 " * (scoring_plan.MAX_UNITS - 1)
    started = time.process_time()
    assert len(explained(engine, asked(text, max_evals=500)).units) == scoring_plan.MAX_UNITS
    assert time.process_time() - started < 60


def test_words_are_chosen_where_there_are_too_many_tokens() -> None:
    class Letters(PlantedEngine):
        def tokens(self, text: str | Sequence[int]) -> Tokens:
            spans = tuple((start, start + 1) for start in range(len(text)))
            if isinstance(text, str):
                return Tokens(text, tuple(map(ord, text)), spans)
            return Tokens("".join(map(chr, text)), tuple(text), spans)

        def score(
            self,
            prompts: Sequence[Prompt],
            outputs: Sequence[Output],
            *,
            adapter_strength: float = 1.0,
            cancel: threading.Event | None = None,
        ) -> list[Score]:
            return [Score((1,) * len(output), (-1.0,) * len(output)) for output in outputs]

    assert explained(Letters(rewards({})), asked("train coast", units="auto", max_evals=18)).kind == "words"
    assert explained(Letters(rewards({})), asked("train coast", units="auto", max_evals=40)).kind == "tokens"


def test_units_are_coarser_where_the_model_is_slow() -> None:
    engine = PlantedEngine(rewards({}))
    engine.seconds_a_batch = 1.0
    with closing(explain(engine, asked("One word is here. " * 3 + "Two.", units="auto", max_evals=5000))) as steps:
        estimate = next(step.estimate for step in steps if step.estimate)
    assert estimate.kind == "sentences"


def test_a_note_says_that_the_evaluations_were_too_few(engine: PlantedEngine) -> None:
    def odd(token: str, text: str, prompt: Prompt) -> float:
        return -float(len(text.split()) % 3) - len(text) / 100

    attribution = explained(PlantedEngine(odd), asked(" ".join(f"w{number}" for number in range(40)), max_evals=60))
    assert attribution.trust.opened is not None
    assert attribution.trust.split_evenly is not None
    assert 0 < attribution.trust.opened < 1
    assert attribution.trust.split_evenly > 0.1
    assert any("only split evenly" in note for note in attribution.notes)
    assert attribution.trust.remainder < 1e-9


def test_trust_figures_of_a_planted_answer(engine: PlantedEngine) -> None:
    trust = explained(engine, asked(TEXT, seed=3, method="partition")).trust
    assert trust.deletion is not None
    assert trust.insertion is not None
    assert trust.deletion.area < trust.deletion.random_area
    assert trust.insertion.area > trust.insertion.random_area
    assert trust.agreement is not None
    assert trust.agreement > 0.7
    assert (trust.opened, trust.split_evenly, trust.seed) == (1.0, 0.0, 3)
    assert trust.calls == len(engine.scored)
    bare = explained(engine, asked(TEXT, trust=False)).trust
    assert (bare.deletion, bare.insertion, bare.agreement) == (None, None, None)


def test_the_same_seed_gives_the_same_values(engine: PlantedEngine) -> None:
    for method in METHODS:
        once, again = (explained(engine, asked(TEXT, method=method, max_evals=30, seed=5)) for _ in range(2))
        assert (once.values == again.values).all()


@pytest.mark.parametrize(
    ("words", "max_evals", "method"),
    [
        (8, 256, "exact"),
        (8, 255, "permutation"),
        (10, 500, "permutation"),
        (10, 200, "partition"),
        (11, 500, "partition"),
    ],
)
def test_the_method_is_as_exact_as_the_budget_allows(words: int, max_evals: int, method: str) -> None:
    text = " ".join(f"w{number}" for number in range(words))
    attribution = explained(PlantedEngine(rewards({"w1": 1.0})), asked(text, max_evals=max_evals, trust=False))
    assert attribution.request.method == method
