""""""

import json
from dataclasses import replace
from typing import Any

import pytest

from phi2demo.engine.engine import MAX_SEED, AdapterInfo, GenerationOptions
from phi2demo.engine.pair import PairEngine
from phi2demo.errors import InputError, ModelError, Phi2DemoError, SettingsError
from phi2demo.tasks import TASKS, task_named
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.run import SETTINGS_UNKNOWN, Assistant, check, request_of
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.scripted import BARE, INFO, ScriptedEngine

OPTIONS: dict[str, TaskOptions] = {
    "generation": GenerationTaskOptions("instruct"),
    "summarization": SummaryOptions("short", by_parts=True),
    "translation": TranslationOptions("fr", "en"),
    "sentiment": SentimentOptions(),
    "question_answering": QuestionOptions("Who is it?"),
}


def request(task: str = "generation", **changes: Any) -> Request:
    generation = GenerationOptions(max_new_tokens=20, temperature=0.5, stop=("END", "😀"))
    return replace(Request(task, "Some\ntext é.", OPTIONS[task], generation, seed=9), **changes)


def receipt(task: str = "generation", **changes: Any) -> Receipt:
    return Assistant(ScriptedEngine()).answer(check(request(task, **changes)))[0].receipt


@pytest.mark.parametrize("task", TASKS)
def test_a_receipt_gives_back_its_request(task: str) -> None:
    made = receipt(task)
    assert Receipt.from_json(made.to_json()) == made
    assert request_of(Receipt.from_json(made.to_json())) == request(task, prompt_style="template")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", ["finetuned", "base"])
def test_replay_gives_the_same_text(task: str, variant: str) -> None:
    for result in Assistant(ScriptedEngine()).answer(check(request(task, variants=("finetuned", "base")))):
        *_, last = Assistant(ScriptedEngine()).replay(Receipt.from_json(result.receipt.to_json()))
        (again,) = last.results or ()
        assert (again.variant, again.text, again.raw) == (result.variant, result.text, result.raw)
        assert again.receipt.output == result.receipt.output


@pytest.mark.parametrize("changes", [{"base_revision": "other"}, {"adapter_revision": "other"}])
def test_replay_refuses_another_model(changes: dict[str, str]) -> None:
    made, engine = receipt(), ScriptedEngine(info=replace(INFO, **changes))
    with pytest.raises(ModelError, match=r"The receipt is of tiny-base aaaaaaaaaaaa with adapter tiny-adapter bbbb"):
        list(Assistant(engine).replay(made))
    assert engine.batches == []


def test_replay_takes_no_longer_than_it_may() -> None:
    made = receipt("translation")
    assert made.generation["time_limit_s"] == 120
    for longest_s, expected in ((30, 30), (3600, 120)):
        *_, last = Assistant(ScriptedEngine()).replay(made, longest_s=longest_s)
        assert last.results is not None
        assert last.results[0].receipt.generation["time_limit_s"] == expected
        assert last.results[0].text == made.output


def test_replay_of_a_base_output_needs_no_adapter() -> None:
    made = receipt(variants=("base",))
    for info in (BARE, replace(INFO, adapter_revision="other")):
        *_, last = Assistant(ScriptedEngine(info=info)).replay(made)
        assert last.results is not None
        assert last.results[0].text == made.output
    with pytest.raises(ModelError, match="loaded is tiny-base aaaaaaaaaaaa alone"):
        list(Assistant(ScriptedEngine(info=BARE)).replay(receipt()))


def test_a_seed_is_drawn_and_said() -> None:
    seeds = {receipt(seed=None).seed for _ in range(20)}
    assert len(seeds) > 15
    assert all(0 <= seed <= MAX_SEED for seed in seeds)
    assert receipt(seed=0).seed == 0


def test_a_variant_that_is_not_there_is_refused() -> None:
    engine = ScriptedEngine(info=BARE)
    for variants in (("finetuned",), ("finetuned", "base")):
        with pytest.raises(SettingsError, match="There is no finetuned model here: no adapter is loaded"):
            next(Assistant(engine).run(check(request(variants=variants))))
    assert engine.batches == []
    assert Assistant(engine).answer(check(request(variants=("base",))))[0].receipt.adapter is None


