""""""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from phi2demo.data.test_sets import TASK_OF_KIND
from phi2demo.evaluation.metrics import (
    ITEM_METRICS,
    METRICS_BY_KIND,
    Metric,
    metrics_for,
    number,
    plain_answer,
    title_of_test_set,
    token_f1,
)
from phi2demo.settings import ASSETS
from phi2demo.tasks import register
from phi2demo.tasks.own_task import make_own_task
from tests.tasks.own_tasks import urgency

OUTPUTS = ["Der Hund schläft heute.", "Ich gehe nach Hause, sagt er.", "", "Es regnet."]
REFERENCES = [["Der Hund schläft heute nicht."], ["Ich gehe jetzt nach Hause."], ["Was?"], ["Es regnet."]]


def score(metric: Metric, outputs: list[str], references: list[list[str]]) -> float:
    return metric.score(metric.statistics(outputs, references).sum(0))


def by_name(kind: str, references: list[list[str]]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics_for(kind, references)}


def test_translation_scores_are_those_of_sacrebleus_command(tmp_path: Path) -> None:
    hypotheses, references = tmp_path / "out", tmp_path / "ref"
    hypotheses.write_text("\n".join(OUTPUTS) + "\n", encoding="utf-8")
    references.write_text("\n".join(texts[0] for texts in REFERENCES) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(references), "-i", str(hypotheses), "-m", "bleu", "chrf"]
    done = subprocess.run([*command, "-w", "8", "--format", "json"], capture_output=True, text=True, check=True)
    for ours, theirs in zip(metrics_for("translation", REFERENCES), json.loads(done.stdout), strict=True):
        assert round(score(ours, OUTPUTS, REFERENCES), 8) == theirs["score"] > 0
        assert ours.signature == theirs["signature"]


def test_rouge_is_rouge_scores_for_each_example() -> None:
    outputs = ["The cats are sleeping on mats.", "A new model of learning is proposed.", ""]
    references = [["The cat sleeps on the mat."], ["We propose a model.", "A new way of learning"], ["Nothing."]]
    metrics = by_name("summarization", references)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for name in ("rouge1", "rouge2", "rougeL"):
        item = [
            [scorer.score(t, o)[name].fmeasure for t in texts] for o, texts in zip(outputs, references, strict=True)
        ]
        assert metrics[name].statistics(outputs, references)[:, 0].tolist() == [max(values) for values in item]
        first = metrics[f"{name}_first"]
        assert first.statistics(outputs, references)[:, 0].tolist() == [values[0] for values in item]
        assert score(metrics[name], outputs, references) == pytest.approx(100 * np.mean([max(v) for v in item]))
    assert metrics["rouge1"].statistics(outputs, references)[0, 0] > 0.7  # stems: cats, sleeping
    assert "rouge1_first" not in by_name("summarization", [["one"]])


@pytest.mark.parametrize(
    ("output", "reference", "exact", "f1"),
    [
        ("The Eiffel Tower", "eiffel tower.", True, 1.0),
        ("in 1973", "1973", False, 2 / 3),
        ("October 16, 1973", "16 October", False, 0.8),
        ("", "a cat", False, 0.0),
        ("red red cat", "red dog", False, 0.4),
    ],
)
def test_answers(output: str, reference: str, exact: bool, f1: float) -> None:
    assert (plain_answer(output) == plain_answer(reference)) is exact
    assert token_f1(output, reference) == pytest.approx(f1)


def test_the_best_of_the_answers_counts() -> None:
    metrics = by_name("question_answering", [["x"]])
    outputs, references = ["the cat", "dog"], [["a dog", "cat"], ["big dog", "one big dog"]]
    assert score(metrics["exact_match"], outputs, references) == 50
    assert score(metrics["f1"], outputs, references) == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_accuracy_and_macro_f1() -> None:
    references = [["positive"]] * 6 + [["negative"]] * 2
    outputs = ["positive"] * 5 + ["negative", "negative", ""]
    metrics = by_name("sentiment", references)
    assert score(metrics["accuracy"], outputs, references) == 75
    positive, negative = 2 * 5 / (5 + 6), 2 * 1 / (2 + 2)
    assert score(metrics["macro_f1"], outputs, references) == pytest.approx(50 * (positive + negative))


