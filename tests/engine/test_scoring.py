"""Every way of scoring gives what one row alone gives in a plain forward pass."""

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phi2demo.engine import phi, scoring
from phi2demo.engine.adapted_model import BASE, AdaptedModel
from phi2demo.engine.engine import Prompt, Score
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.phi_weights import WeightCopies
from phi2demo.engine.planning import plan
from phi2demo.engine.scoring import PassLimits, ScoringRow, log_probabilities
from phi2demo.errors import StoppedError
from phi2demo.settings import ModelSettings
from tests.engine.engines import torch_model, transformers_model

WORDS = ("the", "train", "to", "coast", "leaves", "at", "eight", "...", "a", "small", "model", "reads", "text")
Reference = Callable[[ScoringRow], list[float]]


@pytest.fixture(scope="module")
def engine(tiny_base: Path, tiny_adapter: Path) -> LocalEngine:
    return LocalEngine.load(plan(ModelSettings(adapter=str(tiny_adapter), device="cpu")))


@pytest.fixture(scope="module")
def reference(engine: LocalEngine) -> Reference:
    """One row at a time by transformers and PEFT, softmax in float64."""
    seen: dict[ScoringRow, list[float]] = {}

    def compute(row: ScoringRow) -> list[float]:
        if row not in seen:
            ids = torch.tensor([row.prompt_ids + row.output_ids])
            with torch.inference_mode():
                logits = (
                    torch_model(engine)(input_ids=ids, adapter_names=[row.adapter]).logits[0].double().log_softmax(-1)
                )
            start = len(row.prompt_ids) - 1
            seen[row] = [float(logits[start + position, token]) for position, token in enumerate(row.output_ids)]
        return seen[row]

    return compute


def scorer_for(model: AdaptedModel, *, free: int = 1 << 40) -> scoring.Scorer:
    return scoring.Scorer(model, WeightCopies(model.model, base=BASE, free=lambda: free))


def check(scores: list[Score], rows: list[ScoringRow], reference: Reference) -> None:
    for score, row in zip(scores, rows, strict=True):
        assert score.token_ids == row.output_ids
        assert list(score.log_probabilities) == pytest.approx(reference(row), abs=1e-5, rel=1e-6)


