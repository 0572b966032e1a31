import re
from dataclasses import replace
from typing import Any

import pytest

from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, Phi2DemoError, SettingsError
from phi2demo.explain.job import explain
from phi2demo.explain.request import ExplainRequest, as_output
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.translation import TranslationOptions
from tests.explain.planted import PlantedEngine, asked, rewards
from tests.tasks.scripted import BARE

REFUSED: dict[str, tuple[dict[str, Any], type[Phi2DemoError], str]] = {
    "task": ({"task": "dance"}, SettingsError, "There is no task 'dance'"),
    "options": ({"options": SummaryOptions()}, SettingsError, "takes GenerationTaskOptions, not SummaryOptions"),
    "empty text": ({"text": " \n"}, InputError, "The text is empty"),
    "no output": ({"outputs": ()}, InputError, "The output is empty, so there is nothing to explain"),
    "blank output": ({"outputs": (" ", ())}, InputError, "The output is empty"),
    "method": ({"method": "guess"}, SettingsError, "method is 'guess'; give one of auto, partition"),
    "units": ({"units": "lines"}, SettingsError, "units is 'lines'; give one of auto, tokens"),
    "of": ({"of": ""}, SettingsError, "of is ''"),
    "value": ({"value": "odds"}, SettingsError, "value is 'odds'"),
    "target": ({"target": (3, 3)}, SettingsError, r"target is (3, 3); give the first output token"),
    "negative target": ({"target": (-1, 2)}, SettingsError, "target is (-1, 2)"),
    "words as target": ({"target": "3:5"}, SettingsError, "target is '3:5'"),
    "instead": ({"instead": "  "}, InputError, "The text after 'instead of' is empty"),
    "mask": ({"mask": "x" * 41}, SettingsError, "at most 40 characters"),
    "mask of two lines": ({"mask": "a\nb"}, SettingsError, "one line"),
    "evals": ({"max_evals": 3}, SettingsError, "max_evals is 3; give a whole number from 16 to 20000"),
    "seed": ({"seed": True}, SettingsError, "seed is True"),
}


@pytest.fixture
def engine() -> PlantedEngine:
    return PlantedEngine(rewards({"train": 2.0}))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_explained_is_refused_on_creation(case: str) -> None:
    change, error, message = REFUSED[case]
    good: dict[str, Any] = {
        "task": "generation", "text": "a train", "options": GenerationTaskOptions(), "outputs": (" yes",),
    }  # fmt: skip
    ExplainRequest(**good)
    with pytest.raises(error, match=re.escape(message)):
        ExplainRequest(**(good | change))


LATER: dict[str, tuple[dict[str, Any], type[Phi2DemoError], str]] = {
    "target": ({"target": (1, 9)}, SettingsError, "the output has 2 tokens; the last is 1"),
    "same": ({"instead": "yes no"}, InputError, "'yes no' is what the output says"),
    "exact": ({"text": "a " * 20, "method": "exact", "units": "words"}, InputError, "at most 12 of them; this text has 20"),
    "long": ({"text": "word " * 400}, InputError, "this model reads at most 254 here"),
}  # fmt: skip


@pytest.mark.parametrize("case", LATER)
def test_what_does_not_fit_the_model_is_refused_before_or_as_it_starts(engine: PlantedEngine, case: str) -> None:
    change, error, message = LATER[case]
    with pytest.raises(error, match=re.escape(message)):
        list(explain(engine, asked(**({"text": "a train", "output": " yes no"} | change))))


def test_a_base_without_adapter_has_no_difference_to_explain() -> None:
    bare = PlantedEngine(rewards({}), info=BARE)
    for of in ("finetuned", "difference"):
        with pytest.raises(SettingsError, match="no adapter is loaded"):
            next(explain(bare, asked("a train", of=of)))
    assert list(explain(bare, asked("a train", of="base")))


def test_a_document_in_passes_is_refused_and_sentences_need_an_output_each(engine: PlantedEngine) -> None:
    long = ExplainRequest("summarization", "A sentence is here. " * 100, SummaryOptions(), (" short",))
    with pytest.raises(InputError, match="in one go, and this model reads at most 256"):
        next(explain(engine, long))
    three = ExplainRequest("translation", "One. Two. Three.", TranslationOptions(), (" Eins.", " Zwei."))
    with pytest.raises(InputError, match="2 pieces, but the task cuts this text into 3"):
        next(explain(engine, three))
    across = ExplainRequest("translation", "One. Two.", TranslationOptions(), (" Eins.", " Zwei."), instead="Drei.")
    with pytest.raises(SettingsError, match="Pick words of one sentence"):
        next(explain(engine, across))


def test_a_result_is_explained_by_the_tokens_that_were_generated(engine: PlantedEngine) -> None:
    request = Request("generation", "a train", GenerationTaskOptions(), GenerationOptions(max_new_tokens=9), seed=1)
    (result,) = Assistant(engine).answer(check(request))
    engine.tokens(result.raw[0] + " <end>")
    ids = engine.tokens(result.raw[0]).ids
    cut = engine.tokens(" and on").ids
    made = ExplainRequest.from_result(engine, request, replace(result, token_ids=((*ids, *cut),)), method="lime")
    assert made.outputs == (ids,), "what stood after the stop string is not explained"
    assert (made.text, made.of, made.method, made.adapter_strength) == ("a train", "finetuned", "lime", 1)
    half = replace(request, generation=replace(request.generation, adapter_strength=0.5))
    assert ExplainRequest.from_result(engine, half, result).adapter_strength == 0.5
    assert not made.sentence_case
    assert ExplainRequest.from_result(engine, request, replace(result, token_ids=())).outputs == result.raw


def test_the_text_is_kept_as_typed_and_read_as_the_task_reads_it() -> None:
    request = asked("a\r\nb\u00a0 c")
    assert (request.text, request.text_read) == ("a\r\nb\u00a0 c", "a\nb c")
    assert request.span_read(3, 7) == (2, 5)


def test_options_are_read_as_they_were_for_the_answer() -> None:
    question = QuestionOptions("When\u00a0 does it leave?")
    request = ExplainRequest("question_answering", "It leaves at ten.", question, (" at ten",))
    assert request.options == question
    assert "\nQuestion: When does it leave?" in request.asked.prompt(request.text_read, "finetuned")


def test_a_typed_output_begins_as_the_template_has_it() -> None:
    assert as_output("negative\n") == " negative"
