import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from phi2demo.engine import onnx_model
from phi2demo.engine.decoder import PhiDecoder
from phi2demo.engine.engine import END_OF_TEXT, GenerationOptions, Prompt, Snapshot
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.text_encoder import TextEncoder
from phi2demo.errors import InputError, ModelError, SettingsError, StoppedError
from phi2demo.settings import ModelSettings
from tests.engine.engines import KINDS, made_for, torch_model, transformers_model

TEXTS = ("The train leaves", "A small model reads a text and", "It rained all day, so")
GREEDY = GenerationOptions(max_new_tokens=12)
SAMPLED = GenerationOptions(max_new_tokens=12, temperature=1.0, top_p=0.9)
LONG = GenerationOptions(max_new_tokens=200)


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest, tiny_base: Path, tiny_adapter: Path) -> LocalEngine:
    return made_for(request.param, tiny_adapter)


@pytest.fixture(scope="module", params=KINDS)
def endless(request: pytest.FixtureRequest, tiny_base: Path, tiny_adapter: Path) -> LocalEngine:
    """The same model, which never ends by itself."""
    local_engine = made_for(request.param, tiny_adapter)
    local_engine._end_ids = frozenset({511})
    local_engine._model.end_token_ids = (511,)  # type: ignore[misc]
    with torch.no_grad():
        torch_model(local_engine).get_base_model().lm_head.bias[511] = -1e9
    return local_engine


@pytest.fixture(scope="module")
def bare(tiny_base: Path) -> LocalEngine:
    return LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu")))


def last(snapshots: Iterator[Snapshot]) -> Snapshot:
    *_, final = snapshots
    assert final.completions is not None
    return final


def texts(engine: LocalEngine, prompts: list[Prompt], options: GenerationOptions) -> list[str]:
    return [completion.text for completion in last(engine.stream(prompts, options)).completions or ()]


@pytest.mark.parametrize("options", [GREEDY, SAMPLED])
def test_a_pair_gives_the_same_texts_as_two_single_runs(engine: LocalEngine, options: GenerationOptions) -> None:
    for seed, text in enumerate(TEXTS):
        rows = [Prompt(text, "finetuned", seed), Prompt(text, "base", seed)]
        pair = texts(engine, rows, options)
        assert pair == [texts(engine, [row], options)[0] for row in rows]
        assert pair[0] != pair[1], "the adapter of this fixture changes the output"


def test_a_row_gives_the_same_text_in_a_padded_batch_and_alone(engine: LocalEngine) -> None:
    rows = [Prompt(text, "finetuned", 7) for text in TEXTS]
    assert texts(engine, rows, SAMPLED) == [texts(engine, [row], SAMPLED)[0] for row in rows]


def test_the_base_of_a_pair_is_the_bare_base(engine: LocalEngine, bare: LocalEngine) -> None:
    for text in TEXTS:
        assert texts(engine, [Prompt(text, "base")], GREEDY) == texts(bare, [Prompt(text, "base")], GREEDY)


def test_a_prompt_that_begins_a_text_is_read_after_the_token_that_ends_one(engine: LocalEngine) -> None:
    begun = f"{END_OF_TEXT}{TEXTS[0]}"
    ids = [engine._tokenizer.eos_token_id, *engine._tokenizer.encode(TEXTS[0])]
    assert engine._encode([Prompt(begun)])[0].tolist() == [ids]
    with torch.inference_mode():
        expected = torch_model(engine)(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[5]
    (score,) = engine.score([Prompt(begun)], [(5,)])
    assert score.total == pytest.approx(float(expected), abs=1e-4)


def test_a_typed_special_token_is_read_as_characters(engine: LocalEngine) -> None:
    end = engine._tokenizer.eos_token_id
    typed = f"Hello. {END_OF_TEXT} World."
    assert end not in engine._encode([Prompt(typed)])[0][0].tolist()
    assert end not in engine.tokens(typed).ids
    (score,) = engine.score([Prompt(typed)], [typed])
    assert end not in score.token_ids
    assert engine.count_tokens(typed) == len(engine.tokens(typed).ids) > engine.count_tokens("Hello. World.") + 3


@pytest.mark.parametrize(
    ("own_token", "adds", "expected"),
    [("<s>", False, ["<s>"]), ("<s>", True, ["<s>"]), (None, False, [])],
    ids=["its own token", "set by the tokenizer", "none"],
)
def test_a_model_of_another_vocabulary_begins_a_text_with_its_own_token(
    own_token: str | None, adds: bool, expected: list[str]
) -> None:
    vocabulary = {"<s>": 0, "a": 1, "b": 2, "?": 3}
    words = Tokenizer(WordLevel(vocabulary, unk_token="?"))
    words.pre_tokenizer = WhitespaceSplit()
    if adds:
        words.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token=own_token, unk_token="?")
    (ids,) = TextEncoder(tokenizer).encode_prompts([f"{END_OF_TEXT}a b"])
    assert tokenizer.convert_ids_to_tokens(ids) == [*expected, "a", "b"]


