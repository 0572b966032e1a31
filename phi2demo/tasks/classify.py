"""Answer a request for a label: by probability, never by what happens to be written. Knows nothing of torch."""

import math
import time
from collections.abc import Generator, Sequence

from phi2demo.engine.engine import Engine, Prompt, Score
from phi2demo.tasks.receipt import make_receipt
from phi2demo.tasks.task import AnyTask, Budget, Progress, Request, Result


def classify(engine: Engine, task: AnyTask, request: Request) -> Generator[Progress]:
    """Choose the label of highest probability for every use of a checked request with a seed, all in one batch."""
    started = time.monotonic()
    yield Progress(dict.fromkeys(request.uses, ""), 0, 1, task.title, 0, 0.0)
    outputs = [f" {label}" for label in task.labels]
    reserved = max(map(engine.count_tokens, outputs)) + 1
    (text,) = task.pieces(
        request.text, request.options, Budget(engine.count_tokens, engine.info.context - reserved)
    ).texts
    prompt = task.prompt(text, request.options)
    prompts = [Prompt(prompt, use, request.seed or 0) for use in request.uses for _ in outputs]
    scores = engine.score(prompts, outputs * len(request.uses))
    results = []
    for at, use in enumerate(request.uses):
        probabilities = _softmax(task.labels, scores[at * len(outputs) : (at + 1) * len(outputs)])
        best = max(task.labels, key=probabilities.__getitem__)
        receipt = make_receipt(
            engine.info,
            request,
            use=use,
            seed=request.seed,
            output=best,
            batch_size=len(prompts),
            prompt_tokens=engine.count_tokens(prompt),
            new_tokens=0,
            first_token_s=None,
            seconds=time.monotonic() - started,
            stop_reason="end",
            pieces=1,
        )
        facts = (", ".join(f"{label} {share:.1%}" for label, share in probabilities.items()),)
        results.append(Result(use, best, (f" {best}",), receipt, facts=facts, probabilities=probabilities))
    texts = {result.use: result.text for result in results}
    yield Progress(texts, 1, 1, "Done", 0, time.monotonic() - started, tuple(results))


def _softmax(labels: Sequence[str], scores: Sequence[Score]) -> dict[str, float]:
    """Over the labels' log-probabilities."""
    highest = max(score.total for score in scores)
    weights = [math.exp(score.total - highest) for score in scores]
    return {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}
