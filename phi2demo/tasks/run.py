"""The way of a request: check it, answer it, answer it again from its receipt. Knows nothing of torch or of the page."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from threading import Event

from phi2demo.engine.engine import Engine, GenerationOptions, ModelInfo, Prompt, Score, Variant, adapter_variants
from phi2demo.engine.revisions import same_adapter
from phi2demo.errors import InputError, ModelError, SettingsError, listed, quoted, shortened
from phi2demo.tasks import TASKS, task_named
from phi2demo.tasks.confidence import ConfidenceBand
from phi2demo.tasks.declared import VariantTasks, templates_of
from phi2demo.tasks.receipt import Receipt, make_receipt
from phi2demo.tasks.request import Request
from phi2demo.tasks.request_runner import BATCH_PIECES, RequestRunner
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.task import CheckedRequest, prompt_limit_of
from phi2demo.tasks.templates import PHI, Templates, make_template

SETTINGS_UNKNOWN = (
    "The receipt does not record the settings of its adapter; early receipts did not. The adapter loaded here has the "
    "same weights, but its lora_alpha and other settings may differ."
)
"""The note of a replay whose adapter may differ from the one of the receipt."""


def check(request: Request) -> CheckedRequest:
    """The request as the assistant takes it. Raises as `Task.check`, and SettingsError for an unknown task."""
    return task_named(request.task).check(request)


@dataclass(frozen=True)
class Assistant:
    """Answers requests with a loaded model. Its results are complete: no caller adds notes to them."""

    engine: Engine
    variant_tasks: VariantTasks = field(default_factory=VariantTasks)
    """What the loaded adapters were finetuned for; an answer to anything else gets a note."""
    confidence_band_of: Callable[[Result], ConfidenceBand | None] | None = None
    """Looks up what an evaluation found of answers that are as probable; None where no evaluation is at hand."""
    lists_alternatives: bool = True
    """Whether to score the other outputs of a beam search where they have no part in the choice."""
    templates: Templates | None = None
    """The prompt templates; None takes those of the loaded model."""

    def run(self, *requests: CheckedRequest, cancel: Event | None = None) -> Generator[Progress]:
        """Answer a request, or several that differ in text, task options and seed alone, in the same batches.

        The progress is that of the first request; its last step holds the results of all. Setting `cancel` ends the
        computing with the answers so far, closing the iterator ends it without. Raises SettingsError where a variant is
        not loaded and InputError where a text does not fit the context, both before any model is asked.
        """
        task, variants = requests[0].task, requests[0].request.variants
        for variant in variants:
            self.engine.info.check_variant(variant)
        templates = self.templates or templates_of(self.engine.info)
        requests = tuple(replace(checked, templates=templates) for checked in requests)
        if task.labels:
            steps = classify(self.engine, requests)
        else:
            steps = RequestRunner(
                self.engine, requests, cancel or Event(), lists_alternatives=self.lists_alternatives
            ).run()
        with closing(steps):
            for progress in steps:
                if progress.results is not None:
                    asked = (checked.request for checked in requests for _ in variants)
                    results = tuple(map(self._completed, asked, progress.results))
                    progress = replace(progress, results=results)
                yield progress

    def answer(self, *requests: CheckedRequest, cancel: Event | None = None) -> tuple[Result, ...]:
        """The results of `run`, without its progress."""
        with closing(self.run(*requests, cancel=cancel)) as steps:
            *_, last = steps
        assert last.results is not None
        return last.results

    def answer_all(
        self, requests: Iterable[CheckedRequest], *, cancel: Event | None = None, batch_requests: int = BATCH_PIECES
    ) -> Generator[tuple[Result, ...]]:
        """The results of each request, in order: what `answer` gives, `batch_requests` computed together, hence faster.

        Requests that follow each other go together where task, generation options and variants are the same. Measured
        times are those of the group. Raises as `run` does, when it comes to the request concerned.
        """

        def settings(checked: CheckedRequest) -> tuple[object, ...]:
            return checked.request.task, checked.request.generation, checked.request.variants

        for _, alike in groupby(requests, key=settings):
            while group := list(islice(alike, batch_requests)):
                try:
                    results = self.answer(*group, cancel=cancel)
                except InputError:  # one of them does not fit: those before it shall be answered all the same
                    if len(group) == 1:
                        raise
                    for checked in group:
                        yield self.answer(checked, cancel=cancel)
                    continue
                count = len(group[0].request.variants)
                yield from (results[start : start + count] for start in range(0, len(results), count))

    def replay(
        self, receipt: Receipt, *, cancel: Event | None = None, longest_s: float = math.inf
    ) -> Generator[Progress]:
        """Answer the request of a receipt again, for at most `longest_s` seconds.

        The adapter that the receipt names may be loaded as the first or a further one, a wholly finetuned model with its
        base or alone. A receipt that does not record the settings of its adapter is replayed by one of the same weights,
        and the result has the note SETTINGS_UNKNOWN. Raises ModelError where another model is loaded than the one that
        the receipt names, and InputError where the receipt names a variant that its adapter cannot have.
        """
        info = self.engine.info
        variant, is_sure = _variant_of(receipt, info)
        if variant is None:
            raise _another_model(receipt, info)
        _check_variant_of(receipt, info)
        request = request_of(receipt)
        template = make_template(receipt.template, receipt.system, info.chat)
        checked = check(replace(request, variants=(variant,), generation=request.generation.within(longest_s)))
        assistant = replace(self, templates=Templates(template))
        with closing(assistant.run(checked, cancel=cancel)) as steps:
            for progress in steps:
                if progress.results is not None and not is_sure:
                    (result,) = progress.results
                    progress = replace(progress, results=(replace(result, notes=(*result.notes, SETTINGS_UNKNOWN)),))
                yield progress

    def _completed(self, request: Request, result: Result) -> Result:
        """The result with the notes and the confidence band that depend on what is loaded."""
        notes = (*self.variant_tasks.notes(request, result.variant), *result.notes)
        band = None
        if self.confidence_band_of and not result.withheld:
            band = self.confidence_band_of(result)
        if band and band.word == "unsure":
            notes = (*notes, f"The model is unsure of this. {band.measured}.")
        return replace(result, notes=notes, confidence_band=band)


def request_of(receipt: Receipt) -> Request:
    """The request that a receipt was given for.

    Raises InputError where its options are not this version's, SettingsError where no loaded model declares its task.
    """
    if receipt.task not in TASKS:
        named = _named(receipt.base, receipt.base_revision, (receipt.adapter, receipt.adapter_revision))
        start = (
            f"--adapter and the folder or hub id of {receipt.adapter}" if receipt.adapter else f"--model {receipt.base}"
        )
        raise SettingsError(
            f"The receipt is of the task {quoted(receipt.task)}, which no model here declares, and of {named}. Start with "
            f"{shortened(start, 200)} to replay it."
        )
    task = TASKS[receipt.task]
    try:
        generation = dict(receipt.generation)
        if isinstance(stop := generation.get("stop", []), list):
            generation["stop"] = tuple(text for text in stop if text not in PHI.stop)  # early receipts list these too
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
        raise InputError(f"The receipt's options do not fit this version: {shortened(str(error), 200)}.") from error


def _variant_of(receipt: Receipt, info: ModelInfo) -> tuple[Variant | None, bool]:
    """Return the variant with the weights of a receipt, None where they are not loaded, and whether that is certain."""
    whole_models: dict[Variant, str | None] = {"base": info.base_revision}
    if info.is_wholly_finetuned:
        whole_models["finetuned"] = info.adapter_revision
    recorded = receipt.base_revision if receipt.variant == "base" else receipt.adapter_revision
    if whole := next((variant for variant, revision in whole_models.items() if revision == recorded), None):
        return whole, True
    if receipt.variant == "base" or info.base_revision != receipt.base_revision:
        return None, True
    seats = [
        variant
        for variant in dict.fromkeys((receipt.variant, *info.variants))
        if variant in info.variants and variant != "base"
    ]
    same = {variant: same_adapter(info.adapter_of(variant)[1], receipt.adapter_revision) for variant in seats}
    surely = next((variant for variant in seats if same[variant]), None)
    return (surely, True) if surely else (next((variant for variant in seats if same[variant] is None), None), False)


def _check_variant_of(receipt: Receipt, info: ModelInfo) -> None:
    """Raise InputError where a receipt names a variant that is neither loaded nor the name of its adapter."""
    known = dict.fromkeys(
        ("finetuned", *info.variants, *adapter_variants([receipt.adapter] if receipt.adapter else []))
    )
    if not receipt.variant.startswith(tuple(known)):  # a name that is taken gets a number behind it
        raise InputError(f"The receipt is of the variant {quoted(receipt.variant)}; its model has {listed(known)}.")


def _another_model(receipt: Receipt, info: ModelInfo) -> ModelError:
    seats = [info.adapter_of(variant) for variant in info.variants if variant != "base"]
    named = _named(receipt.base, receipt.base_revision, (receipt.adapter, receipt.adapter_revision))
    loaded = _named(info.base, info.base_revision, *seats)
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
    return ModelError(f"The receipt is of {named}; loaded is {loaded}.{why} Start with the former to replay it.")


def _named(base: str, base_revision: str, *adapters: tuple[str | None, str | None]) -> str:
    named = " and ".join(f"{shortened(name)} {shortened(str(revision))}" for name, revision in adapters if name)
    return f"{shortened(base)} {shortened(base_revision)}" + (f" with adapter {named}" if named else " alone")


def classify(engine: Engine, requests: Sequence[CheckedRequest]) -> Generator[Progress]:
    """Choose the label of highest probability for every variant and request, all in one batch.

    The last progress holds the results of all requests.
    """
    started = time.monotonic()
    task, variants = requests[0].task, requests[0].request.variants
    yield Progress(dict.fromkeys(variants, ""), 0, 1, task.title, 0, 0.0)
    rows = [(checked, variant) for checked in requests for variant in variants]
    prompts = _label_prompts(engine, rows)
    batch, outputs = [], []
    for (checked, variant), prompt in zip(rows, prompts, strict=True):
        batch += [Prompt(prompt, variant, checked.request.seed or 0)] * len(task.labels)
        outputs += [f"{checked.template(variant).separator}{label}" for label in task.labels]
    strength = requests[0].request.generation.adapter_strength
    scores = engine.score(batch, outputs, adapter_strength=strength)
    seconds = time.monotonic() - started
    results = []
    for row, (checked, variant) in enumerate(rows):
        count = len(task.labels)
        probabilities = _softmax(task.labels, scores[row * count : (row + 1) * count])
        best = max(task.labels, key=probabilities.__getitem__)
        receipt = make_receipt(
            engine.info,
            checked.request,
            variant=variant,
            prompt_style=checked.prompt_style(variant),
            template=checked.template(variant),
            prompt=prompts[row],
            output=best,
            batch_size=len(batch),
            prompt_tokens=engine.count_tokens(prompts[row]),
            new_tokens=0,
            first_token_s=None,
            seconds=seconds,
            stop_reason="end",
            pieces=1,
        )
        facts = (", ".join(f"{label} {share:.1%}" for label, share in probabilities.items()),)
        notes = task.reading_notes(checked.request)
        raw = (f"{checked.template(variant).separator}{best}",)
        results.append(Result(variant, best, raw, receipt, notes, facts, probabilities))
    texts = {result.variant: result.text for result in results[: len(variants)]}
    yield Progress(texts, 1, 1, "Done", 0, time.monotonic() - started, tuple(results))


def _label_prompts(engine: Engine, rows: Sequence[tuple[CheckedRequest, Variant]]) -> list[str]:
    """InputError where one does not fit together with its label."""
    prompts = []
    for checked, variant in rows:
        task, read = checked.task, checked.read
        limit = prompt_limit_of(engine, task, read.generation, checked.templates.of(variant))
        (text,) = task.pieces(read.text, read.options, limit).texts
        prompts.append(checked.prompt(text, variant))
    return prompts


def _softmax(labels: Sequence[str], scores: Sequence[Score]) -> dict[str, float]:
    """Over the labels' log-probabilities."""
    highest = max(score.total for score in scores)
    weights = [math.exp(score.total - highest) for score in scores]
    return {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}