def test_the_seed_determines_the_sampled_text(engine: LocalEngine) -> None:
    once, again, different = (texts(engine, [Prompt(TEXTS[0], seed=seed)], SAMPLED) for seed in (1, 1, 2))
    assert once == again
    assert once != different


def test_samples_follow_the_softmax(engine: LocalEngine) -> None:
    one_token = GenerationOptions(max_new_tokens=1, temperature=1.0)
    ids = engine._tokenizer(TEXTS[0], return_tensors="pt").input_ids
    with torch.inference_mode():
        expected = torch_model(engine)(ids).logits[0, -1].softmax(-1)
    drawn = torch.zeros_like(expected)
    for start in range(0, 2000, 250):
        rows = [Prompt(TEXTS[0], seed=start + offset) for offset in range(250)]
        for completion in last(engine.stream(rows, one_token)).completions or ():
            drawn[completion.token_ids[0]] += 1 / 2000
    likeliest = int(expected.argmax())
    assert drawn[likeliest] == pytest.approx(float(expected[likeliest]), abs=0.04)
    assert float((drawn - expected).abs().sum()) / 2 < 0.15  # total variation


def test_top_k_of_one_is_greedy(engine: LocalEngine) -> None:
    narrow = GenerationOptions(max_new_tokens=12, temperature=1.5, top_k=1)
    assert texts(engine, [Prompt(TEXTS[1], seed=3)], narrow) == texts(engine, [Prompt(TEXTS[1])], GREEDY)