def test_macro_f1_is_over_the_labels_there_are() -> None:
    metric = by_name("sentiment", [["positive"]])["macro_f1"]
    assert score(metric, ["positive"] * 3, [["positive"]] * 3) == 100
    assert score(metric, ["positive", "negative"], [["positive"]] * 2) == pytest.approx(50 * (2 / 3 + 0))
    assert score(metric, [""], [["positive"]]) == 0


def test_bits_per_character_weighs_by_length() -> None:
    metric, _ = metrics_for("prose", [["a"], ["b"]])
    assert metric.score(metric.statistics(["10.0 5", "90.0 95"], [["a"], ["b"]]).sum(0)) == 1.0
    assert not metric.higher_is_better


def test_perplexity_is_what_torch_says_of_the_tokens() -> None:
    import torch

    random = torch.Generator().manual_seed(0)
    logits, wanted = torch.randn(7, 5, generator=random), torch.tensor([0, 4, 1, 1, 2, 3, 0])
    nats = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    bits = nats / torch.log(torch.tensor(2.0))
    outputs = [f"{float(bits[:3].sum())!r} 12 3", f"{float(bits[3:].sum())!r} 9 4"]
    _, metric = metrics_for("continuation", [["a"], ["b"]])
    assert score(metric, outputs, [["a"], ["b"]]) == pytest.approx(float(nats.mean().exp()), rel=1e-6)
    assert (metric.name, metric.higher_is_better, metric.of_baselines) == ("perplexity", False, False)


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [(-1.25, 1, True, "−1.2"), (0.04, 1, True, "0.0"), (-0.0, 0, False, "0"), (3.0, 2, True, "+3.00")],
)
def test_numbers(value: float, digits: int, signed: bool, text: str) -> None:
    assert number(value, digits, signed=signed) == text


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("translation.tatoeba.en-de", "English to German, tatoeba"),
        ("translation.own.xx-yy", "Translate, own.xx-yy"),
        ("sentiment.sst2", "Sentiment, sst2"),
        ("prose.tinystories", "Prose, tinystories"),
        ("odd", "Odd"),
    ],
)
def test_titles_of_test_sets(name: str, title: str) -> None:
    assert title_of_test_set(name) == title


def test_the_guide_lists_every_metric() -> None:
    table = (ASSETS / "docs" / "evaluation.md").read_text(encoding="utf-8").partition("| task | metrics |")[2]
    listed = table.partition("\n\n")[0]
    titles = {metric.title for kind in METRICS_BY_KIND for metric in metrics_for(kind, [["a"]])}
    assert [title for title in sorted(titles) if title not in listed] == []
    assert set(ITEM_METRICS) < set(METRICS_BY_KIND) >= {*TASK_OF_KIND}


def test_a_declared_task_has_the_metrics_that_it_names() -> None:
    poem = {"instruction": "Make a poem of {text}"}
    names = {"chrf": ["chrf"], "rouge": ["rouge1", "rouge2", "rougeL"], "exact_match": ["exact_match", "f1"]}
    register([urgency(), *(make_own_task(f"by_{name}", poem | {"metric": name}) for name in names)])
    for name, metrics in names.items():
        assert list(by_name(f"by_{name}", [["a"]])) == metrics
    labels = by_name("urgency", [["low"]])
    outputs, references = ["low", "low", "very high"], [["low"], ["medium"], ["very high"]]
    assert score(labels["accuracy"], outputs, references) == pytest.approx(100 * 2 / 3)
    assert score(labels["macro_f1"], outputs, references) == pytest.approx(100 * (2 / 3 + 0 + 1) / 3)
