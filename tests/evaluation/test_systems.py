""""""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.rows import Row
from phi2demo.data.test_sets import DataFile, Item, TestSet, read_test_sets
from phi2demo.engine.engine import END_OF_TEXT, GenerationOptions, Output, Prompt, Score
from phi2demo.evaluation.outputs import SYSTEMS, SystemName
from phi2demo.evaluation.systems import cut, generation_of, make_system, plain_prompt, text_bits
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import FILE
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.training.pretraining_texts import DOCUMENT_MAKERS
from tests.tasks.beams import BeamEngine, about, candidate
from tests.tasks.scripted import INFO, ScriptedEngine

ROWS: dict[str, Row] = {
    "translation": {"source": "Hi.", "target": "Hallo.", "source_lang": "en", "target_lang": "de"},
    "summarization": {"document": "A long text.", "summary": "Short."},
    "question_answering": {"context": "Tom is 5.", "question": "How old?", "answers": [{"text": "5"}]},
    "sentiment": {"text": "Fine.", "label": 1},
}
PROMPTS = {
    "translation": "English: Hi.\nGerman:",
    "summarization": "A long text.\n\nIn short:",
    "question_answering": "Tom is 5.\n\nQuestion: How old?\nAnswer:",
    "sentiment": "Review: Fine.\nSentiment:",
}
ANSWERS = {"translation": "Hallo.", "summarization": "Short.", "question_answering": "5", "sentiment": "positive"}


def make_test_set(kind: str, *rows: Row, references: Sequence[str] = ("one two three",)) -> TestSet:
    items = tuple(Item(index, row, tuple(references)) for index, row in enumerate(rows))
    return TestSet(f"{kind}.x", kind, DataFile("x.test.jsonl", "0", "test"), items)


@pytest.mark.parametrize("kind", ROWS)
def test_a_plain_prompt_and_its_answer_are_a_pretraining_text(kind: str) -> None:
    prompt = plain_prompt(ROWS[kind], kind, GenerationOptions())
    assert prompt == END_OF_TEXT + PROMPTS[kind]
    assert f"{PROMPTS[kind]} {ANSWERS[kind]}" in DOCUMENT_MAKERS[kind](ROWS[kind])


def test_a_turned_translation_is_the_other_pretraining_text() -> None:
    row = ROWS["translation"]
    turned = {"source": row["target"], "target": row["source"], "source_lang": "de", "target_lang": "en"}
    prompt = plain_prompt(turned, "translation", GenerationOptions())
    assert prompt == END_OF_TEXT + "German: Hallo.\nEnglish:"
    assert f"{prompt.removeprefix(END_OF_TEXT)} Hi." == DOCUMENT_MAKERS["translation"](row)[1]


@pytest.mark.parametrize("name", ["finetuned", "base_template"])
def test_the_template_is_the_apps_and_so_is_the_answer(name: SystemName) -> None:
    engine = ScriptedEngine()
    test_set = make_test_set("translation", ROWS["translation"], ROWS["translation"] | {"source": "One. Two."})
    system = make_system(name, engine, test_set, seed=3)
    assert system is not None
    answers = system.answer(test_set.items)
    mark = "" if name == "finetuned" else "!"
    assert [answer.output for answer in answers] == [f"HI.{mark}", f"ONE.{mark} TWO.{mark}"]
    assert {prompt.variant for batch in engine.batches for prompt in batch} == {"finetuned" if not mark else "base"}
    assert engine.batches[0][0].text == system.prompt(test_set.items[0])
    assert system.prompt(test_set.items[0]).startswith("Instruct: Translate the following text from English to German.")


