"""The tasks as named endpoints: plain values in, text with its receipt out."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from phi2demo.cards.model_cards import Shelf
from phi2demo.engine.engine import USES, Engine, Use
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import SettingsError
from phi2demo.evaluation.confidence import judged
from phi2demo.evaluation.reports import SHELF
from phi2demo.settings import LONGEST_S
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import Declaration, Declarations
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.result import Progress, Result
from phi2demo.tasks.run import replay, run
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.ui.endpoint import (
    FRAME_S,
    LOADING_TIMEOUT_S,
    BaseForm,
    Endpoint,
    Options,
    checked_seed,
    generation_of,
    told_to_client,
)
from phi2demo.ui.events import MODEL

Model = Literal["finetuned", "base", "second", "both", "all"] | None
Results = tuple[Result, ...]
Answer = dict[str, Any] | list[dict[str, Any]]


class Endpoints(Endpoint):
    """One method an endpoint. Generators, so that a client that leaves ends the computing."""

    def generate(
        self,
        text: str,
        mode: str = "",
        use: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_form: BaseForm = None,
    ) -> Iterator[Answer]:
        """Continue a text, or follow an instruction.

        Parameters:
            text: The beginning of a text (mode "continue") or an instruction (mode "instruct").
            mode: "continue" or "instruct"; empty: what the model was finetuned for.
            use: "finetuned", "base", "second" (the second adapter), "both" (the first two) or "all"; null: finetuned
                where there is an adapter.
            seed: A whole number that makes a sampled answer the same again; null: random, said in the receipt.
            options: Any of max_new_tokens, temperature, top_p, top_k, repetition_penalty,
                no_repeat_ngram_size, num_beams, guidance_scale, copy_bias, adapter_strength, time_limit_s.
            base_form: How the base is asked: "plain" (a text to go on with) or "template" (with the instruction); null:
                plain where its folder records that it was pretrained so.

        Returns:
            {"text", "use", "notes", "facts", "receipt"}; for "both" and "all" a list.
        """
        yield from self._task(
            "generation", text, lambda of: GenerationTaskOptions(mode or of.modes[0]), use, seed, options, base_form
        )

    def summarize(
        self,
        text: str,
        length: str = "sentence",
        use: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_form: BaseForm = None,
    ) -> Iterator[Answer]:
        """Summarize a text; one longer than the context is summarized part by part.

        Parameters:
            text: The text to summarize.
            length: "sentence", "short" (two or three sentences) or "medium" (a short paragraph).
            use: "finetuned", "base", "second" (the second adapter), "both" (the first two) or "all"; null: finetuned
                where there is an adapter.
            seed: A whole number that makes a sampled answer the same again; null: random, said in the receipt.
            options: Any of max_new_tokens, temperature, top_p, top_k, repetition_penalty,
                no_repeat_ngram_size, num_beams, guidance_scale, copy_bias, adapter_strength, time_limit_s,
                sentence_case (true: a text in capitals, or without any, is read as sentences are written).
            base_form: How the base is asked: "plain" (a text to go on with) or "template" (with the instruction); null:
                plain where its folder records that it was pretrained so.

        Returns:
            {"text", "use", "notes", "facts", "receipt", "mean_probability", "sureness", "alternatives"}; for "both"
            and "all" a list. The mean_probability is that of the answer's tokens, sureness what it is worth where that was
            measured. The alternatives are, of each part, what it was chosen among; missing where num_beams is 1.
        """
        yield from self._task("summarization", text, lambda _: SummaryOptions(length), use, seed, options, base_form)

    def translate(
        self,
        text: str,
        source: str | None = None,
        target: str | None = None,
        use: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_form: BaseForm = None,
    ) -> Iterator[Answer]:
        """Translate a text sentence by sentence, keeping its lines.

        Parameters:
            text: The text to translate.
            source: Its language, as a two-letter code; null: the one that the page begins with.
            target: The language to translate into, as a two-letter code; null: the one that the page begins with.
            use: "finetuned", "base", "second" (the second adapter), "both" (the first two) or "all"; null: finetuned
                where there is an adapter.
            seed: A whole number that makes a sampled answer the same again; null: random, said in the receipt.
            options: Any of max_new_tokens, temperature, top_p, top_k, repetition_penalty,
                no_repeat_ngram_size, num_beams, guidance_scale, copy_bias, reverse_weight, adapter_strength,
                time_limit_s, sentence_case (true: a text in capitals, or without any, is read as sentences are written).
            base_form: How the base is asked: "plain" (a text to go on with) or "template" (with the instruction); null:
                plain where its folder records that it was pretrained so.

        Returns:
            {"text", "use", "notes", "facts", "receipt", "mean_probability", "sureness", "alternatives"}; for "both"
            and "all" a list. The mean_probability is that of the answer's tokens, sureness what it is worth where that was
            measured. The alternatives are, of each sentence, what it was chosen among; missing where num_beams is 1.
        """
        yield from self._task(
            "translation", text, lambda declared: declared.directions(source, target), use, seed, options, base_form
        )

    def classify(
        self, text: str, use: Model = None, base_form: BaseForm = None, options: Options = None
    ) -> Iterator[Answer]:
        """Say whether a text is positive or negative, with the probability of each.

        Parameters:
            text: A review or an opinion.
            use: "finetuned", "base", "second" (the second adapter), "both" (the first two) or "all"; null: finetuned
                where there is an adapter.
            base_form: How the base is asked: "plain" (a text to go on with) or "template" (with the instruction); null:
                plain where its folder records that it was pretrained so.
            options: Only adapter_strength and sentence_case, as no tokens are chosen.

        Returns:
            {"text", "use", "probabilities", "notes", "facts", "receipt", "mean_probability", "sureness"}; for "both" and
            "all" a list. The mean_probability is that of the label, sureness what it is worth where that was measured.
        """
        yield from self._task("sentiment", text, lambda _: SentimentOptions(), use, None, options, base_form)

    def answer(
        self,
        text: str,
        question: str,
        use: Model = None,
        seed: int | None = None,
        options: Options = None,
        base_form: BaseForm = None,
    ) -> Iterator[Answer]:
        """Answer a question from a text.

        Parameters:
            text: The text that holds the answer.
            question: What is asked about it.
            use: "finetuned", "base", "second" (the second adapter), "both" (the first two) or "all"; null: finetuned
                where there is an adapter.
            seed: A whole number that makes a sampled answer the same again; null: random, said in the receipt.
            options: Any of max_new_tokens, temperature, top_p, top_k, repetition_penalty,
                no_repeat_ngram_size, num_beams, guidance_scale, copy_bias, min_support (below it an adapter answers "not in the
                text"), adapter_strength, time_limit_s, sentence_case (true: a text in capitals, or without any, is read as
                sentences are written).
            base_form: How the base is asked: "plain" (a text to go on with) or "template" (with the instruction); null:
                plain where its folder records that it was pretrained so.

        Returns:
            {"text", "use", "notes", "facts", "receipt", "mean_probability", "sureness", "withheld", "alternatives"}; for
            "both" and "all" a list. The mean_probability is that of the answer's tokens, sureness what it is worth where
            that was measured, withheld the answer that the text does not support. The alternatives are, of each text, what
            it was chosen among; missing where num_beams is 1.
        """
        yield from self._task(
            "question_answering", text, lambda _: QuestionOptions(question), use, seed, options, base_form
        )

    def replay(self, receipt: str | dict[str, Any]) -> Iterator[Answer]:
        """Answer a receipt's request again.

        Parameters:
            receipt: A receipt as an answer gave it, or its JSON as the page's "Download receipt" did.

        Returns:
            {"same", "text", "use", "notes", "facts", "receipt"}; "same" says whether the text is the receipt's own.
        """
        with told_to_client():
            before = Receipt.from_json(receipt if isinstance(receipt, str) else json.dumps(receipt))
            for answers in self._stream(lambda engine: replay(engine, before, longest_s=self._longest_s)):
                yield {**answers[0], "same": answers[0]["text"] == before.output}

    def _task(
        self,
        task: str,
        text: str,
        task_options: Callable[[Declaration], TaskOptions],
        use: Model,
        seed: int | None,
        options: Options,
        base_form: BaseForm,
    ) -> Iterator[Answer]:
        with told_to_client():
            uses = _uses(use)
            declaration = self._declared.of(uses)
            asked = Request(
                task=task,
                text=text,
                options=self._declared.adapt(task, task_options(declaration), uses),
                generation=generation_of(declaration.generation(task), options, longest_s=self._longest_s),
                uses=uses,
                seed=checked_seed(seed),
                base_form=self._declared.form(base_form),
            )
            TASKS[task].check(asked)
            for answers in self._stream(
                lambda engine: run(engine, asked if use else replace(asked, uses=engine.info.uses[:1])),
                lambda results: self._declared.noted(asked, results),
            ):
                yield answers if use and len(asked.uses) > 1 else answers[0]

    def _stream(
        self, ask: Callable[[Engine], Iterator[Progress]], noted: Callable[[Results], Results] = lambda results: results
    ) -> Iterator[list[dict[str, Any]]]:
        """Partial answers now and then, and the whole ones last. Between any two, a client that left is noticed."""
        engine = self._loader.engine(timeout_s=LOADING_TIMEOUT_S)
        shown = time.monotonic()
        with closing(ask(engine)) as steps:  # type: ignore[type-var]
            for progress in steps:
                if progress.results is not None:
                    results = judged(noted(progress.results), engine.info, shelf=self._reports)
                    yield [result.as_dict() for result in results]
                elif time.monotonic() - shown >= FRAME_S:
                    shown = time.monotonic()
                    yield [{"text": text, "use": use, "receipt": None} for use, text in progress.texts.items()]


def add_endpoints(
    loader: EngineLoader, declared: Declarations, *, reports: Path = SHELF, longest_s: float = LONGEST_S
) -> None:
    """Add /generate, /summarize, /translate, /classify, /answer (those declared) and /replay to the current page."""
    endpoints = Endpoints(loader, declared, reports=reports, longest_s=longest_s)
    names = [TASKS[task].command for task in TASKS if task in declared.either.tasks]
    for name in (*names, "replay"):
        gr.api(getattr(endpoints, name), api_name=name, concurrency_id=MODEL, concurrency_limit=1)


def _uses(use: Model) -> tuple[Use, ...]:
    if use is None:
        return ("finetuned",)
    if not isinstance(use, str) or use not in USES:
        raise SettingsError(f"use is {use!r}; give one of {', '.join(USES)}.")
    return USES[use]


NAME = "card"


def add_card_endpoint(shelf: Shelf) -> None:
    """Add /card to the current page. It asks no model, so it does not wait for one."""

    def card(use: str = "") -> str:
        """Give the model card of what is loaded, as Markdown with its front matter.

        Parameters:
            use: "finetuned", "base" or "second" (the second adapter); empty: finetuned where there is an adapter.

        Returns:
            The card; where the model's folder has none, one made from its files.
        """
        with told_to_client():
            return shelf.card(use or shelf.uses[0]).text

    gr.api(card, api_name=NAME, concurrency_id="cards", concurrency_limit=2)