def test_greedy_equals_plain_transformers(engine: LocalEngine) -> None:
    batch = engine._tokenizer(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        ids = torch_model(engine).generate(**batch, max_new_tokens=12, do_sample=False)[
            0, batch["input_ids"].shape[1] :
        ]
    assert texts(engine, [Prompt(TEXTS[0])], GREEDY) == [engine._tokenizer.decode(ids, skip_special_tokens=True)]


def test_text_comes_as_it_is_made(endless: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(endless, monkeypatch, seconds=0.01)
    seen = [snapshot.texts[0] for snapshot in endless.stream([Prompt(TEXTS[0])], LONG)]
    assert len(set(seen)) > 3
    assert all(later.startswith(earlier.rstrip("\ufffd")) for earlier, later in itertools.pairwise(seen))


def test_max_new_tokens_ends_a_row_with_that_reason(endless: LocalEngine) -> None:
    completion = (last(endless.stream([Prompt(TEXTS[0])], GREEDY)).completions or ())[0]
    assert len(completion.token_ids) == 12
    assert completion.stop_reason == "length"


@pytest.mark.parametrize("beams", [1, 3])
def test_a_row_says_when_it_ended_itself(engine: LocalEngine, beams: int) -> None:
    """The first row meets its stop or end long before the second; beams of transformers do not tell."""
    engine_ends = GenerationOptions(max_new_tokens=40, num_beams=beams)
    snapshot = last(engine.stream([Prompt(text) for text in TEXTS], engine_ends))
    seconds = [completion.seconds for completion in snapshot.completions or ()]
    if beams > 1 and not getattr(engine._model, "_decodable", False):
        assert seconds == [None] * 3
        return
    lengths = [len(completion.token_ids) for completion in snapshot.completions or ()]
    assert all(second is not None and 0 < second <= snapshot.seconds for second in seconds)
    if beams == 1:
        assert sorted(range(3), key=lengths.__getitem__) == sorted(range(3), key=lambda row: seconds[row] or 0)


def test_a_full_context_ends_a_row_with_that_reason(endless: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi2demo.engine.watch.find_loop_end", lambda text: None)  # a small random model repeats itself
    prompt = "The train leaves. " * 20
    options = GenerationOptions(max_new_tokens=2000)
    completion = (last(endless.stream([Prompt(prompt)], options)).completions or ())[0]
    assert completion.stop_reason == "context"
    assert completion.prompt_tokens + len(completion.token_ids) == endless.info.context


def test_a_text_over_the_context_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(InputError, match=r"tokens with its instruction; this model reads at most 255"):
        last(engine.stream([Prompt("The train leaves. " * 200)], GREEDY))


def test_a_stop_string_ends_a_row_and_is_not_shown(endless: LocalEngine) -> None:
    whole = texts(endless, [Prompt(TEXTS[0])], GREEDY)[0]
    stop = whole[4:7]
    options = GenerationOptions(max_new_tokens=12, stop=(stop,))
    completion = (last(endless.stream([Prompt(TEXTS[0])], options)).completions or ())[0]
    assert completion.stop_reason == "stop string"
    assert completion.text == whole[: whole.index(stop)]


@pytest.mark.parametrize("beams", [1, 3])
def test_each_row_has_its_own_stop_strings(endless: LocalEngine, beams: int) -> None:
    options = GenerationOptions(max_new_tokens=12, num_beams=beams)
    whole, different = texts(endless, [Prompt(text) for text in TEXTS[:2]], options)
    stop = whole[4:7]
    completions = last(endless.stream([Prompt(TEXTS[0], stop=(stop,)), Prompt(TEXTS[1])], options)).completions or ()
    assert [completion.text for completion in completions] == [whole[: whole.index(stop)], different]
    assert [completion.stop_reason for completion in completions] == ["stop string", "length"]
    assert stop in endless.tokens(completions[0].token_ids).text
    assert stop not in endless.tokens(completions[0].token_ids[:-1]).text
    for candidate in completions[0].candidates:
        assert (candidate.stop_reason == "stop string") == (stop in endless.tokens(candidate.token_ids).text)
        assert stop not in candidate.text


def test_a_time_limit_ends_it(endless: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(endless, monkeypatch, seconds=0.05)
    options = GenerationOptions(max_new_tokens=200, time_limit_s=1.0)
    started = time.monotonic()
    completion = (last(endless.stream([Prompt(TEXTS[0])], options)).completions or ())[0]
    assert completion.stop_reason == "time"
    assert 0 < len(completion.token_ids) < 200
    assert time.monotonic() - started < 3


def slow(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    slow_down(torch_model(engine).get_base_model().model.layers[0], "forward", monkeypatch, seconds=seconds)
    slow_down(PhiDecoder, "read", monkeypatch, seconds=seconds)
    for name in ("_append", "_next_logits"):
        slow_down(onnx_model, name, monkeypatch, seconds=seconds)


def slow_down(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    called = getattr(owner, name)

    def delayed(*args: object, **kwargs: object) -> object:
        time.sleep(seconds)
        return called(*args, **kwargs)

    monkeypatch.setattr(owner, name, delayed)


def test_cancelling_ends_it_within_a_second_and_keeps_the_text_so_far(
    endless: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(endless, monkeypatch, seconds=0.05)
    cancel = threading.Event()
    stream = endless.stream([Prompt(TEXTS[0])], LONG, cancel=cancel)
    while next(stream).new_tokens < 3:
        pass
    cancel.set()
    started = time.monotonic()
    completion = (last(stream).completions or ())[0]
    assert time.monotonic() - started < 1
    assert completion.stop_reason == "stopped"
    assert completion.text


def test_closing_ends_the_computing_within_a_second(endless: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(endless, monkeypatch, seconds=0.05)
    stream = endless.stream([Prompt(TEXTS[0])], LONG)
    next(stream)
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1
    assert "generate" not in {thread.name for thread in threading.enumerate()}
    assert not endless._lock.locked()


def test_a_long_prompt_is_read_in_chunks_that_give_the_same_text(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Prompt("The train leaves. " * 12, variant, 5) for variant in ("finetuned", "base")] + [
        Prompt(TEXTS[0], "base", 5)
    ]
    whole = texts(engine, rows, SAMPLED)
    monkeypatch.setattr("phi2demo.engine.transformers_model.PREFILL_FLOP", 1.0)
    monkeypatch.setattr(onnx_model, "READ_TOKENS", 8)
    assert texts(engine, rows, SAMPLED) == whole


def test_stop_is_heard_while_a_long_prompt_is_read(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi2demo.engine.transformers_model.PREFILL_FLOP", 1.0)
    monkeypatch.setattr(onnx_model, "READ_TOKENS", 8)
    slow(engine, monkeypatch, seconds=0.3)
    stream = engine.stream([Prompt("The train leaves. " * 25)], GREEDY)
    next(stream)
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1


def test_an_error_while_generating_reaches_the_reader_and_the_next_request_works(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [Prompt(TEXTS[0], "finetuned"), Prompt(TEXTS[0], "base")]
    before = texts(engine, pair, GREEDY)
    with monkeypatch.context() as broken:

        def fail(*args: object, **kwargs: object) -> object:
            raise RuntimeError("planted")

        layer = torch_model(engine).get_base_model().model.layers[1]
        broken.setattr(layer, "forward", fail)
        broken.setattr(PhiDecoder, "read", fail)
        broken.setattr(onnx_model, "_next_logits", fail)
        with pytest.raises(ModelError, match="planted"):
            last(engine.stream(pair, GREEDY))
        broken.setattr(transformers_model(engine)._scorer, "_packable", False)
        with pytest.raises(RuntimeError, match="planted"):
            engine.score(pair, [" a", " b"])
    assert texts(engine, [pair[0]], GREEDY) == before[:1]
    assert texts(engine, pair, GREEDY) == before


def test_four_threads_with_different_variants_get_the_same_texts_as_alone(engine: LocalEngine) -> None:
    jobs = [
        [Prompt(TEXTS[0], "finetuned", 1)],
        [Prompt(TEXTS[0], "base", 1)],
        [Prompt(TEXTS[0], "finetuned", 1), Prompt(TEXTS[0], "base", 1)],
        [Prompt(TEXTS[1], "base", 2)],
    ]
    alone = [texts(engine, job, SAMPLED) for job in jobs]
    together: dict[int, list[str]] = {}

    def work(index: int) -> None:
        together[index] = texts(engine, jobs[index], SAMPLED)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[index] for index in range(len(jobs))] == alone


def test_a_waiting_request_can_be_cancelled(endless: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(endless, monkeypatch, seconds=0.05)
    first = endless.stream([Prompt(TEXTS[0])], LONG)
    next(first)
    cancel = threading.Event()
    second = endless.stream([Prompt(TEXTS[1])], LONG, cancel=cancel)
    assert next(second).new_tokens == 0
    cancel.set()
    assert (last(second).completions or ())[0].stop_reason == "stopped"
    first.close()  # type: ignore[attr-defined]


def test_beams_give_as_many_candidates_as_there_are(engine: LocalEngine) -> None:
    rows = [Prompt(text, variant) for text, variant in zip(TEXTS, ("finetuned", "base", "finetuned"), strict=False)]
    snapshot = last(engine.stream(rows, GenerationOptions(max_new_tokens=12, num_beams=4)))
    for prompt, completion in zip(rows, snapshot.completions or (), strict=True):
        assert len(completion.candidates) == 4
        assert completion.candidates[0].text == completion.text
        assert len({generated.token_ids for generated in completion.candidates}) == 4
        outputs = [generated.token_ids for generated in completion.candidates]
        scores = engine.score([prompt] * 4, outputs)
        means = [score.total / len(score.token_ids) for score in scores]
        assert means == sorted(means, reverse=True)
    assert all(not generated.candidates for generated in last(engine.stream(rows, GREEDY)).completions or ())


@pytest.mark.parametrize("variants", [("finetuned", "base"), ("finetuned",)])
def test_beams_give_the_same_texts_as_transformers(engine: LocalEngine, variants: tuple[str, ...]) -> None:
    options = GenerationOptions(max_new_tokens=12, num_beams=3)
    rows = [Prompt(TEXTS[0], variant) for variant in variants]  # type: ignore[arg-type]
    seen = list(engine.stream(rows, options))
    assert all(not text for snapshot in seen[:-1] for text in snapshot.texts)
    batch = engine._tokenizer(TEXTS[0], return_tensors="pt")
    for row, completion in zip(rows, seen[-1].completions or (), strict=True):
        with torch.inference_mode():
            model = torch_model(engine) if row.variant == "finetuned" else None
            if model is None:
                with torch_model(engine).disable_adapter():
                    ids = torch_model(engine).generate(**batch, max_new_tokens=12, num_beams=3, early_stopping=True)
            else:
                ids = model.generate(**batch, max_new_tokens=12, num_beams=3, early_stopping=True)
        expected = engine._tokenizer.decode(ids[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        assert completion.text == expected


def test_a_bare_base_refuses_the_finetuned_switch(bare: LocalEngine) -> None:
    assert bare.info.variants == ("base",)
    with pytest.raises(SettingsError, match="no adapter is loaded"):
        last(bare.stream([Prompt(TEXTS[0], "finetuned")], GREEDY))


def test_scores_equal_a_plain_forward_pass(engine: LocalEngine) -> None:
    outputs = [" at eight", " another one.", " they stayed at home and read."]
    rows = [Prompt(text, variant) for text, variant in zip(TEXTS, ("finetuned", "base", "finetuned"), strict=True)]  # type: ignore[arg-type]
    for row, output, score in zip(rows, outputs, engine.score(rows, outputs), strict=True):
        prompt_ids = engine._tokenizer.encode(row.text)
        output_ids = engine._tokenizer.encode(output)
        ids = torch.tensor([prompt_ids + output_ids])
        with torch.inference_mode():
            names = {"adapter_names": ["default" if row.variant == "finetuned" else "__base__"]}
            logits = torch_model(engine)(input_ids=ids, **names).logits[0].log_softmax(-1)
        expected = [float(logits[len(prompt_ids) - 1 + position, token]) for position, token in enumerate(output_ids)]
        assert list(score.log_probabilities) == pytest.approx(expected, abs=1e-5)
        assert score.total == pytest.approx(sum(expected), abs=1e-4)


def test_token_ids_score_as_the_text_that_they_stand_for(engine: LocalEngine) -> None:
    output = " at eight"
    ids = tuple(engine._tokenizer.encode(output))
    by_text, by_ids = engine.score([Prompt(TEXTS[0])] * 2, [output, ids])
    assert by_text == by_ids
    assert by_ids.token_ids == ids


@pytest.mark.parametrize("output", ["", ()])
def test_an_empty_output_has_no_score(engine: LocalEngine, output: str | tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="The output is empty"):
        engine.score([Prompt(TEXTS[0])], [output])


def test_an_empty_prompt_and_an_unknown_token_are_refused(engine: LocalEngine) -> None:
    with pytest.raises(InputError, match="text is empty"):
        engine.score([Prompt("")], [" a"])
    with pytest.raises(InputError, match="token id 99999"):
        engine.score([Prompt(TEXTS[0])], [(1, 99999)])


def test_plain_scoring_stops_within_a_second(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, outputs = [Prompt(f"{text} {n}") for n in range(9) for text in TEXTS], [" and then"] * 27
    expected = engine.score(rows, outputs)
    cancel = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(transformers_model(engine)._scorer, "_packable", False)
        for module in torch_model(engine).get_base_model().modules():
            if not any(module.children()):
                slow_down(module, "forward", patch, seconds=0.3)
        timer = threading.Timer(0.5, cancel.set)
        timer.start()
        started = time.monotonic()
        with pytest.raises(StoppedError):
            engine.score(rows, outputs, cancel=cancel)
        assert time.monotonic() - started < 1.5
        timer.join()
    assert engine.score(rows, outputs, cancel=threading.Event()) == expected
    assert transformers_model(engine)._scorer._packable


def test_scoring_that_waits_for_another_request_can_be_stopped(engine: LocalEngine) -> None:
    cancel = threading.Event()
    cancel.set()
    with engine._lock, pytest.raises(StoppedError):
        engine.score([Prompt(TEXTS[0])], [" a"], cancel=cancel)