@pytest.mark.parametrize("task", ["dancing", "", None, 5, [], {}])
def test_unknown_tasks_are_refused(task: Any) -> None:
    with pytest.raises(SettingsError, match="There is no task"):
        task_named(task)
    with pytest.raises(SettingsError, match="There is no task"):
        next(
            Assistant(ScriptedEngine()).run(
                check(replace(request(), task=task)),
            )
        )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"text": ""}, InputError),
        ({"text": "\x00"}, InputError),
        ({"text": "word " * 500}, InputError),
        ({"variants": ()}, SettingsError),
        ({"variants": ("base", "base")}, SettingsError),
        ({"seed": True}, SettingsError),
        ({"seed": 1.5}, SettingsError),
        ({"options": SentimentOptions()}, SettingsError),
    ],
)
def test_refusals_come_before_any_model_is_asked(changes: dict[str, Any], error: type[Phi2DemoError]) -> None:
    engine = ScriptedEngine()
    with pytest.raises(error):
        next(Assistant(engine).run(check(request(**changes))))
    assert engine.batches == []


GARBAGE = ["", "nonsense", "null", "5", '"text"', "[]", "{}", "[" * 100_000, "NaN", '{"format": 1}', '{"format": "1"}']


@pytest.mark.parametrize("text", GARBAGE)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"This is not a receipt|The receipt has format"):
        Receipt.from_json(text)


def changed(**changes: Any) -> str:
    values = json.loads(receipt().to_json())
    values.update(changes)
    return json.dumps(values)


@pytest.mark.parametrize("field", json.loads(receipt().to_json()))
def test_every_field_is_needed_and_has_its_type(field: str) -> None:
    values = json.loads(receipt().to_json())
    for wrong in ({"a": 1}, [1], True):
        if not (field in ("options", "generation") and isinstance(wrong, dict)):
            with pytest.raises(InputError):
                Receipt.from_json(json.dumps({**values, field: wrong}))
    del values[field]
    early = {"prompt_style": "template", "template": "phi", "system": "", "prompt": "", "engine": "transformers"}
    if field in early:  # the first receipts did not say it
        assert getattr(Receipt.from_json(json.dumps(values)), field) == early[field]
        return
    with pytest.raises(InputError):
        Receipt.from_json(json.dumps(values))


def test_a_receipt_of_the_first_format_is_read() -> None:
    now = receipt()
    names = {"variant": "use", "prompt_style": "form"}
    before = {names.get(name, name): value for name, value in json.loads(now.to_json()).items()}
    assert Receipt.from_json(json.dumps(before | {"format": 1})) == now


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 3, "new_field": 1}, "The receipt has format 3; this version reads format 2"),
        ({"colour": "red"}, "the field colour is unknown"),
        ({"variant": 1}, "variant is 1"),
        ({"seed": "9"}, "seed is '9'"),
        ({"seed": 9.5}, "seed is 9.5"),
    ],
)
def test_foreign_receipts_are_told_apart(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Receipt.from_json(changed(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "dancing"},
        {"task": "translation"},
        {"options": {"mode": "sing"}},
        {"options": {"mode": 5}},
        {"options": {"tempo": 5}},
        {"generation": {"tempo": 5}},
        {"generation": {"temperature": "hot"}},
        {"generation": {"temperature": 100}},
        {"generation": {"stop": 5}},
        {"generation": {"stop": [5]}},
        {"generation": {"stop": [[]]}},
        {"generation": {"stop": "END"}},
        {"seed": -1},
        {"seed": 2**40},
        {"text": ""},
        {"text": "\ud800"},
        {"text": "\x00"},
    ],
)
def test_receipts_with_values_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    engine = ScriptedEngine()
    with pytest.raises((InputError, SettingsError)):
        list(Assistant(engine).replay(Receipt.from_json(changed(**changes))))
    assert engine.batches == []


def test_a_receipt_says_what_answered() -> None:
    made = receipt(variants=("finetuned",))
    assert (made.base, made.adapter, made.device, made.dtype) == ("tiny-base", "tiny-adapter", "cpu", "float32")
    assert {"phi2demo", "torch", "transformers", "peft"} == made.versions.keys()
    assert (made.prompt_tokens, made.new_tokens, made.pieces, made.batch_size) == (10, 2, 1, 1)
    assert made.made_at.endswith("+00:00")
    assert made.first_token_s is not None


