"""The endpoint /compare: plain values in, the answers of all models and their differences out."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr

from phi2demo.engine.loading import EngineLoader
from phi2demo.evaluation.comparison import check_reference, compare
from phi2demo.evaluation.reports import REPORTS_FOLDER
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.declared import VariantTasks
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import check
from phi2demo.tasks.task import CheckedRequest
from phi2demo.ui.compare_tab import ORDER
from phi2demo.ui.endpoint import (
    DECODING,
    FRAME_S,
    SENTENCE_CASE,
    BasePromptStyle,
    Endpoint,
    Options,
    checked_seed,
    documented,
    generation_of,
    task_of_command,
    task_options_of,
    told_to_client,
)
from phi2demo.ui.run import MODEL

NAME = "compare"


class CompareEndpoint(Endpoint):
    """The endpoint. It is a generator, so that the computing ends when the client leaves."""

    @documented(
        text="The text that every model gets.",
        reference="A reference answer; every answer is scored against it. null: none.",
        options=f"Any of {DECODING}, reverse_weight, {SENTENCE_CASE}.",
        returns='{"format", "task", "text", "options", "reference", "answers", "differences"}. answers: each as its own '
        'endpoint gives it, with its "scores". differences: for any two answers, and for the reference and each answer, '
        'the words that are the same, gone and new. While the models write, only "answers" with the text so far.',
    )
    def compare(
        self,
        text: str,
        task: str = "generate",
        task_options: dict[str, Any] | None = None,
        reference: str | None = None,
        seed: int | None = None,
        options: Options = None,
        base_prompt_style: BasePromptStyle = None,
    ) -> Iterator[dict[str, Any]]:
        """Send the same request to every loaded model, and compare the answers with each other and with a reference."""
        with told_to_client():
            kind = task_of_command(task, self._declared.either)
            defaults = self._declared.either.generation(kind.name)
            request = Request(
                task=kind.name,
                text=text,
                options=task_options_of(kind, task_options, self._declared.either),
                generation=generation_of(defaults, options, longest_s=self._longest_s),
                seed=checked_seed(seed),
                base_prompt_style=self._declared.prompt_style(base_prompt_style),
            )
            checked = check(request)
            good = check_reference(kind.name, reference)
            yield from self._answers(checked, good)

    def _answers(self, checked: CheckedRequest, reference: str | None) -> Iterator[dict[str, Any]]:
        assistant = self._assistant()
        loaded = assistant.engine.info.variants
        checked = checked.with_settings(variants=tuple(variant for variant in ORDER if variant in loaded))
        shown = time.monotonic()
        with closing(assistant.run(checked)) as steps:
            for progress in steps:
                if progress.results is not None:
                    yield compare(checked.request, progress.results, reference).as_dict()
                elif time.monotonic() - shown >= FRAME_S:
                    shown = time.monotonic()
                    yield {"answers": [{"text": text, "variant": variant} for variant, text in progress.texts.items()]}


def add_compare_endpoint(
    loader: EngineLoader, declared: VariantTasks, *, reports: Path = REPORTS_FOLDER, longest_s: float = LONGEST_S
) -> None:
    """Add /compare to the current page."""
    endpoint = CompareEndpoint(loader, declared, reports=reports, longest_s=longest_s)
    gr.api(endpoint.compare, api_name=NAME, concurrency_id=MODEL, concurrency_limit=1)
