"""The endpoint /explain: plain values in, an explanation out."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import gradio as gr

from phi2demo.data.checks import check_text
from phi2demo.engine.engine import Engine, GenerationOptions
from phi2demo.engine.loading import EngineLoader
from phi2demo.explain.job import explain
from phi2demo.explain.request import ExplainRequest, as_output
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.declared import VariantTasks
from phi2demo.tasks.request import PromptStyle, Request, TaskOptions
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.task import AnyTask
from phi2demo.ui.endpoint import (
    FRAME_S,
    LOADING_TIMEOUT_S,
    BasePromptStyle,
    documented,
    errors_for_client,
    task_of_command,
    task_options_of,
)
from phi2demo.ui.run import MODEL

NAME = "explain"


class ExplainEndpoint:
    """The endpoint. It is a generator, so that the computing ends when the client leaves."""

    def __init__(self, loader: EngineLoader, declared: VariantTasks, *, longest_s: float = LONGEST_S) -> None:
        """Create the endpoint; an explanation, with its answer, may take `longest_s` seconds."""
        self._loader, self._declared, self._longest_s = loader, declared, longest_s

    @documented(
        text="The text that the model read; its parts get values, the instruction around it does not.",
        output="The output to explain; null: what the model answers with greedy decoding.",
        of='"finetuned", "base", "difference" (what finetuning changed), or the name of a further adapter; null: finetuned '
        "where there is an adapter.",
        target="First output token and the one after the last, as [3, 5]; null: the whole output.",
        instead="A contrast: explain why the target and not this text; null: none.",
        method='"exact", "permutation", "partition" (SHAP), "lime", or "auto": the method nearest to exact SHAP values that '
        "max_evals allows.",
        units='"tokens", "words", "sentences", "paragraphs", or "auto": the finest units that take at most ten seconds.',
        value='"log-probability" (adds up over tokens) or "log-odds" (as in stock shap).',
        mask="The text that replaces hidden parts; empty: they are dropped.",
        max_evals="The most masked texts that the method may score, 16 to 20000.",
        seed="The same seed gives the same explanation.",
        trust="Whether to measure deletion, insertion and the agreement of SHAP and LIME as well.",
        returns='{"text", "output", "units", "tokens", "values", "base_value", "full_value", "trust", "notes", "model", ...}: '
        "a value for every unit, and a row of values, one for each output token. Before that, progress as "
        '{"stage", "calls", "estimate", "seconds"}.',
    )
    def explain(
        self,
        text: str,
        output: str | None = None,
        task: str = "generate",
        task_options: dict[str, Any] | None = None,
        of: str | None = None,
        target: list[int] | None = None,
        instead: str | None = None,
        method: str = "auto",
        units: str = "auto",
        value: str = "log-probability",
        mask: str = "",
        max_evals: int = 500,
        seed: int = 0,
        trust: bool = True,
        base_prompt_style: BasePromptStyle = None,
    ) -> Iterator[dict[str, Any]]:
        """Attribute an output, or a part of it, to the parts of the text, and measure how reliable that is."""
        with errors_for_client():
            kind = task_of_command(task, self._declared.either)
            options = task_options_of(kind, task_options, self._declared.either)
            prompt_style = self._declared.prompt_style(base_prompt_style)
            settings = {
                "target": _span(target), "instead": instead, "method": method, "units": units, "value": value,
                "mask": mask, "max_evals": max_evals, "seed": seed, "trust": trust,
                "base_prompt_style": prompt_style,
            }  # fmt: skip
            check_text(text)
            engine = self._loader.engine(timeout_s=LOADING_TIMEOUT_S)
            started = time.monotonic()
            chosen = of if of is not None else engine.info.variants[0]
            generation = self._declared.asked_of(chosen).generation(kind.name)
            if output is None:
                greedy = replace(generation, temperature=0.0).within(self._longest_s)
                asked = yield from _answered(engine, kind, text, options, greedy, of=chosen, **settings)
            else:
                settings["adapter_strength"] = generation.adapter_strength
                settings["sentence_case"] = generation.sentence_case
                asked = ExplainRequest(kind.name, text, options, (_output(output),), of=chosen, **settings)
            yield from _steps(engine, asked, longest_s=max(1.0, self._longest_s - (time.monotonic() - started)))


def add_explain_endpoint(loader: EngineLoader, declared: VariantTasks, *, longest_s: float = LONGEST_S) -> None:
    """Add /explain to the current page."""
    endpoint = ExplainEndpoint(loader, declared, longest_s=longest_s)
    gr.api(endpoint.explain, api_name=NAME, concurrency_id=MODEL, concurrency_limit=1)


def _answered(
    engine: Engine,
    task: AnyTask,
    text: str,
    options: TaskOptions,
    greedy: GenerationOptions,
    *,
    of: str,
    base_prompt_style: PromptStyle,
    **settings: Any,
) -> Generator[dict[str, Any], None, ExplainRequest]:
    """Ask the model first, and return the request to explain its answer."""
    variant = "finetuned" if of == "difference" else of
    engine.info.check_variant(variant)
    checked = check(Request(task.name, text, options, greedy, variants=(variant,), base_prompt_style=base_prompt_style))
    shown = time.monotonic()
    with closing(Assistant(engine).run(checked)) as steps:
        for progress in steps:
            if progress.results is not None:
                return ExplainRequest.from_result(engine, checked.request, progress.results[0], of=of, **settings)
            if time.monotonic() - shown >= FRAME_S:
                shown = time.monotonic()
                yield {"stage": "Answering", "calls": 0, "estimate": None, "seconds": round(progress.seconds, 1)}
    raise AssertionError("a request ended without results")


def _steps(engine: Engine, asked: ExplainRequest, *, longest_s: float) -> Iterator[dict[str, Any]]:
    """Yield progress from time to time, and the explanation last. Between two yields, gradio notices that a client has left."""
    shown = time.monotonic()
    with closing(explain(engine, asked, longest_s=longest_s)) as steps:
        for progress in steps:
            if progress.attribution is not None:
                yield progress.attribution.as_dict()
            elif time.monotonic() - shown >= FRAME_S:
                shown = time.monotonic()
                estimate = asdict(progress.estimate) if progress.estimate else None
                yield {
                    "stage": progress.stage,
                    "calls": progress.calls,
                    "estimate": estimate,
                    "seconds": round(progress.seconds, 1),
                }


def _output(output: object) -> str:
    """Return the output as the template has it; empty where it is blank, which the request refuses."""
    if not isinstance(output, str) or output.strip():
        return as_output(check_text(output, what="output"))
    return ""


def _span(target: object) -> Any:
    """Return a JSON list as a tuple; the request checks it."""
    return tuple(target) if isinstance(target, list) else target