@pytest.mark.parametrize("variants", [("finetuned",), ("finetuned", "base")])
@pytest.mark.parametrize("task", TASKS)
def test_many_requests_get_what_each_gets_alone(task: str, variants: tuple[Any, ...]) -> None:
    texts = [f"Text {n} is good. {'It goes on. ' * (n % 5 * 12)}{'pos' if n % 3 else 'neg'}" for n in range(21)]
    if task not in ("summarization", "translation"):
        texts = [text[:60] for text in texts]
    requests = [
        request(task, text=text, variants=variants, seed=n, generation=GenerationOptions())
        for n, text in enumerate(texts)
    ]
    engine = ScriptedEngine()
    together = list(Assistant(engine).answer_all(map(check, requests)))
    batches = engine.scorings if task == "sentiment" else engine.batches
    assert max(map(len, batches)) <= 8 * len(variants) * (2 if task == "sentiment" else 1)
    assert len(batches) <= (3 if task not in ("summarization", "translation") else 200)
    for asked, results in zip(requests, together, strict=True):
        alone = Assistant(ScriptedEngine()).answer(check(asked))
        assert [(r.variant, r.text, r.raw, r.facts, r.piece_probabilities, r.receipt.seed) for r in results] == [
            (r.variant, r.text, r.raw, r.facts, r.piece_probabilities, r.receipt.seed) for r in alone
        ]


def test_rows_of_many_requests_have_the_seeds_they_have_alone() -> None:
    requests = [request("translation", text=f"One {n}. Two. Three.", seed=n) for n in range(9)]
    together, alone = ScriptedEngine(), ScriptedEngine()
    list(Assistant(together).answer_all(map(check, requests)))
    for asked in requests:
        Assistant(alone).answer(check(asked))
    assert len(together.batches) < len(alone.batches) + 9
    assert {p for batch in together.batches for p in batch} == {p for batch in alone.batches for p in batch}


def test_requests_that_differ_in_more_than_text_do_not_go_together() -> None:
    requests = [request(), request("translation"), request(variants=("base",)), request(generation=GenerationOptions())]
    engine = ScriptedEngine()
    assert len(list(Assistant(engine).answer_all(map(check, requests)))) == 4
    assert [len(batch) for batch in engine.batches] == [1, 2, 1, 1]  # a translation of two lines
    assert list(Assistant(engine).answer_all(map(check, []))) == []


def test_a_request_that_cannot_be_answered_stops_there_and_not_before() -> None:
    requests = [request(text=f"Text {n}") for n in range(5)]
    requests[3] = request(text="word " * 500)
    answers = Assistant(ScriptedEngine()).answer_all(map(check, requests))
    assert [next(answers)[0].text for _ in range(3)] == ["TEXT 0", "TEXT 1", "TEXT 2"]
    with pytest.raises(InputError, match="tokens with its instruction"):
        next(answers)


def test_closing_many_requests_closes_the_stream_of_the_engine() -> None:
    engine = ScriptedEngine()
    answers = Assistant(engine).answer_all(map(check, (request(text=f"Text {n}") for n in range(100))))
    next(answers)
    answers.close()
    assert len(engine.batches) == 1
    assert engine.running == 0


SECOND = replace(INFO, others=(AdapterInfo("second", "tiny-second", "cccccccccccc", 2),))


@pytest.mark.parametrize("task", TASKS)
def test_a_receipt_names_the_adapter_that_wrote_it(task: str) -> None:
    engine = ScriptedEngine(info=SECOND)
    results = Assistant(engine).answer(check(request(task, variants=("finetuned", "base", "second"))))
    assert [(result.receipt.variant, result.receipt.adapter_revision) for result in results] == [
        ("finetuned", "bbbbbbbbbbbb"), ("base", "bbbbbbbbbbbb"), ("second", "cccccccccccc"),
    ]  # fmt: skip
    assert results[2].receipt.adapter == "tiny-second"
    for result in results:
        *_, last = Assistant(engine).replay(Receipt.from_json(result.receipt.to_json()))
        assert [(again.variant, again.text) for again in last.results or ()] == [(result.variant, result.text)]


