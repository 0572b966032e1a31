"""The endpoint /evaluate: the user's own pairs in, figures and answers out."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from phi2demo.data.checks import check_choice
from phi2demo.data.own_pairs import pairs_of
from phi2demo.engine.loading import EngineLoader
from phi2demo.evaluation.live import LiveRun, LiveSettings
from phi2demo.evaluation.live_samples import ItemSample
from phi2demo.evaluation.statistics import SEED
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui.endpoint import FRAME_S, LOADING_TIMEOUT_S, documented, task_of_command, told_to_client
from phi2demo.ui.run import MODEL

NAME = "evaluate"
MAX_S = 300.0
"""A call stops after this time with the figures so far, as others wait for the model."""


class EvaluateEndpoint:
    """The endpoint. It is a generator, so that the computing ends when the client leaves."""

    def __init__(self, loader: EngineLoader, adapter_tasks: AdapterTasks, *, longest_s: float = LONGEST_S) -> None:
        """A call may take `longest_s` seconds, and no more than MAX_S."""
        self._loader, self._adapter_tasks, self._longest_s = loader, adapter_tasks, min(longest_s, MAX_S)

    @documented(
        rows="At most 100 objects with the fields of the task: source and target (translate), document and summary "
        "(summarize), text and label (classify; positive or negative), context, question and answer (answer).",
        task='"translate", "summarize", "classify" or "answer".',
        source="Language of the source of a translation, as a two-letter code.",
        target="Language of its target.",
        systems='Any of "finetuned", "base_template", "base_plain" (the base with the prompt of its pretraining); null: '
        "finetuned and base_plain, or base_template where there is no adapter.",
        seed="Seed of the resamples behind the intervals.",
        returns='{"report", "answers", "complete"}: figures as in report.json of `python -m phi2demo evaluate`, and for every '
        'row the answer of each system with its score. Before that, progress as {"done", "total", "seconds", "seconds_left"}.',
    )
    def evaluate(
        self,
        rows: list[dict[str, Any]],
        task: str = "translate",
        source: str = "en",
        target: str = "de",
        systems: list[str] | None = None,
        seed: int = SEED,
    ) -> Iterator[dict[str, Any]]:
        """Ask the finetuned model and its base your own pairs, and score their answers against yours."""
        with told_to_client():
            name = task_of_command(task, self._adapter_tasks).name
            if name == "translation":
                for code, which in ((source, "source"), (target, "target")):
                    check_choice(which, code, self._adapter_tasks.languages)
            test_set = pairs_of(rows, task=name, source=source, target=target)
            engine = self._loader.engine(timeout_s=LOADING_TIMEOUT_S)
            chosen: Any = ("finetuned", "base_plain") if engine.info.adapter else ("base_template",)
            settings = LiveSettings(systems=tuple(systems) if isinstance(systems, list) else chosen, seed=seed)  # type: ignore[arg-type]
            run = LiveRun(engine, [ItemSample(test_set, test_set.items)], settings)
            yield from _steps(run, at_most_s=self._longest_s)


def add_evaluate_endpoint(loader: EngineLoader, adapter_tasks: AdapterTasks, *, longest_s: float = LONGEST_S) -> None:
    """Add /evaluate to the current page."""
    endpoint = EvaluateEndpoint(loader, adapter_tasks, longest_s=longest_s)
    gr.api(endpoint.evaluate, api_name=NAME, concurrency_id=MODEL, concurrency_limit=1)


def _steps(run: LiveRun, *, at_most_s: float) -> Iterator[dict[str, Any]]:
    """Yield progress from time to time, and the figures last. Between two yields, gradio notices that a client has left."""
    shown = time.monotonic()
    with closing(run.steps(at_most_s=at_most_s)) as steps:  # type: ignore[type-var]
        for progress in steps:
            result = run.result() if progress.paused else progress.result
            if result is not None:
                answers = [example.as_dict() for example in result.examples]
                yield {"report": result.report.as_dict(), "answers": answers, "complete": not progress.paused}
            elif time.monotonic() - shown >= FRAME_S:
                shown = time.monotonic()
                left = progress.seconds_left
                yield {
                    "done": progress.done,
                    "total": progress.total,
                    "seconds": round(progress.seconds, 1),
                    "seconds_left": None if left is None else round(left, 1),
                }