def test_a_plain_prompt_takes_the_first_line() -> None:
    engine = ScriptedEngine(lambda prompt: " Hallo Tom.\nEnglish: more")
    test_set = make_test_set("translation", ROWS["translation"])
    system = make_system("base_plain", engine, test_set, seed=0)
    assert system is not None
    (answer,) = system.answer(test_set.items)
    assert answer.output == "Hallo Tom."
    ((prompt,),) = engine.batches
    assert (prompt.text, prompt.variant) == (END_OF_TEXT + "English: Hi.\nGerman:", "base")
    assert engine.options[0].stop == ("\n",)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_prefers_an_answer_that_stands_in_the_text(name: SystemName) -> None:
    row = {"context": "Tom has 5 dogs.", "question": "What has he?", "answers": [{"text": "5 dogs"}]}
    endings = [candidate("five cats"), candidate("5 dogs")]
    system = make_system(name, ScriptedEngine(), make_test_set("question_answering", row), seed=0)
    assert system is not None
    engine = BeamEngine({about(Prompt(system.prompt(system.test_set.items[0]))): endings})
    system = replace(system, engine=engine, generation=replace(system.generation, num_beams=2))
    assert [result.output for result in system.answer(system.test_set.items)] == ["5 dogs"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_chooses_by_the_reverse_translation(name: SystemName) -> None:
    likely, faithful = candidate("Er schläft."), candidate("Der Hund schläft.")
    text = "The dog sleeps."
    likes: dict[str | tuple[str, str], float] = {"Er schläft.": -1.0, "Der Hund schläft.": -2.0}
    likes |= {("Der Hund schläft.", text): -3.0, ("Er schläft.", text): -20.0}
    test_set = make_test_set("translation", ROWS["translation"] | {"source": text})
    system = make_system(name, BeamEngine({text: [likely, faithful]}, likes), test_set, seed=0)
    assert system is not None
    system = replace(system, generation=replace(system.generation, num_beams=2, reverse_weight=0.3))
    (result,) = system.answer(test_set.items)
    assert result.output == "Der Hund schläft."
    plain = replace(system, generation=replace(system.generation, reverse_weight=0.0))
    assert plain.answer(test_set.items)[0].output == "Er schläft."


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_reads_a_text_in_capitals_as_the_app_does(name: SystemName) -> None:
    engine = ScriptedEngine()
    system = make_system(
        name, engine, make_test_set("translation", ROWS["translation"] | {"source": "SO LONG."}), seed=0
    )
    assert system is not None
    for sentence_case, read in ((False, "SO LONG."), (True, "So long.")):
        told = replace(system, generation=replace(system.generation, sentence_case=sentence_case))
        told.answer(told.test_set.items)
        ((prompt,),) = engine.batches[-1:]
        assert read in prompt.text
        assert prompt.text == told.prompt(told.test_set.items[0])


@pytest.mark.parametrize("kind", ["summarization", "question_answering"])
def test_every_system_is_guided_by_its_own_prompt_without_the_text(kind: str) -> None:
    without = {}
    for name in SYSTEMS:
        engine = ScriptedEngine()
        system = make_system(name, engine, make_test_set(kind, ROWS[kind]), seed=0)
        assert system is not None
        replace(system, generation=replace(system.generation, guidance_scale=1.5)).answer(system.test_set.items)
        assert engine.options[0].guidance_scale == 1.5
        without[name] = engine.batches[0][0].without
    assert without["finetuned"] == without["base_template"]
    row = ROWS[kind] | ({"document": ""} if kind == "summarization" else {"context": ""})
    assert without["base_plain"] == plain_prompt(row, kind, GenerationOptions())
    assert without["finetuned"].startswith("Instruct: ")


def test_plain_labels_are_chosen_by_probability() -> None:
    class Likes(ScriptedEngine):
        def score(self, prompts: Sequence[Prompt], outputs: Sequence[str], **_: object) -> list[Score]:
            liked = [
                (" positive" in output) == ("good" in prompt.text)
                for prompt, output in zip(prompts, outputs, strict=True)
            ]
            return [Score((1,), (-0.1 if each else -2.0,)) for each in liked]

    rows = [{"text": text, "label": 0} for text in ("good", "dull", "good too")]
    test_set = make_test_set("sentiment", *rows)
    system = make_system("base_plain", Likes(), test_set, seed=0)
    assert system is not None
    answers = system.answer(test_set.items)
    assert [answer.output for answer in answers] == ["positive", "negative", "positive"]
    assert answers[0].details["probabilities"]["positive"] == pytest.approx(1 / (1 + 2.718281828 ** (-1.9)))


def test_what_does_not_fit_has_no_answer_and_spoils_no_other() -> None:
    long = ROWS["question_answering"] | {"context": "far too long " * 200}
    test_set = make_test_set("question_answering", ROWS["question_answering"], long, ROWS["question_answering"])
    for name in SYSTEMS:
        system = make_system(name, ScriptedEngine(), test_set, seed=0)
        assert system is not None
        first, second, third = system.answer(test_set.items)
        assert first.output == third.output != ""
        assert second.output == ""
        assert "unanswered" in second.details
        assert "unanswered" not in first.details


def test_a_long_document_is_cut_at_a_sentence_end() -> None:
    row = {"document": "It says one thing here. " * 100, "summary": "x"}
    test_set = make_test_set("summarization", row)
    engine = ScriptedEngine(lambda prompt: " short")
    system = make_system("base_plain", engine, test_set, seed=0)
    assert system is not None
    assert system.answer(test_set.items)[0].output == "short"
    ((prompt,),) = engine.batches
    assert prompt.text.endswith("here.\n\nIn short:")
    assert 150 < engine.count_tokens(prompt.text) <= INFO.context - system.generation.max_new_tokens


def test_the_bound_on_new_tokens_is_the_same_for_all_systems() -> None:
    test_set = make_test_set("translation", ROWS["translation"], references=["a b c d e", "a"])
    systems = [make_system(name, ScriptedEngine(), test_set, seed=0) for name in SYSTEMS]
    assert {system.generation.max_new_tokens for system in systems if system} == {8 + 16}
    long = make_test_set("translation", ROWS["translation"], references=["word " * 500])
    shipped = TASKS["translation"].generation
    assert generation_of(long, ScriptedEngine()) == replace(shipped, time_limit_s=3600.0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_decoded_as_the_adapter_says(name: SystemName, tmp_path: Path) -> None:
    said = {"num_beams": 4, "guidance_scale": 1.5, "copy_bias": 1.0}
    (tmp_path / FILE).write_text(json.dumps({"tasks": {"summarization": {"decoding": said}}}))
    system = make_system(
        name,
        ScriptedEngine(info=replace(INFO, adapter_folder=tmp_path)),
        make_test_set("summarization", ROWS["summarization"]),
        seed=0,
    )
    assert system is not None
    assert {option: getattr(system.generation, option) for option in said} == said


@pytest.mark.parametrize("kind", ["prose", "continuation"])
def test_texts_are_scored_at_the_strength_that_they_are_continued_with(kind: str, tmp_path: Path) -> None:
    said = {"generation": {"decoding": {"adapter_strength": 0.5}}, "summarization": {}}
    (tmp_path / FILE).write_text(json.dumps({"tasks": said}))
    engine = ScriptedEngine(info=replace(INFO, adapter_folder=tmp_path))
    row = {"text": "It rained. Tom ran.", "opening": "It rained.", "rest": " Tom ran."}
    system = make_system("finetuned", engine, make_test_set(kind, row), seed=0)
    assert system is not None
    system.answer(system.test_set.items)
    assert engine.strengths == [0.5]
    assert system.settings == {"adapter_strength": 0.5}, "in the report"


def test_prose_has_no_template(data: Path) -> None:
    (prose,) = [test_set for test_set in read_test_sets(data)[0] if test_set.task == "prose"]
    assert make_system("base_template", ScriptedEngine(), prose, seed=0) is None
    system = make_system("finetuned", ScriptedEngine(), prose, seed=0)
    assert system is not None
    outputs = [answer.output.split() for answer in system.answer(prose.items)]
    assert [int(characters) for _, characters, _ in outputs] == [len(item.row["text"]) for item in prose.items]


def test_documents_reach_the_task_as_they_are() -> None:
    test_set = make_test_set("summarization", ROWS["summarization"])
    system = make_system("finetuned", ScriptedEngine(), test_set, seed=0)
    assert system is not None
    assert system.prompt(test_set.items[0]) == TASKS["summarization"].prompt("A long text.", SummaryOptions("sentence"))


@pytest.mark.parametrize(
    ("name", "prompt", "output"),
    [
        ("finetuned", END_OF_TEXT + "It rained.", "\nTom\nran."),
        ("base_template", TASKS["generation"].prompt("It rained.", GenerationTaskOptions("continue")), " Tom\nran."),
        ("base_plain", END_OF_TEXT + "It rained.", "\nTom\nran."),
    ],
)
def test_a_continuation_is_scored_after_its_opening(name: SystemName, prompt: str, output: str) -> None:
    asked: list[tuple[str, str, str]] = []

    class Remembers(ScriptedEngine):
        def score(self, prompts: Sequence[Prompt], outputs: Sequence[Output], **more: Any) -> list[Score]:
            asked.extend((p.text, str(o), p.variant) for p, o in zip(prompts, outputs, strict=True))
            return [Score((1, 2), (-math.log(2), -2 * math.log(2))) for _ in prompts]

    system = make_system(
        name, Remembers(), make_test_set("continuation", {"opening": "It rained.", "rest": "\nTom\nran."}), seed=0
    )
    assert system is not None
    (answer,) = system.answer(system.test_set.items)
    assert asked == [(prompt, output, "finetuned" if name == "finetuned" else "base")]
    bits, characters, tokens = answer.output.split()
    assert float(bits) == pytest.approx(3)
    assert (characters, tokens) == ("8", "2")


def test_a_continuation_is_cut_to_what_fits_after_the_prompt_of_every_system() -> None:
    sentence = "Tom ran far. "
    rows = [{"opening": "It rained.", "rest": "\n" + sentence * times} for times in (2, 100)]
    rows.append({"opening": "very " * INFO.context, "rest": " Tom ran."})
    cut: list[list[str]] = []

    class Remembers(ScriptedEngine):
        def score(self, prompts: Sequence[Prompt], outputs: Sequence[Output], **more: Any) -> list[Score]:
            for prompt, output in zip(prompts, outputs, strict=True):
                assert self.count_tokens(prompt.text) + self.count_tokens(str(output)) <= INFO.context
            cut.append([str(output).strip() for output in outputs])
            return super().score(prompts, outputs, **more)

    for name in SYSTEMS:
        system = make_system(name, Remembers(), make_test_set("continuation", *rows), seed=0)
        assert system is not None
        answers = system.answer(system.test_set.items)
        assert [answer.details for answer in answers] == [{}, {}, {"unanswered": "does not fit the context"}]
        assert answers[2].output == "0.0 0 0"
    assert cut[0] == cut[1] == cut[2]
    whole, shortened = cut[0]
    assert whole == sentence.strip() + " " + sentence.strip()
    assert shortened == (sentence * shortened.count("Tom")).strip()
    assert 40 < shortened.count("Tom") < 64


LONG = "It rained all day.\n\nSo the 12 children, who stayed at home, read books. " * 40


class Counting(ScriptedEngine):
    """Each token of the output has one nat; what was asked is kept."""

    def score(  # type: ignore[override]
        self, prompts: Sequence[Prompt], outputs: Sequence[str], *, adapter_strength: float = 1.0
    ) -> list[Score]:
        self.strength = adapter_strength
        self.asked = list(zip([prompt.text for prompt in prompts], outputs, strict=True))
        counts = [self.count_tokens(output) for output in outputs]
        return [Score((0,) * count, (-1.0,) * count) for count in counts]


@pytest.mark.parametrize("part", [5, 50, 100])
def test_parts_make_the_text_and_fit(part: int) -> None:
    count = ScriptedEngine().count_tokens
    parts = cut(LONG, count=count, limit=200, part=part)
    assert "".join(parts) == LONG
    assert max(map(count, parts)) <= part
    assert cut("short", count=count, limit=200, part=part) == ["short"]


def test_a_word_longer_than_a_part_is_cut() -> None:
    parts = cut("a" * 100, count=len, limit=50, part=20)
    assert "".join(parts) == "a" * 100
    assert max(map(len, parts)) <= 20


def test_every_token_is_scored_once_after_the_part_before() -> None:
    engine = Counting()
    short, long = text_bits(engine, ["one two", LONG.strip()], variant="base")
    assert short.bits == pytest.approx(2 / math.log(2))
    assert long.bits == pytest.approx(
        engine.count_tokens(LONG.strip()) / math.log(2), rel=0.02
    )  # line breaks between parts
    assert (short.tokens, long.tokens) == (2, sum(engine.count_tokens(output) for _, output in engine.asked[1:]))
    (_, *later) = engine.asked[1:]
    assert later
    for (_, before), (prompt, output) in zip(engine.asked[1:], later, strict=False):
        assert prompt == before
        assert engine.count_tokens(prompt) + engine.count_tokens(output) <= engine.info.context


def test_a_real_model_needs_the_bits_that_torch_says(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from phi2demo.engine.local import LocalEngine
    from phi2demo.engine.planning import plan
    from phi2demo.settings import ModelSettings

    engine = LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu", dtype="float32")))
    text = "The train to the coast leaves at eight."
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer.encode(text)]])
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)(ids).logits[0, :-1]
    nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
    (result,) = text_bits(engine, [text], variant="base")
    assert result.bits == pytest.approx(float(nats) / math.log(2), rel=1e-4)
    assert result.tokens == ids.shape[1] - 1