def test_a_receipt_of_the_second_adapter_needs_it() -> None:
    (made,) = (
        result.receipt for result in Assistant(ScriptedEngine(info=SECOND)).answer(check(request(variants=("second",))))
    )
    with pytest.raises(
        ModelError,
        match=r"is of tiny-base a+ with adapter tiny-second c+; loaded is tiny-base a+ with adapter tiny-adapter b+\. "
        r"Start with the former to replay it",
    ):
        list(Assistant(ScriptedEngine()).replay(made))
    with pytest.raises(ModelError, match="loaded is tiny-base aaaaaaaaaaaa alone"):
        list(Assistant(ScriptedEngine(info=BARE)).replay(made))
    both = replace(SECOND, others=(AdapterInfo("second", "other", "dddddddddddd", 2),))
    with pytest.raises(ModelError, match=r"with adapter tiny-adapter b+ and other d+"):
        list(Assistant(ScriptedEngine(info=both)).replay(made))


ADAPTER_SETTINGS = replace(
    INFO,
    adapter_revision="bbbbbbbbbbbb-11111111",
    others=(AdapterInfo("second", "same-weights", "bbbbbbbbbbbb-22222222", 4),),
)


@pytest.mark.parametrize("variant", ["finetuned", "second"])
def test_equal_weights_under_other_settings_are_another_adapter(variant: Any) -> None:
    (made,) = (
        result.receipt
        for result in Assistant(ScriptedEngine(info=ADAPTER_SETTINGS)).answer(check(request(variants=(variant,))))
    )
    engine = ScriptedEngine(info=ADAPTER_SETTINGS)
    *_, last = Assistant(engine).replay(made)
    assert [(item.variant, item.notes) for item in last.results or ()] == [(variant, ())]
    other = replace(INFO, adapter_revision="bbbbbbbbbbbb-33333333")
    with pytest.raises(ModelError, match=r"weights are the same, its settings .*lora_alpha.* are not\. Start with"):
        list(Assistant(ScriptedEngine(info=other)).replay(made))
    with pytest.raises(ModelError, match=r"alone\. Start with the former"):
        list(Assistant(ScriptedEngine(info=BARE)).replay(made))
    elsewhere = replace(ADAPTER_SETTINGS, base_revision="cccccccccccc")
    with pytest.raises(ModelError, match=r"-22222222\. Start with the former"):
        list(Assistant(ScriptedEngine(info=elsewhere)).replay(made))


@pytest.mark.parametrize("variant", ["finetuned", "second"])
def test_a_receipt_from_before_settings_were_told_is_replayed_and_the_doubt_is_said(variant: Any) -> None:
    info = replace(SECOND, others=(replace(SECOND.others[0], revision="bbbbbbbbbbbb"),))
    (made,) = (
        result.receipt for result in Assistant(ScriptedEngine(info=info)).answer(check(request(variants=(variant,))))
    )
    *_, last = Assistant(ScriptedEngine(info=ADAPTER_SETTINGS)).replay(Receipt.from_json(made.to_json()))
    (again,) = last.results or ()
    assert (again.variant, again.text, again.notes) == (variant, made.output, (SETTINGS_UNKNOWN,))
    base = receipt(variants=("base",))
    *_, last = Assistant(ScriptedEngine(info=ADAPTER_SETTINGS)).replay(base)
    assert [item.notes for item in last.results or ()] == [()]


def test_a_receipt_replays_where_its_adapter_is_loaded_in_the_other_place() -> None:
    first, second = (
        result.receipt
        for result in Assistant(ScriptedEngine(info=SECOND)).answer(check(request(variants=("finetuned", "second"))))
    )
    turned = replace(
        INFO,
        adapter="s",
        adapter_revision="cccccccccccc",
        others=(AdapterInfo("second", "tiny-adapter", "bbbbbbbbbbbb", 4),),
    )
    for made, variant in ((first, "second"), (second, "finetuned")):
        engine = ScriptedEngine(info=turned)
        list(Assistant(engine).replay(made))
        assert {prompt.variant for prompt in engine.batches[0]} == {variant}


MERGED = replace(BARE, base="merged", base_revision="cccccccccccc")


def pair() -> PairEngine:
    return PairEngine(ScriptedEngine(info=MERGED), ScriptedEngine(info=BARE))


