"""Answer a request for a label: by probability, never by what happens to be written. Knows nothing of torch."""

import math
import time
from collections.abc import Generator, Sequence

from phi2demo.engine.engine import Engine, Prompt, Score, Use
from phi2demo.tasks.receipt import make_receipt
from phi2demo.tasks.room import budget_of
from phi2demo.tasks.task import AnyTask, Progress, Request, Result


def classify(engine: Engine, task: AnyTask, requests: Sequence[Request]) -> Generator[Progress]:
    """Choose the label of highest probability for every use of checked requests with seeds, all in one batch.

    The last Progress holds the results of all requests.
    """
    started = time.monotonic()
    uses = requests[0].uses
    assert all((request.uses, request.generation) == (uses, requests[0].generation) for request in requests)
    yield Progress(dict.fromkeys(uses, ""), 0, 1, task.title, 0, 0.0)
    outputs = [f" {label}" for label in task.labels]
    asked = [(request, use) for request in requests for use in uses]
    prompts = _prompts(engine, task, asked)
    rows = [
        Prompt(prompt, use, request.seed or 0)
        for (request, use), prompt in zip(asked, prompts, strict=True)
        for _ in outputs
    ]
    strength = requests[0].generation.adapter_strength
    scores = engine.score(rows, outputs * len(asked), adapter_strength=strength)
    seconds = time.monotonic() - started
    results = []
    for at, (request, use) in enumerate(asked):
        probabilities = _softmax(task.labels, scores[at * len(outputs) : (at + 1) * len(outputs)])
        best = max(task.labels, key=probabilities.__getitem__)
        receipt = make_receipt(
            engine.info,
            request,
            use=use,
            form=task.asked(request, use),
            seed=request.seed,
            output=best,
            batch_size=len(rows),
            prompt_tokens=engine.count_tokens(prompts[at]),
            new_tokens=0,
            first_token_s=None,
            seconds=seconds,
            stop_reason="end",
            pieces=1,
        )
        facts = (", ".join(f"{label} {share:.1%}" for label, share in probabilities.items()),)
        notes = task.reading_notes(request)
        results.append(Result(use, best, (f" {best}",), receipt, notes, facts, probabilities))
    texts = {result.use: result.text for result in results[: len(uses)]}
    yield Progress(texts, 1, 1, "Done", 0, time.monotonic() - started, tuple(results))


def _prompts(engine: Engine, task: AnyTask, asked: Sequence[tuple[Request, Use]]) -> list[str]:
    """InputError where one does not fit together with its label."""
    budget = budget_of(engine, task, asked[0][0].generation)
    prompts = []
    for request, use in asked:
        read = task.read(request)
        (text,) = task.pieces(read.text, read.options, budget).texts
        prompts.append(task.prompt(text, read.options, task.asked(request, use)))
    return prompts


def _softmax(labels: Sequence[str], scores: Sequence[Score]) -> dict[str, float]:
    """Over the labels' log-probabilities."""
    highest = max(score.total for score in scores)
    weights = [math.exp(score.total - highest) for score in scores]
    return {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}
