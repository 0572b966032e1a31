import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from phi2demo.evaluation.metrics import metrics_for
from phi2demo.evaluation.statistics import Resamples, interval


def mean(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / sums[1])


def rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([values, np.ones(len(values))], axis=1)


def sentences(noise: int, count: int, wrong: float) -> tuple[list[str], list[str]]:
    """References, always the same, and outputs with that share of words replaced."""
    random = np.random.default_rng(0)
    words = np.array(["the", "cat", "dog", "sleeps", "runs", "house", "red", "over", "a", "small"])
    references = [list(words[random.integers(10, size=12)]) for _ in range(count)]
    random = np.random.default_rng(noise)
    outputs = [[w if random.random() > wrong else "xyz" for w in text] for text in references]
    return [" ".join(text) for text in references], [" ".join(text) for text in outputs]


def test_an_interval_holds_95_percent() -> None:
    assert interval(np.arange(1000.0)[::-1]) == (25.0, 974.0)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(100):
        sample = rows(random.normal(5.0, 2.0, size=80))
        estimate = Resamples.draw(80, resamples=400, seed=seed).estimate(sample, mean)
        covered += estimate.low <= 5.0 <= estimate.high
    assert 88 <= covered <= 99


@pytest.mark.parametrize(("place", "metric"), [(0, BLEU()), (1, CHRF())])
def test_the_bootstrap_is_sacrebleus(place: int, metric: BLEU | CHRF) -> None:
    references, outputs = sentences(3, 60, 0.4)
    theirs = metric.corpus_score(outputs, [references], n_bootstrap=1000)
    ours = metrics_for("translation", [[text] for text in references])[place]
    drawn = Resamples.draw(60).scores(ours.statistics(outputs, [[text] for text in references]), ours.score)
    low, high = interval(drawn)
    assert float(drawn.mean()) == pytest.approx(theirs._mean, abs=1e-4)  # sacrebleu sums in float32
    assert (high - low) / 2 == pytest.approx(theirs._ci, abs=1e-4)


def test_intervals_are_those_of_sacrebleus_command(tmp_path: Path) -> None:
    """To the last printed digit; its width is half of ours from end to end."""
    references, outputs = sentences(4, 50, 0.3)
    for name, texts in (("out", outputs), ("ref", references)):
        (tmp_path / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(tmp_path / "ref"), "-i", str(tmp_path / "out"), "--confidence"]
    command += ["-m", "bleu", "chrf", "-w", "3", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = [[text] for text in references]
    for metric, theirs in zip(metrics_for("translation", wanted), json.loads(done.stdout), strict=True):
        drawn = Resamples.draw(50).drawn(metric.statistics(outputs, wanted), metric.score)
        assert theirs["score"] == pytest.approx(drawn.score, abs=0.5001e-3)
        assert theirs["confidence_mean"] == pytest.approx(float(drawn.resampled.mean()), abs=0.6e-3)
        assert theirs["confidence_var"] == pytest.approx((drawn.estimate.high - drawn.estimate.low) / 2, abs=0.6e-3)


@pytest.mark.parametrize(("better", "result"), [(0.3, True), (0.4, False)])
def test_paired_test_beside_sacrebleus(better: float, result: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    references, worse = sentences(5, 80, 0.4)
    _, outputs = sentences(6, 80, better)
    metric = metrics_for("translation", [[text] for text in references])[0]
    wanted = [[text] for text in references]
    ours = Resamples.draw(80).compare(
        metric.statistics(outputs, wanted), metric.statistics(worse, wanted), metric.score
    )
    systems = [("base", worse), ("ours", outputs)]
    test = PairedTest(systems, {"BLEU": BLEU()}, [references], test_type="bs", n_samples=1000)
    (_, theirs) = test()[1]["BLEU"]
    base = test()[1]["BLEU"][0]
    assert ours.value == pytest.approx(theirs.score - base.score, abs=1e-6)
    assert (ours.p < 0.05) is result
    assert theirs.p_value is not None
    assert ours.p >= theirs.p_value


def test_a_planted_difference_is_found_and_none_is_not() -> None:
    random = np.random.default_rng(7)
    result = {0.0: 0, 0.3: 0}
    for shift in result:
        for seed in range(60):
            base = random.normal(size=100)
            ours = base + random.normal(shift, 1.0, size=100)
            difference = Resamples.draw(100, resamples=200, seed=seed).compare(rows(ours), rows(base), mean)
            result[shift] += difference.p < 0.05
    assert result[0.0] <= 9
    assert result[0.3] >= 40


def test_equal_systems_differ_by_nothing() -> None:
    same = rows(np.arange(20.0))
    difference = Resamples.draw(20).compare(same, same, mean)
    assert (difference.value, difference.low, difference.high, difference.p) == (0.0, 0.0, 0.0, 1.0)


def test_the_same_seed_draws_the_same() -> None:
    one, other = Resamples.draw(30, seed=4), Resamples.draw(30, seed=4)
    assert (np.array(one.indexes) == np.array(other.indexes)).all()
    assert (np.array(one.indexes) != np.array(Resamples.draw(30, seed=5).indexes)).any()
