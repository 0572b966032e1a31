"""The tasks as named endpoints: plain values in, text with its receipt out."""

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from phi2demo.cards.model_cards import ModelCards
from phi2demo.engine.engine import variants_named
from phi2demo.engine.loading import EngineLoader
from phi2demo.evaluation.reports import REPORTS_FOLDER
from phi2demo.settings import LONGEST_S
from phi2demo.tasks import BUILT_IN
from phi2demo.tasks.declared import AdapterTasks, VariantTasks
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.own_task import OwnTask
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.result import Progress
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.ui.endpoint import (
    DECODING,
    FRAME_S,
    SENTENCE_CASE,
    BasePromptStyle,
    Endpoint,
    Options,
    answer_with,
    checked_seed,
    documented,
    errors_for_client,
    generation_of,
)
from phi2demo.ui.run import MODEL

Model = str | None
Answer = dict[str, Any] | list[dict[str, Any]]


class Endpoints(Endpoint):
    """One method for each endpoint. They are generators, so that the computing ends when the client leaves."""

    @documented(
        text='The beginning of a text (mode "continue") or an instruction (mode "instruct").',
        mode='"continue" or "instruct"; empty: the mode that the model was finetuned for.',
        returns=answer_with(),
    )
    def generate(
        self,
        text: str,
        mode: str = "",
        variant: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_prompt_style: BasePromptStyle = None,
    ) -> Iterator[Answer]:
        """Continue a text, or follow an instruction."""
        yield from self._task(
            "generation",
            text,
            lambda declared: GenerationTaskOptions(mode or declared.modes[0]),
            variant,
            seed,
            options,
            base_prompt_style,
        )

    @documented(
        text="The text to summarize.",
        length='"sentence", "short" (two or three sentences) or "medium" (a short paragraph).',
        options=f"Any of {DECODING}, {SENTENCE_CASE}.",
        returns=answer_with("mean_probability", "confidence_band", "alternatives"),
    )
    def summarize(
        self,
        text: str,
        length: str = "sentence",
        variant: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_prompt_style: BasePromptStyle = None,
    ) -> Iterator[Answer]:
        """Summarize a text; one longer than the context is summarized part by part."""
        yield from self._task(
            "summarization", text, lambda _: SummaryOptions(length), variant, seed, options, base_prompt_style
        )

    @documented(
        text="The text to translate.",
        source="Its language, as a two-letter code; null: the language that is selected first on the page.",
        target="The language to translate into, as a two-letter code; null: the language that is selected first on the page.",
        options=f"Any of {DECODING}, reverse_weight, {SENTENCE_CASE}.",
        returns=answer_with("mean_probability", "confidence_band", "alternatives"),
    )
    def translate(
        self,
        text: str,
        source: str | None = None,
        target: str | None = None,
        variant: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_prompt_style: BasePromptStyle = None,
    ) -> Iterator[Answer]:
        """Translate a text sentence by sentence, keeping its lines."""
        yield from self._task(
            "translation",
            text,
            lambda declared: declared.directions(source, target),
            variant,
            seed,
            options,
            base_prompt_style,
        )

    @documented(
        text="A review or an opinion.",
        options="Only adapter_strength and sentence_case, as no tokens are generated.",
        returns=answer_with("probabilities", "mean_probability", "confidence_band"),
    )
    def classify(
        self, text: str, variant: Model = None, base_prompt_style: BasePromptStyle = None, options: Options = None
    ) -> Iterator[Answer]:
        """Choose the label of a text: positive, negative, or another that the model has, with the probability of each."""
        yield from self._task(
            "sentiment", text, lambda _: SentimentOptions(), variant, None, options, base_prompt_style
        )

    @documented(
        text="The text that holds the answer.",
        question="A question about the text.",
        options=f"Any of {DECODING}, {SENTENCE_CASE}, min_support (below this support by the text an adapter answers "
        '"not in the text").',
        returns=answer_with("mean_probability", "confidence_band", "withheld", "alternatives"),
    )
    def answer(
        self,
        text: str,
        question: str,
        variant: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_prompt_style: BasePromptStyle = None,
    ) -> Iterator[Answer]:
        """Answer a question from a text."""
        yield from self._task(
            "question_answering", text, lambda _: QuestionOptions(question), variant, seed, options, base_prompt_style
        )

    def own(self, task: OwnTask) -> Callable[..., Iterator[Answer]]:
        """Make the endpoint of a task that the adapter declares; its fields are parameters."""
        parameters = {"text": Parameter("text", Parameter.POSITIONAL_OR_KEYWORD, annotation=str)}
        for name, entry in task.fields.items():
            kind: Any = Literal[entry.choices] if entry.choices else float if entry.number else str
            parameters[name] = Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=entry.default, annotation=kind)
        shared: dict[str, Any] = {
            "variant": Model,
            "seed": int | None,
            "options": Options,
            "base_prompt_style": BasePromptStyle,
        }
        for name, kind in shared.items():
            parameters[name] = Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=kind)
        signature = Signature(list(parameters.values()), return_annotation=Iterator[Answer])

        def ask(*values: Any) -> Iterator[Answer]:
            given = signature.bind(*values)
            given.apply_defaults()
            text, *fields, variant, seed, options, base_prompt_style = given.arguments.values()
            chosen = dict(zip(task.fields, fields, strict=True))
            yield from self._task(
                task.name, text, lambda _: task.options_type(**chosen), variant, seed, options, base_prompt_style
            )

        ask.__signature__ = signature  # type: ignore[attr-defined]
        ask.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
        ask.__doc__ = f"{task.title}: a task that the adapter declares."
        described = {name: f"{task.label_of(name)}: {entry.expects}." for name, entry in task.fields.items()}
        more = ("probabilities",) if task.labels else ("alternatives",)
        returns = answer_with("mean_probability", "confidence_band", *more)
        return documented(text="The text that the task is about.", returns=returns, **described)(ask)

    @documented(
        receipt='A receipt as an answer gave it, or its JSON as "Download receipt" on the page saves it.',
        returns='{"same", "text", "variant", "notes", "facts", "receipt"}. same: whether the text is that of the receipt.',
    )
    def replay(self, receipt: str | dict[str, Any]) -> Iterator[Answer]:
        """Repeat the request of a receipt."""
        with errors_for_client():
            before = Receipt.from_json(receipt if isinstance(receipt, str) else json.dumps(receipt))
            for answers in self._stream(lambda assistant: assistant.replay(before, longest_s=self._longest_s)):
                yield {**answers[0], "same": answers[0]["text"] == before.output}

    def _task(
        self,
        task: str,
        text: str,
        task_options: Callable[[AdapterTasks], TaskOptions],
        variant: Model,
        seed: int | None,
        options: Options,
        base_prompt_style: BasePromptStyle,
    ) -> Iterator[Answer]:
        with errors_for_client():
            variants = variants_named("finetuned" if variant is None else variant, tuple(self._declared.others))
            adapter_tasks = self._declared.of(variants)
            request = Request(
                task=task,
                text=text,
                options=self._declared.adapt(task, task_options(adapter_tasks), variants),
                generation=generation_of(adapter_tasks.generation(task), options, longest_s=self._longest_s),
                variants=variants,
                seed=checked_seed(seed),
                base_prompt_style=self._declared.prompt_style(base_prompt_style),
            )
            checked = check(request)

            def answer(assistant: Assistant) -> Generator[Progress]:
                loaded = assistant.engine.info.variants[:1]
                return assistant.run(checked if variant else checked.with_settings(variants=loaded))

            for answers in self._stream(answer):
                yield answers if variant and len(variants) > 1 else answers[0]

    def _stream(self, ask: Callable[[Assistant], Generator[Progress]]) -> Iterator[list[dict[str, Any]]]:
        """Yield partial answers, and the complete ones last. Between two yields, gradio notices that a client has left."""
        assistant, shown = self._assistant(), time.monotonic()
        with closing(ask(assistant)) as steps:
            for progress in steps:
                if progress.results is not None:
                    yield [result.as_dict() for result in progress.results]
                elif time.monotonic() - shown >= FRAME_S:
                    shown = time.monotonic()
                    yield [
                        {"text": text, "variant": variant, "receipt": None} for variant, text in progress.texts.items()
                    ]