def test_a_wholly_finetuned_model_replays_alone_and_beside_its_base() -> None:
    (alone,) = Assistant(ScriptedEngine(info=MERGED)).answer(check(request(variants=("base",))))
    *_, last = Assistant(pair()).replay(alone.receipt)
    assert [(again.variant, again.text) for again in last.results or ()] == [("finetuned", alone.text)]
    (beside,) = Assistant(pair()).answer(check(request(variants=("finetuned",))))
    *_, last = Assistant(ScriptedEngine(info=MERGED)).replay(beside.receipt)
    assert [(again.variant, again.text) for again in last.results or ()] == [("base", beside.text)]
    with pytest.raises(ModelError, match=r"The receipt is of merged cccccccccccc alone; loaded is tiny-base a+ alone"):
        list(Assistant(ScriptedEngine(info=BARE)).replay(alone.receipt))


def test_a_receipt_of_a_variant_that_its_adapter_cannot_have_is_refused() -> None:
    made = replace(receipt(), variant="dancing")
    with pytest.raises(InputError, match="of the variant 'dancing'; its model has finetuned, base, tiny-adapter"):
        list(Assistant(ScriptedEngine()).replay(made))
    for variant in ("tiny-adapter", "tiny-adapter-2"):
        *_, last = Assistant(ScriptedEngine()).replay(replace(receipt(), variant=variant))
        assert [again.variant for again in last.results or ()] == ["finetuned"]


def test_a_receipt_of_a_task_that_nobody_declares_says_of_which_model_it_is() -> None:
    with pytest.raises(
        SettingsError,
        match=r"of the task 'urgency', which no model here declares, and of tiny-base a+ with adapter tiny-adapter b+\. "
        "Start with --adapter and the folder or hub id of tiny-adapter to replay it",
    ):
        list(Assistant(ScriptedEngine()).replay(replace(receipt(), task="urgency")))
    alone = Assistant(ScriptedEngine(info=BARE)).answer(check(request(variants=("base",))))[0].receipt
    with pytest.raises(SettingsError, match="Start with --model tiny-base to replay it"):
        request_of(replace(alone, task="urgency"))


def test_a_second_adapter_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="There is no adapter 'second' here"):
        next(Assistant(ScriptedEngine()).run(check(request(variants=("finetuned", "second")))))


REQUEST = Request("sentiment", "Positively pos, not negative.", SentimentOptions(), GenerationOptions(max_new_tokens=4))


@pytest.mark.parametrize(
    ("text", "label"),
    [("pos pos", "positive"), ("neg neg", "negative"), ("nothing", "positive"), ("pos neg neg", "negative")],
)
def test_the_likelier_label_is_chosen(engine: ScriptedEngine, text: str, label: str) -> None:
    (result,) = Assistant(engine).answer(check(replace(REQUEST, text=text)))
    assert result.text == result.receipt.output == label
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert max(result.probabilities, key=result.probabilities.__getitem__) == label
    assert result.raw == (f" {label}",)
    assert result.facts == (", ".join(f"{name} {share:.1%}" for name, share in result.probabilities.items()),)


def test_both_models_in_one_batch(engine: ScriptedEngine) -> None:
    results = Assistant(engine).answer(check(replace(REQUEST, variants=("base", "finetuned"))))
    assert [result.variant for result in results] == ["base", "finetuned"]
    ((*prompts,),) = engine.scorings
    assert [prompt.variant for prompt in prompts] == ["base", "base", "finetuned", "finetuned"]
    assert all(result.receipt.batch_size == 4 for result in results)


def test_very_unlikely_labels_do_not_underflow(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    score = engine.score
    monkeypatch.setattr(
        engine,
        "score",
        lambda *given, **more: [replace(s, log_probabilities=(-1e6 + s.total,)) for s in score(*given, **more)],
    )
    (result,) = Assistant(engine).answer(check(REQUEST))
    assert sum(result.probabilities.values()) == pytest.approx(1)


def test_the_number_of_new_tokens_takes_no_room() -> None:
    engine = ScriptedEngine(info=replace(INFO, context=64))
    (result,) = Assistant(engine).answer(check(replace(REQUEST, generation=GenerationOptions(max_new_tokens=2048))))
    assert result.text == "positive"
    with pytest.raises(InputError, match=r"this model reads at most \d+ here\. Shorten it\.$"):
        Assistant(engine).answer(check(replace(REQUEST, text="word " * 64)))


def test_progress_begins_at_once_and_ends_with_the_results(engine: ScriptedEngine) -> None:
    first, last = Assistant(engine).run(check(REQUEST))
    assert (first.done, first.total, first.results) == (0, 1, None)
    assert (last.done, last.total) == (1, 1)
    assert last.texts == {"finetuned": "positive"}
