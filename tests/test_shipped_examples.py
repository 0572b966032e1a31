"""Every example of every tab, asked of the embedded pair: what a visitor tries first has to be right."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from phi2demo.commands.ask import load_local
from phi2demo.engine.engine import Engine
from phi2demo.evaluation.comparison import compare
from phi2demo.settings import ASSETS, ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import read_variant_tasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import Assistant, check

FOLDER = ASSETS / "examples"


def entries(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def of_tasks() -> Iterator[Any]:
    """Of the tabs of tasks; an instruction is offered by models that were finetuned on some."""
    for task in TASKS:
        for entry in entries(task):
            if entry.get("options", {}).get("mode") != "instruct":
                yield pytest.param(task, entry, id=f"{task}: {entry['label']}")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_local(ModelSettings())


def asked(engine: Engine, entry: dict[str, Any], *, seed: int = 0) -> tuple[Request, tuple[Result, ...]]:
    """As the page asks it, finetuned and base."""
    task, declared = entry["task"], read_variant_tasks(engine.info)
    options = TASKS[task].options_type(**entry.get("options", {}))
    request = Request(
        task,
        entry["text"],
        declared.first.adapt(options),
        declared.first.generation(task),
        variants=("finetuned", "base"),
        seed=seed,
        base_prompt_style=declared.base_prompt_style,
    )
    return request, Assistant(engine, declared).answer(check(request))


@pytest.mark.parametrize(("task", "entry"), list(of_tasks()))
def test_an_example_gets_an_accepted_answer(engine: Engine, task: str, entry: dict[str, Any]) -> None:
    seeds = (1, 2, 3) if task == "generation" else (0,)
    for seed in seeds:
        _, (result, _) = asked(engine, entry | {"task": task}, seed=seed)
        if task == "generation":
            assert len(result.text.split()) > 30
            assert result.receipt.stop_reason in ("end", "length")
            continue
        assert result.text in entry["accept"]
        assert not [note for note in result.notes if not note.startswith("The model would have answered")]


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["label"]) for entry in entries("compare")])
def test_a_comparison_shows_that_finetuning_helped(engine: Engine, entry: dict[str, Any]) -> None:
    request, results = asked(engine, entry)
    scores = compare(request, results, entry["reference"]).scores
    pairs = list(zip(scores["finetuned"], scores["base"], strict=True))
    assert all(finetuned.value >= base.value for finetuned, base in pairs)
    assert any(finetuned.value > base.value for finetuned, base in pairs)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["label"]) for entry in entries("explain")])
def test_an_explanation_is_of_what_the_model_writes(engine: Engine, entry: dict[str, Any]) -> None:
    _, (result, _) = asked(engine, entry)
    assert entry["output"] == result.text
    quoted = entry["label"].partition("“")[2].partition("”")[0]
    assert quoted in result.text


def test_the_tabs_begin_with_what_the_model_does_best(engine: Engine) -> None:
    declared = read_variant_tasks(engine.info).first
    assert declared.tasks[0] == "translation"
    assert declared.directions().target == "en"