def rows_of(seed: int, *, count: int, longest: int = 40) -> list[ScoringRow]:
    """Random rows over few tokens, so that prefixes are shared; some equal, some an other's prefix."""
    chance = random.Random(seed)
    stem = [chance.randrange(3, 500) for _ in range(longest)]
    rows = []
    for _ in range(count):
        ids = stem[: chance.randrange(1, longest)]
        ids += [chance.randrange(3, 12) for _ in range(chance.randrange(0, longest - len(ids) + 1))]
        output = tuple(chance.randrange(3, 500) for _ in range(chance.choice((1, 1, 2, 5, 9))))
        rows.append(ScoringRow(tuple(ids), output, chance.choice(("default", BASE))))
    return rows + chance.sample(rows, count // 4)


@pytest.mark.parametrize("seed", range(4))
def test_packed_rows_score_as_each_alone(engine: LocalEngine, reference: Reference, seed: int) -> None:
    rows = rows_of(seed, count=24)
    check(transformers_model(engine)._scorer.score(rows, cancel=None), rows, reference)


def test_a_second_call_that_reads_kept_prefixes_gives_the_same(engine: LocalEngine, reference: Reference) -> None:
    first, second = rows_of(10, count=12), rows_of(10, count=20)
    transformers_model(engine)._scorer.score(first, cancel=None)
    check(transformers_model(engine)._scorer.score(second, cancel=None), second, reference)


def test_a_store_keeps_its_content_when_it_grows(engine: LocalEngine, reference: Reference) -> None:
    scorer = scorer_for(transformers_model(engine).adapted)
    first, second = rows_of(11, count=6), rows_of(11, count=30)
    scorer.score(first, cancel=None)
    packed = scorer.packed()
    for packed_phi in packed:  # on a CPU a store has its full size from the start
        packed_phi._store = [store[: len(packed_phi._tree)].clone() for store in packed_phi._store]
    small = [len(packed_phi._store[0]) for packed_phi in packed]
    check(scorer.score(second, cancel=None), second, reference)
    assert all(len(packed_phi._store[0]) > size for packed_phi, size in zip(packed, small, strict=True))


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rows_score_as_each_alone(engine: LocalEngine, reference: Reference, data: st.DataObject) -> None:
    tokens = st.integers(3, 6)
    row = st.builds(
        ScoringRow,
        st.lists(tokens, min_size=1, max_size=9).map(tuple),
        st.lists(tokens, min_size=1, max_size=4).map(tuple),
        st.sampled_from(("default", BASE)),
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    check(transformers_model(engine)._scorer.score(rows, cancel=None), rows, reference)


@pytest.mark.parametrize("tokens", [1, 7, 50])
def test_more_than_fits_a_pass_is_scored_in_several(
    engine: LocalEngine, reference: Reference, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    scorer = scorer_for(transformers_model(engine).adapted)
    monkeypatch.setattr(scorer, "_limits", lambda: PassLimits(tokens=tokens, keys=60, logits=3))
    passes: list[int] = []
    hidden = phi.PackedPhi.hidden

    def counted(self: phi.PackedPhi, *arguments: object) -> torch.Tensor:
        passes.append(1)
        return hidden(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(phi.PackedPhi, "hidden", counted)
    rows = rows_of(20, count=16)
    check(scorer.score(rows, cancel=None), rows, reference)
    assert len(passes) > 2


def test_a_full_store_begins_anew(engine: LocalEngine, reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phi, "FIRST_SLOTS", 8)
    monkeypatch.setattr(phi, "TABLE_TOKENS", 30)
    scorer = scorer_for(transformers_model(engine).adapted)
    monkeypatch.setattr(scorer, "_limits", lambda: PassLimits(tokens=40, keys=400, logits=100))
    packed = scorer._phi("default", 1.0)
    assert packed is not None
    packed._slots = 120
    for seed in range(30, 36):
        rows = [replace(row, adapter="default") for row in rows_of(seed, count=12)]
        check(scorer.score(rows, cancel=None), rows, reference)
        assert len(packed._tree) <= 120


def test_forgotten_prefixes_are_computed_again(engine: LocalEngine, reference: Reference) -> None:
    rows = rows_of(90, count=8)
    transformers_model(engine)._scorer.score(rows, cancel=None)
    engine.forget()
    assert not any(len(packed._tree) for packed in transformers_model(engine)._scorer.packed())
    check(transformers_model(engine)._scorer.score(rows, cancel=None), rows, reference)


def test_equal_rows_are_computed_once(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    score_packed = scoring.score_packed

    def counted(packed: phi.PackedPhi, rows: list[ScoringRow], *rest: object) -> list[Score]:
        asked.append(len(rows))
        return score_packed(packed, rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "score_packed", counted)
    scores = engine.score([Prompt("The train leaves")] * 5 + [Prompt("A train")], [" at eight"] * 6)
    assert asked == [2]
    assert len(scores) == 6
    assert scores[0] == scores[4] != scores[5]


@pytest.mark.parametrize("seed", [40, 41])
def test_models_that_cannot_be_packed_are_scored_in_plain_batches(
    engine: LocalEngine, reference: Reference, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(transformers_model(engine)._scorer, "_packable", False)
    monkeypatch.setattr("phi2demo.engine.scoring.BATCH_TOKENS", 100)
    monkeypatch.setattr(scoring, "score_packed", None)
    rows = rows_of(seed, count=12)
    check(transformers_model(engine)._scorer.score(rows, cancel=None), rows, reference)


def test_without_memory_for_copies_rows_are_scored_in_plain_batches(
    engine: LocalEngine, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = scorer_for(transformers_model(engine).adapted, free=1000)
    monkeypatch.setattr(scoring, "score_packed", None)
    rows = rows_of(50, count=4)
    check(scorer.score(rows, cancel=None), rows, reference)


@pytest.mark.parametrize(
    "change",
    [
        {"qk_layernorm": True},
        {"num_hidden_layers": 1},
        {"hidden_size": 36},
        {"intermediate_size": 47},
        {"num_key_value_heads": 2},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 1.0}},
    ],
    ids=str,
)
def test_other_shapes_of_phi(change: dict[str, object]) -> None:
    from transformers import PhiConfig, PhiForCausalLM

    sizes = {"num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    config = PhiConfig(vocab_size=60, max_position_embeddings=64, initializer_range=0.3, **(sizes | change))  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = PhiForCausalLM(config).eval().requires_grad_(False)

    scorer = scorer_for(AdaptedModel(model, {}))
    assert scorer._packable == (
        change.keys() <= {"intermediate_size", "num_key_value_heads", "hidden_act", "rope_parameters"}
    )
    chance = random.Random(1)
    rows = [
        ScoringRow(tuple(chance.choices(range(5), k=n)), tuple(chance.choices(range(60), k=3)), BASE)
        for n in range(1, 12)
    ]
    with torch.inference_mode():
        scores = scorer.score(rows, cancel=None)
        for row, score in zip(rows, scores, strict=True):
            logits = model(torch.tensor([row.prompt_ids + row.output_ids])).logits[0].double().log_softmax(-1)
            expected = [
                float(logits[len(row.prompt_ids) - 1 + position, token])
                for position, token in enumerate(row.output_ids)
            ]
            assert list(score.log_probabilities) == pytest.approx(expected, abs=1e-5)


def test_a_torch_without_the_private_operators_scores_the_same(
    engine: LocalEngine, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    scorer = scorer_for(transformers_model(engine).adapted)
    rows = rows_of(80, count=12)
    check(scorer.score(rows, cancel=None), rows, reference)
    assert scorer.packed(), "packed all the same"


def test_stop_is_heard_within_a_second(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scorer_for(transformers_model(engine).adapted)
    monkeypatch.setattr(scorer, "_limits", lambda: PassLimits(tokens=30, keys=100, logits=10))
    rows = rows_of(70, count=40)
    expected = transformers_model(engine)._scorer.score(rows, cancel=None)
    attend = phi.PackedPhi._attend

    def slow(*arguments: object) -> torch.Tensor:
        time.sleep(0.3)
        return attend(*arguments)  # type: ignore[arg-type]

    cancel = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(phi.PackedPhi, "_attend", slow)
        timer = threading.Timer(0.7, cancel.set)
        timer.start()
        started = time.monotonic()
        with torch.inference_mode(), pytest.raises(StoppedError):
            scorer.score(rows, cancel=cancel)
        assert time.monotonic() - started < 1.7
        timer.join()
    with torch.inference_mode():
        again = scorer.score(rows, cancel=threading.Event())
    assert [score.total for score in again] == pytest.approx([score.total for score in expected], abs=1e-4)


def test_log_probabilities_next_to_zero_keep_their_digits() -> None:
    logits = torch.tensor([[20.0, 0.0, 1.0], [0.0, 20.0, 1.0], [1.0, 2.0, 3.0]])
    ids = torch.tensor([0, 0, 2])
    values = log_probabilities(logits, ids)
    expected = [-math.log1p(math.exp(-20) + math.exp(-19)), -math.log(1 + math.exp(20) + math.exp(1)), None]
    assert values[0] == pytest.approx(expected[0], rel=1e-6)
    assert values[1] == pytest.approx(expected[1], rel=1e-6)
    odds = Score((0, 0, 2), tuple(values)).log_odds
    assert odds[0] == pytest.approx(20 - math.log(1 + math.e), rel=1e-6)
    assert odds[1] == pytest.approx(-math.log(math.exp(20) + math.e), rel=1e-6)
