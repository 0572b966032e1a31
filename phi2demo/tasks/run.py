"""The way of a request: check, answer, and answer again from a receipt. Knows nothing of torch or of the page."""

import math
import secrets
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby, islice
from threading import Event

from phi2demo.engine.engine import MAX_SEED, Engine, GenerationOptions, ModelInfo, Prompt, Score, Variant
from phi2demo.engine.revisions import same_adapter
from phi2demo.errors import InputError, ModelError, SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.receipt import Receipt, make_receipt
from phi2demo.tasks.request import Request
from phi2demo.tasks.request_runner import BATCH_PIECES, RequestRunner
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.task import AnyTask
from phi2demo.tasks.token_budget import prompt_limit_of


def classify(engine: Engine, task: AnyTask, requests: Sequence[Request]) -> Generator[Progress]:
    """Choose the label of highest probability for every use of checked requests with seeds, all in one batch.

    The last Progress holds the results of all requests.
    """
    started = time.monotonic()
    variants = requests[0].variants
    assert all((request.variants, request.generation) == (variants, requests[0].generation) for request in requests)
    yield Progress(dict.fromkeys(variants, ""), 0, 1, task.title, 0, 0.0)
    outputs = [f" {label}" for label in task.labels]
    asked = [(request, variant) for request in requests for variant in variants]
    prompts = _prompts(engine, task, asked)
    rows = [
        Prompt(prompt, variant, request.seed or 0)
        for (request, variant), prompt in zip(asked, prompts, strict=True)
        for _ in outputs
    ]
    strength = requests[0].generation.adapter_strength
    scores = engine.score(rows, outputs * len(asked), adapter_strength=strength)
    seconds = time.monotonic() - started
    results = []
    for at, (request, variant) in enumerate(asked):
        probabilities = _softmax(task.labels, scores[at * len(outputs) : (at + 1) * len(outputs)])
        best = max(task.labels, key=probabilities.__getitem__)
        receipt = make_receipt(
            engine.info,
            request,
            variant=variant,
            prompt_style=task.asked(request, variant),
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
        results.append(Result(variant, best, (f" {best}",), receipt, notes, facts, probabilities))
    texts = {result.variant: result.text for result in results[: len(variants)]}
    yield Progress(texts, 1, 1, "Done", 0, time.monotonic() - started, tuple(results))


def _prompts(engine: Engine, task: AnyTask, asked: Sequence[tuple[Request, Variant]]) -> list[str]:
    """InputError where one does not fit together with its label."""
    budget = prompt_limit_of(engine, task, asked[0][0].generation)
    prompts = []
    for request, variant in asked:
        read = task.read(request)
        (text,) = task.pieces(read.text, read.options, budget).texts
        prompts.append(task.prompt(text, read.options, task.asked(request, variant)))
    return prompts


def _softmax(labels: Sequence[str], scores: Sequence[Score]) -> dict[str, float]:
    """Over the labels' log-probabilities."""
    highest = max(score.total for score in scores)
    weights = [math.exp(score.total - highest) for score in scores]
    return {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}


NEUTRAL_BEFORE = {"guidance_scale": 1.0}
"""Options that there were, with the value by which they changed nothing."""
SETTINGS_UNKNOWN = (
    "The receipt does not tell the settings of its adapter, as receipts did not at first. The adapter loaded here has "
    "the same weights; whether it also has the same lora_alpha and other settings is not known."
)
"""Said of a replay where the adapter may be another than the receipt's."""


def run(engine: Engine, request: Request, *, cancel: Event | None = None) -> Generator[Progress]:
    """Answer a request; the last Progress holds the results.

    Setting `cancel` ends it with what there is, closing the iterator ends it without. Raises InputError and
    SettingsError before any model is asked.
    """
    yield from _run_together(engine, [request], cancel)


def answer(engine: Engine, request: Request) -> tuple[Result, ...]:
    """The results of `run`, without its progress."""
    return _last_results(run(engine, request))


def answer_all(
    engine: Engine,
    requests: Iterable[Request],
    *,
    cancel: Event | None = None,
    at_once: int = BATCH_PIECES,
    listing: bool = True,
) -> Generator[tuple[Result, ...]]:
    """The results of each request, in order: what `answer` gives, `at_once` computed together, hence faster.

    Without `listing`, alternatives that have no part in the choice are not scored.

    Requests that follow each other go together where task, generation options and uses are the same. Measured times
    are those of the group. Raises as `run` does, when it comes to the request concerned.
    """
    for _, alike in groupby(requests, key=lambda request: (request.task, request.generation, request.variants)):
        while group := list(islice(alike, at_once)):
            try:
                results = _last_results(_run_together(engine, group, cancel, listing=listing))
            except InputError:  # of one of them: the others before it shall be answered all the same
                if len(group) == 1:
                    raise
                for request in group:
                    yield _last_results(_run_together(engine, [request], cancel, listing=listing))
                continue
            variants = len(group[0].variants)
            yield from (results[at : at + variants] for at in range(0, len(results), variants))


def task_named(name: str) -> AnyTask:
    """The task of a name; SettingsError where there is none."""
    if not isinstance(name, str) or name not in TASKS:
        raise SettingsError(f"There is no task {name!r}; choose one of {', '.join(TASKS)}.")
    return TASKS[name]


def request_of(receipt: Receipt) -> Request:
    """The request that a receipt was given for; InputError where its options are not this version's."""
    task = task_named(receipt.task)
    try:
        generation = dict(receipt.generation)
        if isinstance(stop := generation.get("stop", []), list):
            generation["stop"] = tuple(text for text in stop if text not in task.stop)
        for name in generation.keys() & NEUTRAL_BEFORE.keys():
            if generation.pop(name) != NEUTRAL_BEFORE[name]:
                raise InputError(f"The receipt is of an older version: {name} is an option that this one lacks.")
        return Request(
            task=receipt.task,
            text=receipt.text,
            options=task.options_type(**receipt.options),
            generation=GenerationOptions(**generation),
            variants=(receipt.variant,),
            seed=receipt.seed,
            base_prompt_style=receipt.prompt_style,
            prompt_style=receipt.prompt_style,
        )
    except TypeError as error:
        raise InputError(f"The receipt's options do not fit this version: {error}.") from error


def replay(
    engine: Engine, receipt: Receipt, *, cancel: Event | None = None, longest_s: float = math.inf
) -> Generator[Progress]:
    """Answer a receipt's request again; ModelError where another model is loaded than the one it names.

    A time limit of more than `longest_s` becomes that.
    The adapter that it names may be loaded as the first or the second. A receipt that does not tell the settings of
    its adapter is replayed by one of the same weights, and the result has the note SETTINGS_UNKNOWN.
    """
    info = engine.info
    variant, sure = _variant_of(receipt, info)
    if variant is None or info.base_revision != receipt.base_revision:
        raise _another_model(receipt, info)
    asked = request_of(receipt)
    asked = replace(asked, variants=(variant,), generation=asked.generation.within(longest_s))
    with closing(run(engine, asked, cancel=cancel)) as steps:
        for progress in steps:
            if progress.results is not None and not sure:
                noted = tuple(replace(each, notes=(*each.notes, SETTINGS_UNKNOWN)) for each in progress.results)
                progress = replace(progress, results=noted)
            yield progress


def _variant_of(receipt: Receipt, info: ModelInfo) -> tuple[Variant | None, bool]:
    """Under which use the adapter that a receipt names is loaded, if it is, and whether that is sure."""
    if receipt.variant == "base":
        return "base", True
    seats = [
        variant
        for variant in dict.fromkeys((receipt.variant, *info.variants))
        if variant in info.variants and variant != "base"
    ]
    same = {variant: same_adapter(info.adapter_of(variant)[1], receipt.adapter_revision) for variant in seats}
    surely = next((variant for variant in seats if same[variant]), None)
    return (surely, True) if surely else (next((variant for variant in seats if same[variant] is None), None), False)


def _another_model(receipt: Receipt, info: ModelInfo) -> ModelError:
    seats = [info.adapter_of(variant) for variant in info.variants if variant != "base"]
    wanted = _named(receipt.base, receipt.base_revision, (receipt.adapter, receipt.adapter_revision))
    loaded = _named(info.base, info.base_revision, *seats)
    how = " with --adapter or --second-adapter" if receipt.variant == "second" else ""
    weights, _, settings = (receipt.adapter_revision or "").partition("-")
    revisions = [revision for _, revision in seats if revision]
    why = ""
    if (
        settings
        and receipt.adapter_revision not in revisions
        and any(revision.startswith(f"{weights}-") for revision in revisions)
    ):
        why = (
            " The adapter's weights are the same, its settings in adapter_config.json (lora_alpha or another) are not."
        )
    return ModelError(f"The receipt is of {wanted}; loaded is {loaded}.{why} Start with the former{how} to replay it.")


def _named(base: str, base_revision: str, *adapters: tuple[str | None, str | None]) -> str:
    listed = " and ".join(f"{name} {revision}" for name, revision in adapters if name)
    return f"{base} {base_revision}" + (f" with adapter {listed}" if listed else " alone")


def _run_together(
    engine: Engine, requests: Sequence[Request], cancel: Event | None, *, listing: bool = True
) -> Generator[Progress]:
    """Answer requests of one task, with the same generation options and uses, in the same batches."""
    task = task_named(requests[0].task)
    checked = [task.check(request) for request in requests]
    for variant in checked[0].variants:
        engine.info.check_variant(variant)
    seeded = [
        request if request.seed is not None else replace(request, seed=secrets.randbelow(MAX_SEED + 1))
        for request in checked
    ]
    if task.labels:
        yield from classify(engine, task, seeded)
    else:
        yield from RequestRunner(engine, task, seeded, cancel or Event(), listing=listing).run()


def _last_results(steps: Generator[Progress]) -> tuple[Result, ...]:
    with closing(steps) as progress:
        *_, last = progress
    assert last.results is not None
    return last.results
