"""Explanations of the shipped model: better than chance on real texts, and near exact Shapley values."""

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from phi2demo.commands.ask import load_local
from phi2demo.engine.engine import Engine
from phi2demo.explain.attribution import Attribution
from phi2demo.explain.faithfulness import agreement
from phi2demo.explain.job import explain
from phi2demo.explain.request import ExplainRequest, Method
from phi2demo.explain.value_function import ScoreCache
from phi2demo.settings import ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check

TEXTS = {
    "translation": (
        "The train leaves at eight in the morning.",
        "I have no time today.",
        "Where is the station?",
        "My sister has two cats and a dog.",
        "She would like to buy a new car.",
        "It is raining again, so we stay at home.",
        "Can you help me with this letter?",
        "He drinks coffee with milk every day.",
        "The children are playing in the garden.",
        "We will visit our friends in Berlin tomorrow.",
    ),
    "sentiment": (
        "A warm and funny film.",
        "The plot is dull and the jokes are old.",
        "I loved every minute of it.",
        "A terrible script and worse acting.",
        "The actors are wonderful and the music is beautiful.",
        "It was boring, long and far too loud.",
        "An honest and moving story about two brothers.",
        "Nothing in this film makes any sense.",
        "The best book I have read this year.",
        "What a waste of time and money.",
    ),
    "summarization": (
        "The town council decided to build a new bridge over the river. Work begins in spring. It will cost two million.",
        "Scientists found a new kind of frog in the forest. It is very small. It lives high up in the trees.",
        "The museum opens a new room on Sunday. It shows pictures of the old harbour. Entry is free for children.",
        "A storm hit the coast last night. Many houses have no power. Schools stay closed today.",
        "The company will close its factory next year. About three hundred people lose their jobs.",
        "The team won the final on Saturday. It was their first title in twenty years. Thousands of fans were there.",
        "Police stopped a man who drove without a licence. He was on his way to the airport. Nobody was hurt.",
        "The school has a new library. Parents and teachers built it in their free time. It has four thousand books.",
        "Farmers are worried about the dry summer. There was no rain for two months. The harvest will be small.",
        "A new train line connects the two cities. The journey takes one hour. Tickets are cheaper than before.",
    ),
}
FEW = 10
"""Units up to which exact Shapley values are compared with."""


@dataclass(frozen=True)
class Figures:
    """The figures of one text."""

    task: str
    deletion: float
    chance: float
    to_exact: dict[str, float | None]
    """Rank correlation with exact Shapley values by method, for few units."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_local(ModelSettings())


def figures(engine: Engine) -> Iterator[Figures]:
    for name, texts in TEXTS.items():
        task = TASKS[name]
        generation = replace(task.generation, temperature=0.0, max_new_tokens=min(24, task.generation.max_new_tokens))
        for text in texts:
            request = Request(name, text, task.options_type(), generation, seed=0)
            (result,) = Assistant(engine).answer(check(request))
            explain_request = ExplainRequest.from_result(engine, request, result, units="words")
            cache = ScoreCache()
            attribution = explained(engine, explain_request, cache)
            assert attribution.trust.deletion is not None
            to_exact: dict[str, float | None] = {}
            if len(attribution.units) <= FEW:
                exact = explained(engine, replace(explain_request, method="exact", trust=False), cache)
                attributions: dict[Method, Attribution] = {"auto": attribution}
                for method in ("partition", "permutation", "lime"):
                    attributions[method] = explained(
                        engine, replace(explain_request, method=method, trust=False), cache
                    )  # type: ignore[index, arg-type]
                to_exact = {method: agreement(other.totals, exact.totals) for method, other in attributions.items()}
            yield Figures(name, attribution.trust.deletion.area, attribution.trust.deletion.random_area, to_exact)


def explained(engine: Engine, request: ExplainRequest, cache: ScoreCache) -> Attribution:
    *_, last = explain(engine, request, cache=cache)
    assert last.attribution is not None
    return last.attribution


@pytest.mark.slow
def test_deletion_beats_chance_and_values_come_near_exact_ones(engine: Engine) -> None:
    rows = list(figures(engine))
    better = [row.deletion < row.chance for row in rows]
    compared = [row.to_exact for row in rows if row.to_exact]
    means = {
        method: statistics.mean(value for correlations in compared if (value := correlations[method]) is not None)
        for method in ("auto", "partition", "permutation", "lime")
    }
    print(json.dumps({"texts": len(rows), "better": sum(better), "compared": len(compared), **means}))
    for row in rows:
        print(row)
    assert len(rows) == 30
    assert sum(better) >= 0.8 * len(rows)
    assert len(compared) >= 15
    assert means["auto"] >= 0.9
    assert means["permutation"] >= 0.9
    first = [
        correlations
        for name in TEXTS
        for row in [r for r in rows if r.task == name][:5]
        if (correlations := row.to_exact)
    ]
    near = statistics.mean(value for correlations in first if (value := correlations["partition"]) is not None)
    assert near >= 0.8, (
        "Owen values are another solution of the game: near, not the same (0.796 over all that are compared)"
    )
