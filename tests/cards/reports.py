"""A report of an evaluation, a training record and facts, at their smallest."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from phi2demo.cards.facts import Author, Facts, ModelFacts
from phi2demo.data.corpus import CleaningReport
from phi2demo.emissions.footprint import Hardware, estimate
from phi2demo.evaluation.reports import parse_report
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.training.record import Kind, Point, Record, Stage, Validation

HARDWARE = Hardware("Some CPU", cores=2, memory_gb=3.0)


def figure(metric: str, title: str, finetuned: float, base: float, *, p: float, **changes: Any) -> dict[str, Any]:
    scores = {
        system: {"score": score, "low": score - 1, "high": score + 1}
        for system, score in (("finetuned", finetuned), ("base_template", base / 2), ("base_plain", base))
    }
    told = {"metric": metric, "title": title, "signature": f"signature of {title}", "higher_is_better": True}
    difference = {"value": finetuned - base, "low": 0.0, "high": 9.0, "p": p}
    rest = {"digits": 1, "scores": scores, "baselines": {}, "base": "base_plain", "difference": difference}
    return told | rest | changes


def report(**changes: Any) -> dict[str, Any]:
    """Better on BLEU, not surely on chrF, worse on accuracy."""
    test_sets = [
        one_test_set(
            "translation.tatoeba.en-de",
            figure("bleu", "BLEU", 26.44, 20, p=0.01),
            figure("chrf", "chrF", 41, 40, p=0.3),
        ),
        one_test_set("sentiment.reviews", figure("accuracy", "accuracy", 50, 60, p=0.02)),
    ]
    told = {
        "format": 2,
        "made_at": "2026-11-23T10:00:00+00:00",
        "settings": {"systems": ["finetuned"], "batch_size": 32, "resamples": 1000, "seed": 12345},
        "model": {"base": "b", "base_revision": "", "device": "cpu", "dtype": "float32", "weights_sha256": {}},
        "environment": {"python": "3.11.7", "system": "Linux", "threads": 2, "versions": {"torch": "2.13"}},
        "test_sets": test_sets,
        "speed": {
            "variant": "finetuned",
            "new_tokens": [128, 128],
            "tokens_per_s": [40.0, 41.0],
            "median_tokens_per_s": 40.5,
        },
    }
    return told | changes


def one_test_set(name: str, *figures: dict[str, Any]) -> dict[str, Any]:
    task, _, data = name.partition(".")
    file = {"name": f"{data}.test.jsonl", "sha256": "ab" * 32, "split": "test", "note": ""}
    return {"name": name, "task": task, "data": file, "n": 1618, "figures": list(figures)}


def sliced_report() -> dict[str, Any]:
    """With slices of its first measure, one of them too small to rank."""
    told = report()
    told["slicing"] = {
        "length": {
            "rule": "words",
            "names": ["short", "medium", "long"],
            "up_to": {"sentences": [8, 20]},
        },
        "least_to_rank": 20,
    }
    told["test_sets"][0]["slices"] = [
        {"by": by, "name": name, "n": n, "enough": n >= 20, "figures": [figure("bleu", "BLEU", score, 20, p=0.01)]}
        for by, name, n, score in (("length", "long", 3, 10), ("length", "short", 25, 30), ("genre", "news", 28, 27))
    ]
    other = one_test_set("sentiment.reviews", figure("accuracy", "accuracy", 50, 60, p=0.02))
    other["slices"] = [{"by": "length", "name": "medium", "n": 2, "enough": False, "figures": other["figures"]}]
    told["test_sets"][1] = other
    return told


AUDIT: dict[str, Any] = {
    "format": 1,
    "made_at": "2026-11-24T10:00:00+00:00",
    "model": {"weights_sha256": {}},
    "settings": {"seed": 1},
    "probes": [
        {
            "name": "names",
            "title": "Names",
            "what": "The name is swapped.",
            "n": 40,
            "figures": [
                {
                    "name": "shift",
                    "title": "Shift of the score",
                    "score": 0.12,
                    "low": 0.05,
                    "high": 0.2,
                    "flagged": True,
                }
            ],
            "examples": [],
            "verdict": "It matters here.",
        }
    ],
    "summary": ["Names from <one> country are judged worse."],
    "compared_with": None,
}


def write_report(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(report(**changes)), encoding="utf-8")
    return path


def stage(kind: Kind = "pretraining", **changes: Any) -> Stage:
    told: dict[str, Any] = {
        "kind": kind,
        "settings": {"learning_rate": 0.003, "schedule": "linear", "seed": 7, "start": None},
        "steps": 40,
        "tokens": 4000,
        "hours": 2.0,
        "processes": 1,
        "hardware": HARDWARE,
        "precision": "bf16",
        "versions": {"torch": "2.13.0"},
        "weights": {"tatoeba.en-de": 0.75, "letters": 0.25},
        "cleaning": (CleaningReport("tatoeba.en-de", "translation", {"train": 1234}, {"duplicate": 56}),),
        "curve": (Point(20, 2000, 5.0, 0.003), Point(40, 4000, 4.0, 0.001)),
        "validations": (Validation(20, {"all": 5.1, "letters": 5.25}), Validation(40, {"all": 4.1, "letters": 4.25})),
    }
    emissions = estimate(HARDWARE, changes.get("hours", 2.0), region="France")
    return Stage(**told | {"emissions": emissions} | changes)


BASE = ModelFacts(
    name="assets/model",
    base="assets/model",
    model_type="phi",
    layers=6,
    hidden_size=256,
    context=1024,
    vocab_size=8192,
    parameters=6_841_344,
    weights_mb=13.7,
)
ADAPTER = replace(
    BASE,
    name="assets/adapter",
    weights_mb=1.8,
    is_adapter=True,
    adapter_parameters=884_736,
    rank=32,
    alpha=64,
    targets=("fc1", "q_proj"),
    adapter_tasks=AdapterTasks(tasks=("translation", "sentiment"), languages=("en", "de")),
)
AUTHOR = Author("Ada Example", "ada@example.org", 2026)


def facts_with(*, reports: Iterable[dict[str, Any]] = (), **facts: Any) -> Facts:
    return Facts(reports=[parse_report(values) for values in reports], **facts)


def base_facts(**changes: Any) -> Facts:
    return facts_with(**{"model": BASE, "record": Record((stage(),)), "author": AUTHOR} | changes)


def adapter_facts(**changes: Any) -> Facts:
    records = {"record": Record((stage("finetuning", tasks={"translation": 1.0}),)), "base_record": Record((stage(),))}
    return facts_with(**{"model": ADAPTER, "reports": [report()], "author": AUTHOR} | records | changes)