def add_endpoints(
    loader: EngineLoader, declared: VariantTasks, *, reports: Path = REPORTS_FOLDER, longest_s: float = LONGEST_S
) -> None:
    """Add /generate, /summarize, /translate, /classify, /answer, /ask_TASK (those declared) and /replay to the current page."""
    endpoints = Endpoints(loader, declared, reports=reports, longest_s=longest_s)
    names = [task.command for task in BUILT_IN.values() if task.name in declared.either.tasks]
    functions = {name: getattr(endpoints, name) for name in names}
    functions |= {f"ask_{task.name}": endpoints.own(task) for task in declared.either.own if isinstance(task, OwnTask)}
    functions["replay"] = endpoints.replay
    for name, function in functions.items():
        gr.api(function, api_name=name, concurrency_id=MODEL, concurrency_limit=1)


NAME = "card"


def add_card_endpoint(reports_folder: ModelCards) -> None:
    """Add /card to the current page. It asks no model, so it does not wait for one."""

    @documented(
        variant='"finetuned", "base" or the name of a further adapter; empty: finetuned where there is an adapter.',
        returns="The card; where the folder of the model has none, a card that is made from its files.",
    )
    def card(variant: str = "") -> str:
        """Give the model card of a loaded model, as Markdown with its front matter."""
        with errors_for_client():
            return reports_folder.card(variant or reports_folder.variants[0]).text

    gr.api(card, api_name=NAME, concurrency_id="cards", concurrency_limit=2)
